"""Sweeps and trials: submitted, paused, canceled, ended, tried again."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import OPEN_SWEEPS, OPEN_TRIALS, RunState, SweepState, TrialState
from scheduler.store.evaluations import move_evaluation
from scheduler.store.rows import RETRIED, NewTrial
from scheduler.store.tree import BATCH, TreeWrites
from scheduler.store.writes import note_changes, record_event


class SweepWrites(TreeWrites):
    def create_sweep(
        self,
        *,
        name: str,
        submitted: str,
        resolved: Mapping[str, Any],
        data_key: str,
        data_name: str,
        provenance: Mapping[str, Any],
        created_by: str,
        trials: Sequence[NewTrial],
    ) -> int:
        """The new sweep with all its trials, in one transaction: a submission is there whole or not at all."""
        with self._transaction() as (connection, now):
            sweep_id = connection.execute(
                t.sweeps.insert().values(
                    name=name,
                    submitted=submitted,
                    resolved=resolved,
                    state=SweepState.RUNNING,
                    data_key=data_key,
                    data_name=data_name,
                    provenance=provenance,
                    created_by=created_by,
                    created=now,
                    share=resolved.get("share", 1.0),
                    max_workers=resolved.get("max_workers"),
                )
            ).inserted_primary_key[0]
            self._insert_trials(connection, now, sweep_id, trials)
            record_event(connection, now, "sweep.submitted", sweep_id=sweep_id, trials=len(trials))
            return sweep_id

    def add_trials(self, sweep_id: int, trials: Sequence[NewTrial]) -> None:
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id == sweep_id)
            self._insert_trials(connection, now, sweep_id, trials)
            record_event(connection, now, "sweep.extended", sweep_id=sweep_id, trials=len(trials))

    def add_asked(self, sweep_id: int, trials: Sequence[NewTrial], *, first: int) -> bool:
        """Add trials that a sampler proposed for the numbers from `first` on; whether they were added.

        Not where somebody else has taken that number meanwhile, or the sweep no longer runs: what was proposed for one
        number is no other's.
        """
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id == sweep_id)
            state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.id == sweep_id))
            last = connection.scalar(sa.select(sa.func.max(t.trials.c.number)).where(t.trials.c.sweep_id == sweep_id))
            if state != SweepState.RUNNING or first != (0 if last is None else last + 1):
                return False
            self._insert_trials(connection, now, sweep_id, trials)
            record_event(connection, now, "sweep.asked", sweep_id=sweep_id, first=first, trials=len(trials))
            return True

    def enqueue_trial(self, sweep_id: int, trial: NewTrial) -> int | None:
        """Add a trial that a person asked for and return its number; None where the sweep has ended."""
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id == sweep_id)
            state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.id == sweep_id))
            if state not in OPEN_SWEEPS:
                return None
            self._insert_trials(connection, now, sweep_id, [trial])
            number = connection.scalar(sa.select(sa.func.max(t.trials.c.number)).where(t.trials.c.sweep_id == sweep_id))
            record_event(connection, now, "trial.enqueued", sweep_id=sweep_id, number=number)
            return number

    def set_parameters(self, trial_id: int, parameters: Mapping[str, Any], *, stage: int) -> bool:
        """Complete an open trial's parameters by those that begin at this stage (px); whether it was still open."""
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(trial_id)))
            sweep_id = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state.in_(OPEN_TRIALS))
                .values(parameters=dict(parameters))
                .returning(t.trials.c.sweep_id)
            ).scalar_one_or_none()
            if sweep_id is not None:
                record_event(connection, now, "trial.drawn", sweep_id=sweep_id, trial_id=trial_id, stage=stage)
            return sweep_id is not None

    def end_search(self, sweep_id: int, *, reason: str) -> None:
        """Note why a sweep asks for no more trials although its budget has some left; its rungs may be complete now."""
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id == sweep_id)
            note_changes(connection, [{"sweep_id": sweep_id}])
            known = sa.select(t.events.c.id).where(
                t.events.c.sweep_id == sweep_id, t.events.c.kind == "sweep.exhausted"
            )
            if connection.scalar(known.limit(1)) is None:
                record_event(connection, now, "sweep.exhausted", sweep_id=sweep_id, reason=reason)

    def _insert_trials(self, connection: sa.Connection, now: float, sweep_id: int, trials: Sequence[NewTrial]) -> int:
        """The number of the first of them; the others follow."""
        last = connection.scalar(sa.select(sa.func.max(t.trials.c.number)).where(t.trials.c.sweep_id == sweep_id))
        first = 0 if last is None else last + 1
        left = enumerate(trials, start=first)
        while batch := list(islice(left, BATCH)):
            rows = [
                {
                    "sweep_id": sweep_id,
                    "number": number,
                    "parameters": dict(trial.parameters),
                    "state": TrialState.WAITING,
                    "origin": trial.origin,
                    "attributes": dict(trial.attributes),
                    "created": now,
                }
                for number, trial in batch
            ]
            connection.execute(t.trials.insert(), rows)
        return first

    def set_sweep_state(self, sweep_id: int, state: SweepState, *, error: str | None = None) -> bool:
        """Whether the sweep was moved: one that has ended meanwhile keeps its state."""
        with self._transaction() as (connection, now):
            return self._move_sweep(connection, now, sweep_id, state, error=error)

    def _move_sweep(
        self,
        connection: sa.Connection,
        now: float,
        sweep_id: int,
        state: SweepState,
        *,
        error: str | None = None,
        only_from: Sequence[SweepState] = OPEN_SWEEPS,
    ) -> bool:
        moved = connection.execute(
            t.sweeps.update()
            .where(t.sweeps.c.id == sweep_id, t.sweeps.c.state.in_(only_from))
            .values(state=state, ended=None if state in OPEN_SWEEPS else now, error=error)
        )
        if moved.rowcount:
            record_event(connection, now, f"sweep.{state}", sweep_id=sweep_id, error=error)
            if state in OPEN_SWEEPS:
                note_changes(connection, [{"sweep_id": sweep_id}])
        return bool(moved.rowcount)

    def set_sweep_paused(self, sweep_id: int, *, paused: bool, error: str | None = None) -> bool:
        """Pause or resume a sweep together with all it wants, what runs goes on; whether it was still open.

        error: why it must pause, where no person wished it.
        """
        state = SweepState.PAUSED if paused else SweepState.RUNNING
        with self._transaction() as (connection, now):
            if not self._move_sweep(connection, now, sweep_id, state, error=error):
                return False
            touched = connection.scalars(
                t.demands.update()
                .where(t.demands.c.sweep_id == sweep_id)
                .values(paused=int(paused))
                .returning(t.demands.c.stage_run_id)
            ).all()
            self._follow_demands(connection, now, *sorted(set(touched)))
            return True

    def set_spent(self, sweep_id: int, spent: str | None) -> None:
        """Which budget is spent, None once none is any more; the whole sweep is looked at again."""
        with self._transaction() as (connection, now):
            changed = connection.execute(
                t.sweeps.update()
                .where(t.sweeps.c.id == sweep_id, t.sweeps.c.spent.is_distinct_from(spent))
                .values(spent=spent)
            )
            if changed.rowcount:
                record_event(connection, now, "sweep.budget", sweep_id=sweep_id, spent=spent)
                note_changes(connection, [{"sweep_id": sweep_id}])

    def set_sweep_priority(self, sweep_id: int, priority: int) -> bool:
        """Change the priority of all that an open sweep wants, now and later; whether it was open."""
        with self._transaction() as (connection, now):
            is_open = t.sweeps.c.state.in_(OPEN_SWEEPS)
            resolved = connection.scalar(
                locked(sa.select(t.sweeps.c.resolved).where(t.sweeps.c.id == sweep_id, is_open))
            )
            if resolved is None:
                return False
            resolved = {**resolved, "priority": priority}
            connection.execute(t.sweeps.update().where(t.sweeps.c.id == sweep_id).values(resolved=resolved))
            touched = connection.scalars(
                t.demands.update()
                .where(t.demands.c.sweep_id == sweep_id)
                .values(priority=priority)
                .returning(t.demands.c.stage_run_id)
            ).all()
            self._follow_demands(connection, now, *sorted(set(touched)))
            record_event(connection, now, "sweep.priority", sweep_id=sweep_id, priority=priority)
            return True

    def cancel_sweep(self, sweep_id: int, *, reason: str, state: SweepState = SweepState.CANCELED) -> bool:
        """End a sweep and all its open trials in one transaction; whether it was still open.

        state: FAILED where it cannot be carried out; the reason is then the sweep's error too.
        """
        error = reason if state == SweepState.FAILED else None
        with self._transaction() as (connection, now):
            if not self._move_sweep(connection, now, sweep_id, state, error=error):
                return False
            still_open = connection.scalars(
                sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS))
            ).all()
            self._move_trials(connection, now, dict.fromkeys(still_open, TrialState.CANCELED), reason)
            return True

    def set_trial_states(self, states: Mapping[int, TrialState], *, reason: str | None = None) -> frozenset[int]:
        """Move open trials and return which were; those that end give up their demands for what is still to train.

        A trial that has ended meanwhile keeps its state: whoever decides looked at older rows.
        """
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(*states)))
            return self._move_trials(connection, now, dict(states), reason)

    def forget_changes(self, change_ids: Sequence[int]) -> None:
        """These have been looked at."""
        left = iter(change_ids)
        with self._transaction() as (connection, _):
            while batch := list(islice(left, BATCH)):
                connection.execute(t.changes.delete().where(t.changes.c.id.in_(batch)))

    def retry_trial(self, trial_id: int, *, evaluation_key: str) -> bool:
        """A person's wish to try a failed or diverged trial again, where it broke; whether it was one.

        Its sweep is open again, and the faults so far no longer count against the retry budgets.
        """
        broken = (TrialState.FAILED, TrialState.DIVERGED)
        with self._transaction() as (connection, now):
            lock_sweep(connection, t.sweeps.c.id.in_(sweeps_of(trial_id)))
            sweep_id = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state.in_(broken))
                .values(state=TrialState.RUNNING, ended=None)
                .returning(t.trials.c.sweep_id)
            ).scalar_one_or_none()
            if sweep_id is None:
                return False
            ended = [state for state in SweepState if state not in OPEN_SWEEPS]
            self._move_sweep(connection, now, sweep_id, SweepState.RUNNING, only_from=ended)
            last = connection.execute(
                locked(
                    sa.select(t.stage_runs)
                    .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
                    .where(t.demands.c.trial_id == trial_id)
                    .order_by(t.stage_runs.c.stage.desc())
                    .limit(1),
                    of=t.stage_runs,
                )
            ).one_or_none()
            if last is not None:
                self._retry_stage_run(connection, now, last, evaluation_key)
            record_event(connection, now, "trial.retried", sweep_id=sweep_id, trial_id=trial_id)
            note_changes(connection, [{"sweep_id": sweep_id, "trial_id": trial_id}])
            return True

    def _retry_stage_run(self, connection: sa.Connection, now: float, run: sa.Row, evaluation_key: str) -> None:
        if run.state in (RunState.FAILED, RunState.DIVERGED):
            record_event(connection, now, RETRIED, stage_run_id=run.id, after_attempt=run.attempt)
            self._move(connection, now, run.id, RunState.READY, error=None, ready_at=0.0)
            self._follow_demands(connection, now, run.id)
        failed = connection.execute(
            locked(
                sa.select(t.evaluations).where(
                    t.evaluations.c.stage_run_id == run.id,
                    t.evaluations.c.key == evaluation_key,
                    t.evaluations.c.state == RunState.FAILED,
                )
            )
        ).one_or_none()
        if failed is not None:
            move_evaluation(connection, now, failed, RunState.READY, error=None, ended=None, ready_at=0.0)


def lock_sweep(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    """A sweep's row is the lock of its trials and demands; several are locked in one order."""
    connection.execute(locked(sa.select(t.sweeps.c.id).where(which).order_by(t.sweeps.c.id)))


def sweeps_of(*trial_ids: int) -> sa.Select:
    return sa.select(t.trials.c.sweep_id).where(t.trials.c.id.in_(trial_ids)).distinct()
