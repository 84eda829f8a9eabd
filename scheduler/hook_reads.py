"""What the hooks look at: is there news, is something due, how deliveries ended. Nothing here writes."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.store.deliveries import OPEN_DELIVERIES


@dataclass(frozen=True, kw_only=True)
class DeliveryLine:
    """What became of one entry of the outbox at one hook."""

    id: int  # of the entry: the idempotency id
    event: str
    at: float
    subject: str  # the trial or sweep
    hook: str
    state: str
    attempts: int
    error: str | None
    ended: float | None


def has_news(database: Database) -> bool:
    """Whether the outbox has entries that no hook has been told to be told of."""
    with database.read.begin() as connection:
        return connection.scalar(sa.select(t.outbox.c.id).where(t.outbox.c.spread == 0).limit(1)) is not None


def is_due(database: Database, hook: str) -> bool:
    """Whether it is worth while to claim a delivery to this hook: by this machine's clock; the claim has its own."""
    rows = t.deliveries.c
    with database.read.begin() as connection:
        statement = sa.select(rows.id).where(
            rows.hook == hook, rows.state.in_(OPEN_DELIVERIES), rows.due <= time.time()
        )
        return connection.scalar(statement.limit(1)) is not None


def deliveries(database: Database, *, limit: int) -> list[DeliveryLine]:
    """The newest deliveries first."""
    statement = (
        sa.select(t.deliveries, t.outbox.c.kind, t.outbox.c.payload, t.outbox.c.created)
        .join(t.outbox, t.outbox.c.id == t.deliveries.c.outbox_id)
        .order_by(t.deliveries.c.id.desc())
        .limit(limit)
    )
    with database.read.begin() as connection:
        return [
            DeliveryLine(
                id=row.outbox_id,
                event=row.kind,
                at=row.created,
                subject=row.payload.get("trial") or row.payload["sweep"],
                hook=row.hook,
                state=row.state,
                attempts=row.attempts,
                error=row.error,
                ended=row.ended,
            )
            for row in connection.execute(statement)
        ]
