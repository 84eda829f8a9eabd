"""Deliveries of the outbox to hooks: spread over them, claimed one by one, delivered, tried again, given up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.store.writes import Writes, record_event

SPREAD_AT_ONCE = 500
KEPT_SECONDS = 30 * 24 * 3600.0  # an entry of the outbox with nothing left to deliver is then forgotten


class DeliveryState(StrEnum):
    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    GIVEN_UP = "given up"


OPEN_DELIVERIES = (DeliveryState.WAITING, DeliveryState.SENDING)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One try at telling one hook of one entry of the outbox."""

    id: int
    outbox_id: int
    hook: str
    event: str
    payload: Mapping[str, Any]
    at: float  # of the event
    attempt: int  # from 1; the fencing token


class DeliveryWrites(Writes):
    def spread_outbox(self, wanted: Mapping[str, Sequence[str]]) -> int:
        """Give each new entry of the outbox a delivery for each hook that wants it; how many entries there were.

        wanted: hook -> events. What waits for a hook that is no more is given up; what is long over is forgotten.
        """
        with self._transaction() as (connection, now):
            new = sa.select(t.outbox.c.id, t.outbox.c.kind).where(t.outbox.c.spread == 0)
            entries = connection.execute(locked(new.order_by(t.outbox.c.id).limit(SPREAD_AT_ONCE))).all()
            rows = [
                {
                    "outbox_id": entry.id,
                    "hook": hook,
                    "state": DeliveryState.WAITING,
                    "attempts": 0,
                    "due": now,
                }
                for entry in entries
                for hook, events in wanted.items()
                if entry.kind in events
            ]
            if rows:
                connection.execute(t.deliveries.insert(), rows)
            if entries:
                ids = [entry.id for entry in entries]
                connection.execute(t.outbox.update().where(t.outbox.c.id.in_(ids)).values(spread=1))
            orphans = connection.execute(
                sa.select(t.deliveries).where(
                    t.deliveries.c.state.in_(OPEN_DELIVERIES), t.deliveries.c.hook.not_in(list(wanted))
                )
            ).all()
            for row in orphans:
                _end(connection, now, row, DeliveryState.GIVEN_UP, "there is no such hook in hooks.yaml any more")
            still_open = sa.select(t.deliveries.c.outbox_id).where(t.deliveries.c.state.in_(OPEN_DELIVERIES))
            connection.execute(
                t.outbox.delete().where(
                    t.outbox.c.spread == 1, t.outbox.c.created < now - KEPT_SECONDS, t.outbox.c.id.not_in(still_open)
                )
            )
            return len(entries)

    def claim_delivery(self, hook: str, *, seconds: float) -> Delivery | None:
        """The next delivery of a hook that is due, for one try of at most so long; None where none is.

        A try whose process died is taken up again after that time: a hook is told at least once, perhaps twice.
        """
        rows = t.deliveries.c
        with self._transaction() as (connection, now):
            due = sa.select(t.deliveries).where(rows.hook == hook, rows.state.in_(OPEN_DELIVERIES), rows.due <= now)
            row = connection.execute(locked(due.order_by(rows.outbox_id).limit(1), skip_locked=True)).one_or_none()
            if row is None:
                return None
            connection.execute(
                t.deliveries.update()
                .where(rows.id == row.id)
                .values(state=DeliveryState.SENDING, attempts=row.attempts + 1, due=now + seconds)
            )
            entry = connection.execute(sa.select(t.outbox).where(t.outbox.c.id == row.outbox_id)).one()
            return Delivery(
                id=row.id,
                outbox_id=row.outbox_id,
                hook=hook,
                event=entry.kind,
                payload=entry.payload,
                at=entry.created,
                attempt=row.attempts + 1,
            )

    def end_delivery(self, delivery: Delivery, *, error: str | None = None, again_in: float | None = None) -> bool:
        """Note how a try ended: delivered, to be tried again in so many seconds, or given up with an event.

        False where another try has begun meanwhile, whose end will count.
        """
        rows = t.deliveries.c
        with self._transaction() as (connection, now):
            mine = sa.select(t.deliveries).where(
                rows.id == delivery.id, rows.state == DeliveryState.SENDING, rows.attempts == delivery.attempt
            )
            row = connection.execute(locked(mine)).one_or_none()
            if row is None:
                return False
            if error is not None and again_in is not None:
                connection.execute(
                    t.deliveries.update()
                    .where(rows.id == row.id)
                    .values(state=DeliveryState.WAITING, due=now + again_in, error=error)
                )
            else:
                _end(connection, now, row, DeliveryState.GIVEN_UP if error else DeliveryState.DELIVERED, error)
            return True

    def retry_deliveries(self, *, hook: str | None = None) -> int:
        """Deliver what was given up after all, of one hook or of all; how many deliveries these are."""
        rows = t.deliveries.c
        given_up = rows.state == DeliveryState.GIVEN_UP
        with self._transaction() as (connection, now):
            found = connection.execute(
                t.deliveries.update()
                .where(given_up if hook is None else sa.and_(given_up, rows.hook == hook))
                .values(state=DeliveryState.WAITING, attempts=0, due=now, ended=None)
            )
            return found.rowcount


def _end(connection: sa.Connection, now: float, row: sa.Row, state: DeliveryState, error: str | None) -> None:
    connection.execute(
        t.deliveries.update().where(t.deliveries.c.id == row.id).values(state=state, error=error, ended=now)
    )
    if state == DeliveryState.GIVEN_UP:
        record_event(
            connection, now, "hook.given_up", hook=row.hook, outbox_id=row.outbox_id, attempts=row.attempts, error=error
        )
