"""The stage tree: stage runs come into being because trials demand them, and follow what is demanded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.many import insert_many, is_among, update_many
from scheduler.states import ACTIVE, ENDED, OPEN_TRIALS, WANTING_SWEEPS, RunState, SweepState, TrialState
from scheduler.store.rebuilding import parents_that_are_whole
from scheduler.store.rows import REBUILDING, Demand
from scheduler.store.writes import (
    Writes,
    note_changes,
    note_ended_runs,
    record_event,
    record_run_events,
    record_trial_events,
)
from t2f.spec import RESOLUTIONS

BATCH = 1000  # rows a statement; a transaction of so many demands takes a tenth of a second

_UNTRAINED = (RunState.WAITING, RunState.CANCELED, RunState.READY, *ACTIVE)


class TreeWrites(Writes):
    def demand(self, sweep_id: int, demands: Iterable[Demand], *, priority: int) -> None:
        """Make sure that these stage runs exist and are wanted; those already sealed are only linked.

        Whoever decides looked at older rows: a trial or sweep that has ended since wants nothing, and what a paused
        sweep wants waits. Many demands are written in several transactions; each may be repeated.
        """
        left = iter(demands)
        while batch := list(islice(left, BATCH)):
            with self._transaction() as (connection, now):
                self._demand(connection, now, sweep_id, batch, priority)

    def _held_sweep(self, connection: sa.Connection, sweep_id: int) -> str | None:
        """A sweep's state, which nobody changes before this transaction ends; None where it is gone."""
        return connection.scalar(locked(sa.select(t.sweeps.c.state).where(t.sweeps.c.id == sweep_id)))

    def _demand(
        self, connection: sa.Connection, now: float, sweep_id: int, batch: Sequence[Demand], priority: int
    ) -> None:
        sweep_state = self._held_sweep(connection, sweep_id)
        if sweep_state not in WANTING_SWEEPS:
            return
        open_trials = connection.execute(_OPEN_TRIALS, {"ids": [wanted.trial_id for wanted in batch]})
        states = {row.id: row.state for row in open_trials}
        batch = [wanted for wanted in batch if wanted.trial_id in states]
        if not batch:
            return
        paused = sweep_state == SweepState.PAUSED
        known = self._known_runs(connection, batch)
        at_once = not paused and TrialState.PAUSED not in states.values()
        ids = self._add_stage_runs(connection, now, sweep_id, batch, known, priority, at_once)
        found = {key: row for key, row in known.items() if key not in ids}
        wishes = [
            {
                "trial_id": wanted.trial_id,
                "stage_run_id": ids.get(wanted.keys[-1]) or found[wanted.keys[-1]].id,
                "paused": int(paused or states[wanted.trial_id] == TrialState.PAUSED),
                "stage": len(wanted.keys) - 1,
            }
            for wanted in batch
        ]
        same = {"sweep_id": sweep_id, "priority": priority, "created": now}
        insert_many(connection, t.demands, wishes, same=same, if_new=True)
        waiting = [wanted.trial_id for wanted in batch if states[wanted.trial_id] == TrialState.WAITING]
        self._begin_trials(connection, now, waiting)
        wanted_keys = {wanted.keys[-1] for wanted in batch}
        wanted_runs = [row for key, row in found.items() if key in wanted_keys]
        # One more unpaused demand changes nothing for a stage run that is wanted already and no less urgent.
        follow = [
            row.id
            for row in wanted_runs
            if row.state in (RunState.WAITING, RunState.CANCELED) or (not paused and row.priority < priority)
        ]
        self._follow_demands(connection, now, *follow, *ids.values() if not at_once else self._waiting(connection, ids))
        ended = [row.id for row in wanted_runs if row.state in ENDED]
        note_changes(connection, [{"sweep_id": sweep_id, "stage_run_id": run_id} for run_id in ended])

    def _known_runs(self, connection: sa.Connection, batch: Sequence[Demand]) -> dict[str, sa.Row]:
        """The stage runs that are wanted, and their parents, as far as they exist; locked: nobody must cancel one."""
        keys = {key for wanted in batch for key in wanted.keys[-2:]}
        return {row.key: row for row in connection.execute(_KNOWN_RUNS, {"ids": sorted(keys)})}

    def _add_stage_runs(
        self,
        connection: sa.Connection,
        now: float,
        sweep_id: int,
        batch: Sequence[Demand],
        known: dict[str, sa.Row],
        priority: int,
        at_once: bool,
    ) -> dict[str, int]:
        """Key -> id of the stage runs that came into being; ready where nothing can keep them waiting."""
        rows = {}
        new = [wanted for wanted in batch if len(wanted.keys) > 1 and wanted.keys[-1] not in known]
        whole = parents_that_are_whole(connection, {known[wanted.keys[-2]].id for wanted in new})
        for wanted in batch:
            key = wanted.keys[-1]
            if key in known:
                continue
            if key in rows:
                rows[key]["remaining"] = max(rows[key]["remaining"], wanted.remaining)
                continue
            parent_id = None
            if len(wanted.keys) > 1:
                parent = known[wanted.keys[-2]]
                assert parent.weights_sha256 is not None, "a stage run becomes a row once its parent is sealed"
                parent_id = parent.id
            rows[key] = {
                "key": key,
                "parent_id": parent_id,
                "stage": len(wanted.keys) - 1,
                "resolution": RESOLUTIONS[len(wanted.keys) - 1],
                "spec": wanted.spec,
                "state": RunState.READY if at_once and (parent_id is None or parent_id in whole) else RunState.WAITING,
                "remaining": wanted.remaining,
            }
        if not rows:
            return {}
        same = {"priority": priority, "created": now, "sweep_id": sweep_id, **_NOTHING_YET}
        added = insert_many(
            connection, t.stage_runs, list(rows.values()), same=same, if_new=True, returning=("key", "id")
        )
        ids = {row.key: row.id for row in added}
        if len(ids) < len(rows):  # another sweep was quicker, since we looked
            others = sorted(key for key in rows if key not in ids)
            known |= {row.key: row for row in connection.execute(_KNOWN_RUNS, {"ids": others})}
        for state in (RunState.READY, RunState.WAITING):
            of_state = [ids[key] for key, row in rows.items() if key in ids and row["state"] == state]
            record_run_events(connection, now, f"stage_run.{state}", of_state)
        return ids

    def _begin_trials(self, connection: sa.Connection, now: float, trial_ids: Sequence[int]) -> None:
        """Waiting trials of which something is wanted now."""
        if trial_ids:
            connection.execute(_BEGIN_TRIALS, {"ids": trial_ids})
            record_trial_events(connection, now, f"trial.{TrialState.RUNNING}", trial_ids)

    def _follow_demands(self, connection: sa.Connection, now: float, *stage_run_ids: int) -> None:
        """Bring stage runs' states, priorities and bearers in line with the open trials that want them."""
        left = iter(stage_run_ids)
        while batch := list(islice(left, BATCH)):
            connection.execute(_LOCK_RUNS, {"ids": batch})
            rows = connection.execute(_wishes(batch)).all()
            standing: dict[tuple[int, int], list[int]] = {}
            targets: dict[RunState, list[int]] = {}
            begin = (RunState.WAITING, RunState.CANCELED)
            beginning = [row for row in rows if row.unpaused and row.state in begin]
            parents = {row.parent_id for row in beginning if row.parent_id is not None}
            whole = parents_that_are_whole(connection, parents)
            for row in rows:
                wanted = (row.wanted_priority, row.bearer)
                if row.unpaused and wanted != (row.priority, row.sweep_id):
                    standing.setdefault(wanted, []).append(row.id)
                target = _target(row, can_start=row.parent_id is None or row.parent_id in whole)
                if target == RunState.CANCELED and row.weights_sha256 is not None:
                    self._give_up(connection, now, row)
                elif target is not None:
                    targets.setdefault(target, []).append(row.id)
            for (priority, bearer), ids in standing.items():
                values = {"priority": priority, "sweep_id": bearer}
                connection.execute(t.stage_runs.update().where(t.stage_runs.c.id.in_(ids)).values(values))
            for target, ids in targets.items():
                self._move(connection, now, ids, target)
            for parent_id in sorted(parents - whole):
                self._rebuild(connection, now, parent_id)

    def _rebuild(self, connection: sa.Connection, now: float, stage_run_id: int) -> None:
        """Begin to train a collected stage run again, or first the last of those before it that can be trained.

        Each that is sealed again wakes what waits for it. One that is being rebuilt, or broke in that, is left alone.
        """
        run = connection.execute(locked(sa.select(t.stage_runs).where(t.stage_runs.c.id == stage_run_id))).one()
        if run.state != RunState.DONE:
            return
        if run.parent_id is not None and not parents_that_are_whole(connection, {run.parent_id}):
            self._rebuild(connection, now, run.parent_id)
            return
        record_event(connection, now, REBUILDING, stage_run_id=run.id, after_attempt=run.attempt)
        self._move(connection, now, run.id, RunState.READY, error=None, ready_at=0.0)
        self._follow_demands(connection, now, run.id)

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
        self._follow_demands(connection, now, *connection.scalars(_WAITING_BUT_WANTED).all())

    def _waiting(self, connection: sa.Connection, ids: Mapping[str, int]) -> Sequence[int]:
        """Those of new stage runs that wait for a parent to be rebuilt."""
        if not ids:
            return ()
        waiting = sa.select(t.stage_runs.c.id).where(
            t.stage_runs.c.id.in_(ids.values()), t.stage_runs.c.state == RunState.WAITING
        )
        return connection.scalars(waiting.order_by(t.stage_runs.c.id)).all()

    def _move(
        self,
        connection: sa.Connection,
        now: float,
        stage_runs: int | Sequence[int],
        state: RunState,
        *,
        each: Sequence[Mapping[str, Any]] = (),
        **values: Any,
    ) -> None:
        """Change the state of one or several stage runs, with the event; the trigger refuses illegal moves.

        each: what differs between them, one mapping for each stage run.
        """
        ids = [stage_runs] if isinstance(stage_runs, int) else stage_runs
        if state not in ACTIVE:
            values = {"worker_id": None, "lease_until": None, "images_per_second": None, "preempt": 0, **values}
        values = {"state": state, "ended": now if state in ENDED else None, **values}
        payload = {"error": values["error"]} if values.get("error") is not None else {}
        rows = [{**own, "id": run_id} for run_id, own in zip(ids, each or [{}] * len(ids), strict=True)]
        update_many(connection, t.stage_runs, rows, same=values)
        record_run_events(connection, now, f"stage_run.{state}", ids, **payload)
        if state in ENDED:
            note_ended_runs(connection, ids)

    def _move_trial(
        self, connection: sa.Connection, now: float, trial_id: int, state: TrialState, reason: str | None
    ) -> bool:
        """Whether the trial was open."""
        return bool(self._move_trials(connection, now, {trial_id: state}, reason))

    def _move_trials(
        self, connection: sa.Connection, now: float, states: dict[int, TrialState], reason: str | None
    ) -> frozenset[int]:
        """Move the trials that are still open, and return them; what nobody wants any more is canceled."""
        by_state: dict[TrialState, list[int]] = {}
        for trial_id, state in states.items():
            by_state.setdefault(state, []).append(trial_id)
        moved: set[int] = set()
        for state, trial_ids in by_state.items():
            left = iter(trial_ids)
            while batch := list(islice(left, BATCH)):
                moved |= self._move_batch(connection, now, batch, state, reason)
        return frozenset(moved)

    def _move_batch(
        self, connection: sa.Connection, now: float, trial_ids: Sequence[int], state: TrialState, reason: str | None
    ) -> set[int]:
        is_open = state in OPEN_TRIALS
        updated = connection.execute(
            t.trials.update()
            .where(t.trials.c.id.in_(trial_ids), t.trials.c.state.in_(OPEN_TRIALS))
            .values(state=state, ended=None if is_open else now)
            .returning(t.trials.c.id, t.trials.c.sweep_id)
        )
        moved = {row.id: row.sweep_id for row in updated}
        payload = {} if reason is None else {"reason": reason}
        rows = [{"sweep_id": sweep_id, "trial_id": trial_id} for trial_id, sweep_id in sorted(moved.items())]
        record_trial_events(connection, now, f"trial.{state}", list(moved), **payload)
        if is_open:
            note_changes(connection, rows)
        else:
            # One of those that ended is enough: the rungs are looked at.
            note_changes(connection, list({row["sweep_id"]: row for row in rows}.values()))
            self._drop_demands(connection, now, list(moved))
        return set(moved)

    def _drop_demands(self, connection: sa.Connection, now: float, trial_ids: Collection[int]) -> None:
        """Forget what ended trials wanted; demands for what was sealed or broke stay, as their history."""
        untrained = connection.scalars(
            locked(
                sa.select(t.stage_runs.c.id)
                .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
                .where(t.demands.c.trial_id.in_(trial_ids), t.stage_runs.c.state.in_(_UNTRAINED))
                .order_by(t.stage_runs.c.id),
                of=t.stage_runs,
            )
        ).all()
        wanted = sorted(set(untrained))
        if wanted:
            never_sealed = sa.select(t.stage_runs.c.id).where(
                t.stage_runs.c.id.in_(wanted), t.stage_runs.c.weights_sha256.is_(None)
            )
            connection.execute(
                t.demands.delete().where(
                    t.demands.c.trial_id.in_(trial_ids), t.demands.c.stage_run_id.in_(never_sealed)
                )
            )
            self._follow_demands(connection, now, *wanted)


