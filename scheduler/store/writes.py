"""One writing transaction, its time, its events, and the guard of a worker's attempt: what all writes share."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database, locked, writing
from scheduler.repeating import repeated
from scheduler.states import ACTIVE, RunState
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

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sa.Connection, float]]:
        """A writing transaction and its time."""
        with writing(self.database) as (connection, now):
            yield connection, self._clock() if self._clock else now

    def _fenced(
        self, connection: sa.Connection, now: float, table: sa.Table, row_id: int, attempt: int, *states: RunState
    ) -> sa.Row:
        """The row, locked, if this attempt may still write to it."""
        row = connection.execute(locked(sa.select(table).where(table.c.id == row_id))).one_or_none()
        if row is None or row.attempt != attempt or row.state not in (states or ACTIVE) or row.lease_until < now:
            found = "is gone" if row is None else f"is {row.state} in attempt {row.attempt}"
            raise StaleAttempt(f"attempt {attempt} may not write: {table.name} {row_id} {found}")
        return row


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
    connection.execute(
        t.events.insert().values(
            at=now,
            kind=kind,
            sweep_id=sweep_id,
            trial_id=trial_id,
            stage_run_id=stage_run_id,
            payload={name: value for name, value in payload.items() if value is not None},
        )
    )
