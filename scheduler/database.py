"""Opening the database, and bringing its schema up to date. The one module that knows about dialects.

SQLite is the embedded default: write-ahead log, full sync, one writer at a time.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from t2f.errors import UserError

# The write-ahead log's reset could corrupt a database before this version; older ones keep a rollback journal.
SAFE_WAL = (3, 51, 3)
OPEN_ATTEMPTS = 50


@dataclass(frozen=True, kw_only=True)
class Database:
    """Two engines on one database: writing transactions take the write lock at their begin, reading ones never do."""

    url: str
    write: sa.Engine
    read: sa.Engine

    def close(self) -> None:
        self.write.dispose()
        self.read.dispose()


class JsonText(str):
    """A JSON value that is written as text already; goes into JSON columns as it is."""

    __slots__ = ()


def json_text(value: Any) -> str:
    """What engines write JSON columns with."""
    return str(value) if isinstance(value, JsonText) else json.dumps(value)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.resolve()}"


def open_database(url: str) -> Database:
    """The database at a SQLAlchemy URL; UserError where it cannot be opened or the kind is not supported."""
    if make_url(url).get_backend_name() != "sqlite":
        raise UserError(f"the database {url!r} is not supported; this version works with sqlite:///PATH")
    path = Path(make_url(url).database or "")
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} of the database does not exist; create it or give another path")
    return Database(url=url, write=_sqlite_engine(url, read_only=False), read=_sqlite_engine(url, read_only=True))


def _sqlite_engine(url: str, *, read_only: bool) -> sa.Engine:
    from pysqlite3 import dbapi2  # here, not above: only SQLite needs the wheel that brings a current one

    engine = sa.create_engine(
        make_url(url).set(drivername="sqlite+pysqlite"),
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


def database_now(connection: sa.Connection) -> float:
    """Seconds since 1970 by the database's clock, which all leases are counted by."""
    return connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar_one()


# Migrations


def migrate(database: Database) -> None:
    """Create the schema or bring it up to date; safe from several processes at once.

    UserError where the database was written by a newer version, or cannot be opened.
    """
    for attempt in range(OPEN_ATTEMPTS):
        try:
            with database.write.begin() as connection:
                _upgrade(connection, database.url)
        except OperationalError as error:
            # Switching to the write-ahead log fails at once while another process does the same.
            if attempt == OPEN_ATTEMPTS - 1:
                raise UserError(f"the database {database.url} cannot be opened: {error.orig}") from error
            time.sleep(0.1)
        else:
            return


def _upgrade(connection: sa.Connection, url: str) -> None:
    # The write lock is held: whoever comes second finds the work done.
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise UserError(
            f"the database {url} has the schema {current!r} of a newer version; "
            f"this one knows {', '.join(sorted(known))}. Update t2f, or give another home"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