# Statements of many rows are made once.
_OPEN_TRIALS = sa.select(t.trials.c.id, t.trials.c.state).where(
    is_among(t.trials.c.id), t.trials.c.state.in_([str(state) for state in OPEN_TRIALS])
)
_BEGIN_TRIALS = t.trials.update().where(is_among(t.trials.c.id)).values(state=str(TrialState.RUNNING))
_KNOWN_RUNS = locked(
    sa.select(
        t.stage_runs.c.key,
        t.stage_runs.c.id,
        t.stage_runs.c.state,
        t.stage_runs.c.priority,
        t.stage_runs.c.weights_sha256,
    )
    .where(is_among(t.stage_runs.c.key))
    .order_by(t.stage_runs.c.id)
)
_LOCK_RUNS = locked(sa.select(t.stage_runs.c.id).where(is_among(t.stage_runs.c.id)).order_by(t.stage_runs.c.id))
_NOTHING_YET = dict.fromkeys(("attempt", "ready_at", "images", "seconds"), 0)


_WAITING_BUT_WANTED = (
    sa.select(t.stage_runs.c.id)
    .where(
        t.stage_runs.c.state == RunState.WAITING,
        sa.select(t.demands.c.id)
        .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
        .where(
            t.demands.c.stage_run_id == t.stage_runs.c.id,
            t.demands.c.paused == 0,
            t.trials.c.state.in_([str(state) for state in OPEN_TRIALS]),
        )
        .exists(),
    )
    .order_by(t.stage_runs.c.id)
)


