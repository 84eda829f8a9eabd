"""PostgreSQL by psycopg: its engines, which errors pass by themselves, what became of a commit without an answer."""

import logging
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from scheduler.jsontext import json_text
from t2f.errors import UserError

log = logging.getLogger(__name__)

# A server that is cut off is noticed within about ten seconds, well before a lease of 30 s ends.
CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
# A client that stopped inside a transaction must not keep its locks: the server ends its session after this.
IDLE_MILLISECONDS = 10_000
LOCK_MILLISECONDS = 30_000  # as long as SQLite waits for its lock
PATIENCE_SECONDS = 60.0  # for a server that is away: a restart, a failover
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0

# SQLSTATEs: undone by the server because of what others did at the same time.
UNDONE = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock timeout
# Shut down, crashed, starting up, too many connections, ended because it was idle inside a transaction.
AWAY = frozenset({"57P01", "57P02", "57P03", "53300", "25P03"})


def postgres_engine(url: URL, *, read_only: bool) -> sa.Engine:
    """Writes are READ COMMITTED with row locks; reads see one moment (REPEATABLE READ), as they do on SQLite."""
    try:
        import psycopg  # noqa: F401 - the driver comes with an extra
    except ImportError:
        raise UserError(
            f"the database {url.render_as_string()} needs the driver psycopg: pip install 't2f[postgres]'"
        ) from None
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        json_serializer=json_text,
        connect_args={name: value for name, value in CONNECTION.items() if name not in url.query},
        isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
        # Reads have nobody who repeats them; a write on a connection that died is done again anyway.
        pool_pre_ping=read_only,
        # A worker holds one connection; more are opened only while its threads write at the same time.
        pool_size=5 if read_only else 1,
        max_overflow=20,
    )
    if read_only:

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection, _record) -> None:
            connection.read_only = True

    return engine


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A writing transaction's time, and what its receipt will say once it is committed."""

    now: float
    client: str | None = None  # the connection
    number: int = 0  # of its transactions


BEGIN = f"""
WITH receipt AS (
    INSERT INTO receipts (client, number, at) VALUES (%s, 1, extract(epoch FROM clock_timestamp()))
    ON CONFLICT (client) DO UPDATE SET number = receipts.number + 1, at = excluded.at RETURNING number, at
)
SELECT number, at::float8 AS now,
    set_config('idle_in_transaction_session_timeout', '{IDLE_MILLISECONDS}', true),
    set_config('lock_timeout', '{LOCK_MILLISECONDS}', true)
FROM receipt
"""
# Waits for the transaction in question, should the server still be busy with it.
LOOK_UP = """
INSERT INTO receipts (client, number, at) VALUES (%s, 0, extract(epoch FROM clock_timestamp()))
ON CONFLICT (client) DO UPDATE SET number = receipts.number RETURNING number
"""
FORGET = "DELETE FROM receipts WHERE at < extract(epoch FROM clock_timestamp()) - 86400"


def begin_writing(connection: sa.Connection) -> Ticket:
    """One statement: the transaction's receipt, its limits, and the server's clock, which moves inside it.

    The number of a transaction (`pg_current_xact_id`) would be no receipt: after a crash the server may give it again.
    """
    client = connection.info.get("client")
    if client is None:  # a new connection
        client = connection.info["client"] = uuid.uuid4().hex
        connection.exec_driver_sql(FORGET)
    row = connection.exec_driver_sql(BEGIN, (client,)).one()
    return Ticket(now=row.now, client=client, number=row.number)


def was_committed(engine: sa.Engine, ticket: Ticket) -> bool:
    """What became of a transaction whose commit got no answer; waits for a server that is away, False if in vain."""
    for _ in pauses():
        try:
            with engine.begin() as connection:
                return connection.exec_driver_sql(LOOK_UP, (ticket.client,)).scalar_one() >= ticket.number
        except DBAPIError as error:
            if not passes_by_itself(error):
                raise
    return False


def pauses() -> Iterator[float]:
    """Pauses that grow, as long as patience lasts; jitter keeps many clients from coming back at one moment."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE_SECONDS
    yield 0.0
    while time.monotonic() < deadline:
        time.sleep(pause * random.uniform(0.5, 1.0))
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def is_away(error: DBAPIError) -> bool:
    """Whether the connection is lost or the server does not take any just now."""
    if error.connection_invalidated:
        return True
    # Without a SQLSTATE nothing came from a server that works: refused, unreachable, or closed in the middle.
    state = _state(error)
    return _is_psycopg_operational(error) and (state is None or state in AWAY or state.startswith("08"))


def passes_by_itself(error: DBAPIError) -> bool:
    """Whether the transaction is undone as a whole and may succeed when it is done again."""
    return is_away(error) or _state(error) in UNDONE


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _is_psycopg_operational(error: DBAPIError) -> bool:
    kinds = type(error.orig).__mro__
    return any(kind.__module__.startswith("psycopg") and kind.__name__ == "OperationalError" for kind in kinds)
