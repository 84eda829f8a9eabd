"""Opening the database and writing to it: SQLite in a home by default, PostgreSQL where there is more than one machine.

What the two do differently is here and in `postgres.py`; `schema.py` brings the tables up to date.

Writing transactions on SQLite hold its one write lock from their begin. On PostgreSQL many write at once, and each
statement sees what others have committed, so whoever decides by what a row says locks it first (`locked`), in this
order: the sweep (the lock of its trials and demands), the worker, the stage run (the lock of its state, attempts and
checkpoints), the evaluation. Reading transactions see one moment on both, and cannot write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from scheduler.jsontext import json_text
from scheduler.postgres import Ticket, begin_writing, is_away, postgres_engine, was_committed
from t2f.errors import UserError

# The write-ahead log's reset could corrupt a database before this version; older ones keep a rollback journal.
SAFE_WAL = (3, 51, 3)
KINDS = "sqlite:///PATH or postgresql://USER@HOST:PORT/DATABASE"


@dataclass(frozen=True, kw_only=True)
class Database:
    """Two engines on one database: one for writing transactions, one for reading ones."""

    url: str = field(repr=False)  # with its password
    write: sa.Engine
    read: sa.Engine

    @property
    def is_postgres(self) -> bool:
        return self.write.dialect.name == "postgresql"

    @property
    def shown_url(self) -> str:
        """The URL to print: its password is hidden."""
        return shown_url(self.url)

    def close(self) -> None:
        self.write.dispose()
        self.read.dispose()


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.resolve()}"


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite database; None for one of another kind."""
    parsed = parse_url(url)
    return Path(parsed.database or "") if parsed.drivername == "sqlite" else None


def shown_url(url: str) -> str:
    return parse_url(url).render_as_string(hide_password=True)


def parse_url(url: str) -> URL:
    """UserError where it is no URL, or of a kind that is not supported; a password in it is never shown."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(f"the database's URL cannot be read; it must be {KINDS}") from None
    if parsed.drivername not in ("sqlite", "postgresql", "postgres"):
        raise UserError(f"the database {parsed.render_as_string()!r} is not supported; it must be {KINDS}")
    if "password" in parsed.query:  # libpq takes it there too, where it would be shown
        parsed = parsed.set(password=parsed.query["password"]).difference_update_query(["password"])
    return parsed.set(drivername="sqlite" if parsed.drivername == "sqlite" else "postgresql")


def open_database(url: str) -> Database:
    """The database at a URL; UserError where the kind is not supported or its folder or driver is missing.

    A PostgreSQL is asked only by the first transaction.
    """
    parsed = parse_url(url)
    if parsed.drivername == "postgresql":
        write, read = (postgres_engine(parsed, read_only=read_only) for read_only in (False, True))
        return Database(url=url, write=write, read=read)
    path = sqlite_path(url)
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} of the database does not exist; create it or give another path")
    return Database(url=url, write=_sqlite_engine(parsed, read_only=False), read=_sqlite_engine(parsed, read_only=True))


def _sqlite_engine(url: URL, *, read_only: bool) -> sa.Engine:
    from pysqlite3 import dbapi2  # here, not above: only SQLite needs the wheel that brings a current one

    engine = sa.create_engine(
        url.set(drivername="sqlite+pysqlite"),
        module=dbapi2,
        json_serializer=json_text,
        connect_args={"timeout": 30.0, "check_same_thread": False},
    )
    journal = "WAL" if dbapi2.sqlite_version_info >= SAFE_WAL else "DELETE"

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection, _record) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        cursor = connection.cursor()
        for pragma in (
            "busy_timeout = 30000",
            f"journal_mode = {journal}",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"query_only = {'ON' if read_only else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred BEGIN that writes later fails with "database is locked" in spite of the timeout.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def writing(database: Database) -> Iterator[tuple[sa.Connection, float]]:
    """A writing transaction and its time: seconds since 1970 by the database's clock, which all leases are counted by.

    A commit whose answer was lost on the way is looked up and counts as what it was: after an error nothing is written.
    The time is taken before any lock is waited for, so a lease is rather held for shorter than for longer.
    """
    with database.write.connect() as connection:
        transaction = connection.begin()
        ticket = begin_writing(connection) if database.is_postgres else Ticket(now=_sqlite_now(connection))
        yield connection, ticket.now
        try:
            transaction.commit()
        except DBAPIError as error:
            if not (is_away(error) and was_committed(database.write, ticket)):
                raise


def is_full(error: DBAPIError) -> bool:
    """Whether SQLite found no room for a write; whatever it had acknowledged before is there."""
    return getattr(error.orig, "sqlite_errorname", None) == "SQLITE_FULL"


def _sqlite_now(connection: sa.Connection) -> float:
    # By the driver itself: each write asks, and nothing can go wrong.
    return connection.connection.driver_connection.execute("SELECT unixepoch('subsec')").fetchone()[0]


# What statements say differently


def locked(statement: sa.Select, *, of: sa.Table | None = None, skip_locked: bool = False) -> sa.Select:
    """The rows, locked until the transaction ends; nothing is added on SQLite, where the transaction holds all.

    of: the table whose rows are meant, in a join. skip_locked: leave out what others have locked instead of waiting.
    The lock is the one of an update that keeps the keys, so that rows which refer to these may still be inserted.
    """
    return statement.with_for_update(key_share=True, of=of, skip_locked=skip_locked)


def lock_name(connection: sa.Connection, name: str) -> None:
    """Lock what has no row yet, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))


def upsert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that takes `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
