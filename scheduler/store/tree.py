"""The stage tree: stage runs come into being because trials demand them, and follow what is demanded."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as upsert

from scheduler import tables as t
from scheduler.states import ACTIVE, ENDED, OPEN_TRIALS, WANTING_SWEEPS, RunState, SweepState, TrialState
from scheduler.store.rows import REBUILDING, STATE, Demand
from scheduler.store.writes import Writes, record_event


class TreeWrites(Writes):
    def demand(self, sweep_id: int, demands: Iterable[Demand], *, priority: int) -> None:
        """Make sure that these stage runs exist and are wanted; those already sealed are only linked.

        Whoever decides looked at older rows: a trial or sweep that has ended since wants nothing, and what a paused
        sweep wants waits.
        """
        with self._transaction() as (connection, now):
            sweep_state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.id == sweep_id))
            if sweep_state not in WANTING_SWEEPS:
                return
            open_trials = connection.execute(
                sa.select(t.trials.c.id, t.trials.c.state).where(
                    t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS)
                )
            )
            states = {row.id: row.state for row in open_trials}
            for wanted in demands:
                if wanted.trial_id not in states:
                    continue
                stage_run_id = self._stage_run(connection, now, wanted, priority)
                connection.execute(
                    upsert(t.demands)
                    .values(
                        sweep_id=sweep_id,
                        trial_id=wanted.trial_id,
                        stage_run_id=stage_run_id,
                        priority=priority,
                        paused=int(sweep_state == SweepState.PAUSED or states[wanted.trial_id] == TrialState.PAUSED),
                        created=now,
                    )
                    .on_conflict_do_nothing()
                )
                if states[wanted.trial_id] == TrialState.WAITING:
                    self._move_trial(connection, now, wanted.trial_id, TrialState.RUNNING, None)
                self._follow_demands(connection, now, stage_run_id)

    def _stage_run(self, connection: sa.Connection, now: float, wanted: Demand, priority: int) -> int:
        found = connection.scalar(sa.select(t.stage_runs.c.id).where(t.stage_runs.c.key == wanted.keys[-1]))
        if found is not None:
            return found
        parent_id = None
        if len(wanted.keys) > 1:
            parent = connection.execute(
                sa.select(t.stage_runs.c.id, t.stage_runs.c.weights_sha256).where(t.stage_runs.c.key == wanted.keys[-2])
            ).one()
            assert parent.weights_sha256 is not None, "a stage run becomes a row once its parent is sealed"
            parent_id = parent.id
        stage_run_id = connection.execute(
            t.stage_runs.insert().values(
                key=wanted.keys[-1],
                parent_id=parent_id,
                stage=len(wanted.keys) - 1,
                resolution=wanted.spec["resolution"],
                spec=wanted.spec,
                state=RunState.WAITING,
                priority=priority,
                attempt=0,
                ready_at=0.0,
                images=0,
                seconds=0.0,
                created=now,
            )
        ).inserted_primary_key[0]
        record_event(connection, now, "stage_run.waiting", stage_run_id=stage_run_id)
        return stage_run_id

    def _follow_demands(self, connection: sa.Connection, now: float, stage_run_id: int) -> None:
        """Bring a stage run's state and priority in line with the open trials that want it."""
        run = connection.execute(sa.select(t.stage_runs).where(t.stage_runs.c.id == stage_run_id)).one()
        state = run.state
        demands = connection.execute(
            sa.select(
                sa.func.count().label("all"),
                sa.func.coalesce(sa.func.sum(1 - t.demands.c.paused), 0).label("unpaused"),
                sa.func.max(sa.case((t.demands.c.paused == 0, t.demands.c.priority))).label("priority"),
            )
            .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
            .where(t.demands.c.stage_run_id == stage_run_id, t.trials.c.state.in_(OPEN_TRIALS))
        ).one()
        target = None
        startable = bool(demands.unpaused) and (
            state not in (RunState.WAITING, RunState.CANCELED, RunState.READY)
            or self._parent_is_whole(connection, now, run.parent_id)
        )
        if startable and state in (RunState.WAITING, RunState.CANCELED):
            target = RunState.READY
        elif not demands.all and state in (RunState.READY, RunState.WAITING):
            self._give_up(connection, now, run)
        elif not startable and (state == RunState.READY or (demands.unpaused and state == RunState.CANCELED)):
            target = RunState.WAITING
        elif not demands.all and state in (RunState.LEASED, RunState.RUNNING):
            target = RunState.CANCELING
        if demands.priority is not None:
            connection.execute(
                t.stage_runs.update().where(t.stage_runs.c.id == stage_run_id).values(priority=demands.priority)
            )
        if target is not None:
            self._move(connection, now, stage_run_id, target)

    def _parent_is_whole(self, connection: sa.Connection, now: float, parent_id: int | None) -> bool:
        """Whether a child can be trained on it: sealed, with its full state.

        Where that was collected, rebuilding begins with the first ancestor that can be trained; each that is sealed
        again wakes what waits for it.
        """
        if parent_id is None:
            return True
        # The row is held, so that its state is not collected between this look and the end of the transaction.
        parent = connection.execute(
            sa.select(t.stage_runs).where(t.stage_runs.c.id == parent_id).with_for_update()
        ).one()
        if parent.state != RunState.DONE:
            return False
        sealed = sa.select(t.checkpoints.c.content).where(
            t.checkpoints.c.stage_run_id == parent_id, t.checkpoints.c.sealed == 1
        )
        if connection.scalar(sealed) == STATE:
            return True
        if self._parent_is_whole(connection, now, parent.parent_id):
            record_event(connection, now, REBUILDING, stage_run_id=parent_id, after_attempt=parent.attempt)
            self._move(connection, now, parent_id, RunState.READY, error=None, ready_at=0.0)
            self._follow_demands(connection, now, parent_id)
        return False

    def _give_up(self, connection: sa.Connection, now: float, run: sa.Row, **values: Any) -> None:
        """Nobody wants this training: it is canceled; what was sealed before is sealed still, and was being rebuilt."""
        if run.weights_sha256 is None:
            self._move(connection, now, run.id, RunState.CANCELED, **values)
            return
        sealed = (t.checkpoints.c.stage_run_id == run.id, t.checkpoints.c.sealed == 1)
        connection.execute(t.checkpoints.update().where(*sealed).values(attempt=run.attempt))
        images = connection.scalar(sa.select(t.checkpoints.c.images).where(*sealed))
        self._move(connection, now, run.id, RunState.DONE, images=images, **values)
        self._wake_waiting(connection, now)

    def _wake_waiting(self, connection: sa.Connection, now: float) -> None:
        """Look again at what waits although it is wanted: what it waits for may be whole now."""
        wanted = (
            sa.select(t.demands.c.id)
            .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
            .where(
                t.demands.c.stage_run_id == t.stage_runs.c.id,
                t.demands.c.paused == 0,
                t.trials.c.state.in_(OPEN_TRIALS),
            )
        )
        waiting = sa.select(t.stage_runs.c.id).where(t.stage_runs.c.state == RunState.WAITING, wanted.exists())
        for stage_run_id in connection.scalars(waiting.order_by(t.stage_runs.c.id)).all():
            self._follow_demands(connection, now, stage_run_id)

    def _move(self, connection: sa.Connection, now: float, stage_run_id: int, state: RunState, **values: Any) -> None:
        """Change a stage run's state together with its event; the trigger refuses illegal moves."""
        if state not in ACTIVE:
            values = {"worker_id": None, "lease_until": None, "images_per_second": None, **values}
        values = {"ended": now if state in ENDED else None, **values}
        connection.execute(t.stage_runs.update().where(t.stage_runs.c.id == stage_run_id).values(state=state, **values))
        record_event(connection, now, f"stage_run.{state}", stage_run_id=stage_run_id, error=values.get("error"))

    def _move_trial(
        self, connection: sa.Connection, now: float, trial_id: int, state: TrialState, reason: str | None
    ) -> bool:
        is_open = state in OPEN_TRIALS
        sweep_id = connection.execute(
            t.trials.update()
            .where(t.trials.c.id == trial_id, t.trials.c.state.in_(OPEN_TRIALS))
            .values(state=state, ended=None if is_open else now)
            .returning(t.trials.c.sweep_id)
        ).scalar_one_or_none()
        if sweep_id is None:
            return False
        if not is_open:
            self._drop_demands(connection, now, trial_id)
        record_event(connection, now, f"trial.{state}", sweep_id=sweep_id, trial_id=trial_id, reason=reason)
        return True

    def _drop_demands(self, connection: sa.Connection, now: float, trial_id: int) -> None:
        """Forget what an ended trial wanted; demands for what was sealed or broke stay, as its history."""
        unfinished = sa.select(t.stage_runs.c.id).where(
            t.stage_runs.c.id == t.demands.c.stage_run_id,
            t.stage_runs.c.state.not_in((RunState.DONE, RunState.FAILED, RunState.DIVERGED)),
        )
        of_trial = (t.demands.c.trial_id == trial_id, unfinished.exists())
        wanted = connection.scalars(sa.select(t.demands.c.stage_run_id).where(*of_trial)).all()
        untrained = unfinished.where(t.stage_runs.c.weights_sha256.is_(None))
        connection.execute(t.demands.delete().where(t.demands.c.trial_id == trial_id, untrained.exists()))
        for stage_run_id in wanted:
            self._follow_demands(connection, now, stage_run_id)
