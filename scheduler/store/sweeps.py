"""Sweeps: submitted, paused, stopped, canceled, edited, ended."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.many import insert_many
from scheduler.states import (
    ACTIVE,
    ENDED_SWEEPS,
    OPEN_SWEEPS,
    OPEN_TRIALS,
    WANTING_SWEEPS,
    RunState,
    SweepState,
    TrialState,
)
from scheduler.store.rows import NewTrial
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
                    **_queue_values(resolved),
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
            state = self._held_sweep(connection, sweep_id)
            last = connection.scalar(sa.select(sa.func.max(t.trials.c.number)).where(t.trials.c.sweep_id == sweep_id))
            if state != SweepState.RUNNING or first != (0 if last is None else last + 1):
                return False
            self._insert_trials(connection, now, sweep_id, trials)
            record_event(connection, now, "sweep.asked", sweep_id=sweep_id, first=first, trials=len(trials))
            return True

    def enqueue_trial(self, sweep_id: int, trial: NewTrial) -> int | None:
        """Add a trial that a person asked for and return its number; None where the sweep has ended."""
        with self._transaction() as (connection, now):
            state = self._held_sweep(connection, sweep_id)
            if state not in WANTING_SWEEPS:
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
                    "number": number,
                    "parameters": dict(trial.parameters),
                    "origin": trial.origin,
                    "attributes": dict(trial.attributes),
                }
                for number, trial in batch
            ]
            same = {"sweep_id": sweep_id, "state": TrialState.WAITING, "created": now}
            insert_many(connection, t.trials, rows, same=same)
        return first

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
        """Pause or resume a sweep together with all it wants, what runs goes on; whether it was running or paused.

        error: why it must pause, where no person wished it.
        """
        state = SweepState.PAUSED if paused else SweepState.RUNNING
        with self._transaction() as (connection, now):
            if not self._move_sweep(connection, now, sweep_id, state, error=error, only_from=WANTING_SWEEPS):
                return False
            # A trial that is paused by itself stays so when its sweep goes on.
            going = sa.select(t.trials.c.id).where(
                t.trials.c.id == t.demands.c.trial_id, t.trials.c.state != TrialState.PAUSED
            )
            mine = sa.and_(t.demands.c.sweep_id == sweep_id, going.exists())
            self._follow_demands(connection, now, *self._change_demands(connection, mine, paused=int(paused)))
            return True

    def stop_sweep(self, sweep_id: int, *, reason: str) -> bool:
        """Let a sweep want nothing more: what runs is finished, all else ends; whether it was running or paused."""
        with self._transaction() as (connection, now):
            if not self._move_sweep(
                connection, now, sweep_id, SweepState.STOPPING, error=reason, only_from=WANTING_SWEEPS
            ):
                return False
            # A trial whose last stage is sealed may be complete, which settling knows; it comes after this.
            self._end_idle_trials(connection, now, sweep_id, reason, sealed_too=False)
            # What was begun is finished, even where a pause held it up.
            held_up = sa.and_(t.demands.c.sweep_id == sweep_id, t.demands.c.paused == 1)
            self._follow_demands(connection, now, *self._change_demands(connection, held_up, paused=0))
            return True

    def end_idle_trials(self, sweep_id: int, *, reason: str) -> None:
        """End the trials of which nothing runs or is measured, where a sweep stops or has spent its budget."""
        with self._transaction() as (connection, now):
            spent = sa.select(t.sweeps.c.spent).where(t.sweeps.c.id == sweep_id)
            state = self._held_sweep(connection, sweep_id)
            if state == SweepState.STOPPING or (state == SweepState.RUNNING and connection.scalar(spent)):
                self._end_idle_trials(connection, now, sweep_id, reason, sealed_too=True)

    def _end_idle_trials(
        self, connection: sa.Connection, now: float, sweep_id: int, reason: str, *, sealed_too: bool
    ) -> None:
        """Trials with a sealed stage are pruned there, as at a rung; those without any are canceled.

        A stage run that its trial has begun to train counts as running although its worker was lost.
        """
        unmeasured = (
            sa.select(t.evaluations.c.id)
            .where(
                t.evaluations.c.stage_run_id == t.stage_runs.c.id, t.evaluations.c.state.in_((RunState.READY, *ACTIVE))
            )
            .exists()
        )
        measured = sa.select(t.evaluations.c.id).where(t.evaluations.c.stage_run_id == t.stage_runs.c.id).exists()
        busy = sa.or_(
            t.stage_runs.c.state.in_(ACTIVE),
            sa.and_(t.stage_runs.c.state.in_((RunState.READY, RunState.WAITING)), t.stage_runs.c.attempt > 0),
            sa.and_(t.stage_runs.c.state == RunState.DONE, sa.or_(unmeasured, sa.not_(measured))),
        )
        wanted = connection.execute(
            sa.select(
                t.trials.c.id,
                sa.func.coalesce(sa.func.sum(sa.case((busy, 1), else_=0)), 0).label("busy"),
                sa.func.count(t.stage_runs.c.weights_sha256).label("sealed"),
                sa.func.count(t.stage_runs.c.id).label("stage_runs"),
            )
            .select_from(t.trials)
            .outerjoin(t.demands, t.demands.c.trial_id == t.trials.c.id)
            .outerjoin(t.stage_runs, t.stage_runs.c.id == t.demands.c.stage_run_id)
            .where(t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS))
            .group_by(t.trials.c.id)
        ).all()
        ends: dict[int, TrialState] = {}
        for trial in wanted:
            is_sealed = trial.stage_runs > 0 and trial.sealed == trial.stage_runs
            if not trial.busy and (sealed_too or not is_sealed):
                ends[trial.id] = TrialState.PRUNED if trial.sealed else TrialState.CANCELED
        self._move_trials(connection, now, ends, reason)

    def end_sweep(
        self, sweep_id: int, state: SweepState, *, error: str | None = None, fault: str | None = None
    ) -> bool:
        """End a sweep of which no trial is open; False where one is, since somebody added it meanwhile.

        One that was stopped ends as stopped, with the reason it was stopped for. fault: said beside the error.
        """
        with self._transaction() as (connection, now):
            sweep = connection.execute(locked(sa.select(t.sweeps).where(t.sweeps.c.id == sweep_id))).one()
            still_open = sa.select(t.trials.c.id).where(
                t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS)
            )
            if connection.execute(still_open.limit(1)).one_or_none() is not None:
                return False
            if sweep.state == SweepState.STOPPING:
                state, error = SweepState.STOPPED, sweep.error
            error = "; ".join(filter(None, (error, fault))) or None
            return self._move_sweep(connection, now, sweep_id, state, error=error)

    def edit_sweep(
        self,
        sweep_id: int,
        *,
        before: Mapping[str, Any],
        resolved: Mapping[str, Any],
        trials: Sequence[NewTrial],
        goes_on: bool,
        changes: Mapping[str, Any],
        by: str,
    ) -> bool:
        """Change what a sweep is from now on, and add trials; False where it is no longer what `before` says.

        goes_on: an ended sweep is open again. Stage runs that exist are untouched, but for their priority.
        """
        with self._transaction() as (connection, now):
            sweep = connection.execute(locked(sa.select(t.sweeps).where(t.sweeps.c.id == sweep_id))).one_or_none()
            if sweep is None or sweep.resolved != before or sweep.state == SweepState.STOPPING:
                return False
            changed = {"resolved": resolved, **_queue_values(resolved)}
            connection.execute(t.sweeps.update().where(t.sweeps.c.id == sweep_id).values(changed))
            note_changes(connection, [{"sweep_id": sweep_id}])
            record_event(connection, now, "sweep.edited", sweep_id=sweep_id, by=by, changes=changes, trials=len(trials))
            self._insert_trials(connection, now, sweep_id, trials)
            if goes_on:
                self._reopen(connection, now, sweep_id)
            if resolved["priority"] != before["priority"]:
                mine = t.demands.c.sweep_id == sweep_id
                touched = self._change_demands(connection, mine, priority=resolved["priority"])
                self._follow_demands(connection, now, *touched)
            return True

    def _reopen(self, connection: sa.Connection, now: float, sweep_id: int) -> None:
        self._move_sweep(connection, now, sweep_id, SweepState.RUNNING, only_from=ENDED_SWEEPS)

    def _change_demands(self, connection: sa.Connection, which: sa.ColumnElement[bool], **values: int) -> list[int]:
        """Change these demands; the stage runs that are to follow them, in the order in which they are locked."""
        changed = t.demands.update().where(which).values(values).returning(t.demands.c.stage_run_id)
        return sorted(set(connection.scalars(changed)))

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


def _queue_values(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What the queue looks at of a sweep at every claim, as columns of its row."""
    return {
        "share": resolved.get("share", 1.0),
        "max_workers": resolved.get("max_workers"),
        "labels": resolved.get("labels", {}),
    }


def lock_sweep(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    """A sweep's row is the lock of its trials and demands; several are locked in one order."""
    connection.execute(locked(sa.select(t.sweeps.c.id).where(which).order_by(t.sweeps.c.id)))


def sweeps_of(*trial_ids: int) -> sa.Select:
    return sa.select(t.trials.c.sweep_id).where(t.trials.c.id.in_(trial_ids)).distinct()
