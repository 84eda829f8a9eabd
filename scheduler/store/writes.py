"""One writing transaction, its time, its events, and the guard of a worker's attempt: what all writes share."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database, locked, writing
from scheduler.many import insert_many, is_among, update_many
from scheduler.repeating import repeated
from scheduler.states import ACTIVE, OPEN_SWEEPS, RunState
from scheduler.store.outbox import HOOKED, note_for_hooks
from scheduler.store.rows import StaleAttempt


class Writes:
    """The writing side of one database.

    Each public method is one transaction, and is done again as a whole where PostgreSQL undid it or was away for a
    moment; so its arguments must be readable twice.
    """

    def __init_subclass__(cls) -> None:
        # Here, so that no write can be forgotten.
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, repeated(method))

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        """clock: replaces the database's, for tests that move time."""
        self.database = database
        self._clock = clock

    def now(self) -> float:
        """Seconds since 1970 by the clock that leases and budgets are counted by."""
        if self._clock:
            return self._clock()
        with self._transaction() as (_, now):
            return now

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sa.Connection, float]]:
        """A writing transaction and its time."""
        with writing(self.database) as (connection, now):
            yield connection, self._clock() if self._clock else now

    def _fenced(
        self, connection: sa.Connection, now: float, table: sa.Table, row_id: int, attempt: int, *states: RunState
    ) -> sa.Row:
        """The row, locked, if this attempt may still write to it."""
        rows, refused = self._fenced_all(connection, now, table, {row_id: attempt}, *states)
        if refused:
            raise refused[row_id]
        return rows[0]

    def _fenced_all(
        self, connection: sa.Connection, now: float, table: sa.Table, attempts: Mapping[int, int], *states: RunState
    ) -> tuple[list[sa.Row], dict[int, StaleAttempt]]:
        """The rows, locked, to which these attempts (row id -> number) may still write; for the others, why not."""
        found = {row.id: row for row in connection.execute(_by_ids(table), {"ids": sorted(attempts)})}
        rows, refused = [], {}
        for row_id, attempt in attempts.items():
            row = found.get(row_id)
            if row is None or row.attempt != attempt or row.state not in (states or ACTIVE) or row.lease_until < now:
                state = "is gone" if row is None else f"is {row.state} in attempt {row.attempt}"
                refused[row_id] = StaleAttempt(f"attempt {attempt} may not write: {table.name} {row_id} {state}")
            else:
                rows.append(row)
        return rows, refused


def record_event(
    connection: sa.Connection,
    now: float,
    kind: str,
    *,
    sweep_id: int | None = None,
    trial_id: int | None = None,
    stage_run_id: int | None = None,
    **payload: Any,
) -> None:
    """Write an event, and its entry in the outbox where hooks may wait for it."""
    of = {"sweep_id": sweep_id, "trial_id": trial_id, "stage_run_id": stage_run_id}
    said = {name: value for name, value in payload.items() if value is not None}
    insert_many(connection, t.events, [of], same={"at": now, "kind": kind, "payload": said})
    note_for_hooks(connection, now, kind, sweep_id=sweep_id, trial_id=trial_id, payload=said)


def update_row(connection: sa.Connection, table: sa.Table, row_id: int, **values: Any) -> None:
    """Set these columns of one row."""
    update_many(connection, table, [{"id": row_id}], same=values)


# Making a statement takes longer than running it on SQLite, so those of every claim and beat are made once.


@cache
def _by_ids(table: sa.Table) -> sa.Select:
    """Without JSON columns, which take longer to read than all others and say nothing of who may write."""
    plain = [column for column in table.c if not isinstance(column.type, sa.JSON)]
    return locked(sa.select(*plain).where(is_among(table.c.id)).order_by(table.c.id))


def record_run_events(
    connection: sa.Connection, now: float, kind: str, stage_run_ids: Sequence[int], **payload: Any
) -> None:
    """One event of a kind for each of these stage runs."""
    rows = [{"stage_run_id": run_id} for run_id in sorted(set(stage_run_ids))]
    insert_many(connection, t.events, rows, same={"at": now, "kind": kind, "payload": payload})


def record_trial_events(
    connection: sa.Connection, now: float, kind: str, trial_ids: Sequence[int], **payload: Any
) -> None:
    """One event of a kind for each of these trials."""
    if trial_ids:
        connection.execute(_TRIAL_EVENTS, {"at": now, "kind": kind, "payload": payload, "ids": trial_ids})
        if kind in HOOKED:
            for trial_id in trial_ids:
                note_for_hooks(connection, now, kind, sweep_id=None, trial_id=trial_id, payload=payload)


_event = [sa.bindparam(name, type_=t.events.c[name].type) for name in ("at", "kind", "payload")]
_TRIAL_EVENTS = t.events.insert().from_select(
    ["at", "kind", "payload", "sweep_id", "trial_id"],
    sa.select(*_event, t.trials.c.sweep_id, t.trials.c.id).where(is_among(t.trials.c.id)).order_by(t.trials.c.id),
)


def note_changes(connection: sa.Connection, rows: Sequence[Mapping[str, int]]) -> None:
    """What the scheduler is to look at: of a sweep, the trials on a stage run, a trial, or (neither) all."""
    if rows:
        connection.execute(t.changes.insert(), [{"stage_run_id": None, "trial_id": None, **row} for row in rows])


def note_ended_runs(connection: sa.Connection, stage_run_ids: Sequence[int]) -> None:
    """Stage runs, or evaluations of them, have ended: every open sweep that wants them is to look."""
    connection.execute(_NOTE_ENDED_RUNS, {"ids": stage_run_ids})


_NOTE_ENDED_RUNS = t.changes.insert().from_select(
    ["sweep_id", "stage_run_id"],
    sa.select(t.demands.c.sweep_id, t.demands.c.stage_run_id)
    .distinct()
    .join(t.sweeps, t.sweeps.c.id == t.demands.c.sweep_id)
    .where(
        is_among(t.demands.c.stage_run_id),
        t.sweeps.c.state.in_([str(state) for state in OPEN_SWEEPS]),
    ),
)