def _target(row: sa.Row, *, can_start: bool) -> RunState | None:
    """The state that a stage run goes to because of what is wanted of it; None where it stays.

    can_start: its parent's full state is there.
    """
    if row.unpaused and can_start and row.state in (RunState.WAITING, RunState.CANCELED):
        return RunState.READY
    if row.unpaused and row.state == RunState.CANCELED:
        return RunState.WAITING
    if not row.wishes and row.state in (RunState.READY, RunState.WAITING):
        return RunState.CANCELED
    if not row.unpaused and row.state == RunState.READY:
        return RunState.WAITING
    if not row.wishes and row.state in (RunState.LEASED, RunState.RUNNING):
        return RunState.CANCELING
    return None


def _wishes(stage_run_ids: Sequence[int]) -> sa.Select:
    """Stage runs, and what open trials want of each: how many demands, how urgent, and who bears the cost."""
    runs, demands = t.stage_runs.c, t.demands.c
    wished = (
        sa.select(
            demands.stage_run_id,
            sa.func.count().label("wishes"),
            sa.func.sum(1 - demands.paused).label("unpaused"),
            sa.func.max(sa.case((demands.paused == 0, demands.priority))).label("wanted_priority"),
            sa.func.min(sa.case((demands.paused == 0, demands.id))).label("first"),
        )
        .join(t.trials, t.trials.c.id == demands.trial_id)
        .where(demands.stage_run_id.in_(stage_run_ids), t.trials.c.state.in_(OPEN_TRIALS))
        .group_by(demands.stage_run_id)
        .subquery()
    )
    first = t.demands.alias("first_demand")
    return (
        sa.select(
            runs.id,
            runs.state,
            runs.priority,
            runs.sweep_id,
            runs.parent_id,
            runs.attempt,
            runs.weights_sha256,
            sa.func.coalesce(wished.c.wishes, 0).label("wishes"),
            sa.func.coalesce(wished.c.unpaused, 0).label("unpaused"),
            wished.c.wanted_priority,
            first.c.sweep_id.label("bearer"),
        )
        .outerjoin(wished, wished.c.stage_run_id == runs.id)
        .outerjoin(first, first.c.id == wished.c.first)
        .where(runs.id.in_(stage_run_ids))
        .order_by(runs.id)
    )
