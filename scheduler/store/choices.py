"""What a choice among trials writes: controls, children, rungs that are not used any more, a stopped trial let on."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import OPEN_SWEEPS, RunState, SweepState, TrialState
from scheduler.store.rows import Fork
from scheduler.store.sweeps import SweepWrites, lock_sweep, sweeps_of
from scheduler.store.writes import note_changes, record_event


class ChoiceWrites(SweepWrites):
    def mark_controls(self, sweep_id: int, rungs: Mapping[int, int]) -> None:
        """Trial id -> px of the rung that lets it on by chance."""
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id == sweep_id)
            for trial_id, rung in rungs.items():
                self._update_attributes(connection, trial_id, {"control": rung})
                record_event(connection, now, "trial.control", sweep_id=sweep_id, trial_id=trial_id, rung=rung)

    def drop_rungs(self, sweep_id: int, rungs: Mapping[int, Mapping[str, Any]]) -> None:
        """px -> the correlation (Figure.to_json()) for which a rung is not used any more; once for each."""
        with self._transaction() as (connection, now):
            known = connection.scalar(_locked(t.sweeps, t.sweeps.c.unused_rungs, sweep_id)) or {}
            for rung, figure in rungs.items():
                if str(rung) not in known:
                    known = {**known, str(rung): dict(figure)}
                    record_event(connection, now, "sweep.rung_unused", sweep_id=sweep_id, rung=rung, **figure)
            connection.execute(t.sweeps.update().where(t.sweeps.c.id == sweep_id).values(unused_rungs=known))

    def fork(self, sweep_id: int, forks: Sequence[Fork]) -> None:
        """Add the children of these trials, on their parents' sealed stage runs; an occasion that was, adds nothing."""
        with self._transaction() as (connection, now):
            if self._held_sweep(connection, sweep_id) not in OPEN_SWEEPS:
                return
            for fork in forks:
                attributes = connection.scalar(_locked(t.trials, t.trials.c.attributes, fork.trial_id))
                before = attributes.get("forked", [])
                if fork.at in before:
                    continue
                self._update_attributes(connection, fork.trial_id, {"forked": [*before, fork.at]})
                first = self._insert_trials(connection, now, sweep_id, fork.children)
                if fork.shared_until is not None:
                    born = sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id, t.trials.c.number >= first)
                    self._share_path(connection, now, fork, connection.scalars(born).all())
                record_event(
                    connection,
                    now,
                    "trial.forked",
                    sweep_id=sweep_id,
                    trial_id=fork.trial_id,
                    at=fork.at,
                    trials=len(fork.children),
                )

    def _share_path(self, connection: sa.Connection, now: float, fork: Fork, children: Sequence[int]) -> None:
        """Put children on the stage runs of their parent, which are sealed, up to where they begin."""
        shared = connection.execute(
            sa.select(
                t.demands.c.sweep_id,
                t.demands.c.stage_run_id,
                t.demands.c.priority,
                t.demands.c.paused,
                t.demands.c.stage,
            )
            .join(t.stage_runs, t.stage_runs.c.id == t.demands.c.stage_run_id)
            .where(t.demands.c.trial_id == fork.trial_id, t.stage_runs.c.resolution <= fork.shared_until)
            .order_by(t.stage_runs.c.stage)
        ).all()
        rows = [{**row._mapping, "trial_id": trial_id, "created": now} for trial_id in children for row in shared]
        if rows:
            connection.execute(t.demands.insert(), rows)

    def promote_trial(self, trial_id: int) -> bool:
        """A person's wish that a stopped trial goes on from its sealed stage run; whether it was one.

        Its sweep is open again.
        """
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(trial_id)))
            stopping = sa.select(t.sweeps.c.id).where(t.sweeps.c.state == SweepState.STOPPING)
            trial = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state == TrialState.PRUNED)
                .where(t.trials.c.sweep_id.not_in(stopping))
                .values(state=TrialState.RUNNING, ended=None)
                .returning(t.trials.c.sweep_id)
            ).one_or_none()
            if trial is None:
                return False
            rung = connection.scalar(
                sa.select(sa.func.max(t.stage_runs.c.resolution))
                .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
                .where(t.demands.c.trial_id == trial_id, t.stage_runs.c.state == RunState.DONE)
            )
            self._update_attributes(connection, trial_id, {"promoted": rung})
            self._reopen(connection, now, trial.sweep_id)
            record_event(connection, now, "trial.promoted", sweep_id=trial.sweep_id, trial_id=trial_id, rung=rung)
            note_changes(connection, [{"sweep_id": trial.sweep_id, "trial_id": trial_id}])
            return True

    def _update_attributes(self, connection: sa.Connection, trial_id: int, more: Mapping[str, Any]) -> None:
        attributes = connection.scalar(_locked(t.trials, t.trials.c.attributes, trial_id))
        connection.execute(t.trials.update().where(t.trials.c.id == trial_id).values(attributes={**attributes, **more}))


def _locked(table: sa.Table, column: sa.Column, row_id: int) -> sa.Select:
    """The column of a row that is written next."""
    return locked(sa.select(column).where(table.c.id == row_id))
