"""The schema of the database, and bringing it up to date.

SQLite: drain and back up. The upgrade of a database that exists is refused while somebody works on it, and first
leaves a copy beside it. PostgreSQL: expand and contract. Migrations only add, so that the versions before and after one
work at the same time; what nobody uses any more is taken away by a later one.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, OperationalError

from scheduler import tables as t
from scheduler.database import Database, lock_name, sqlite_path
from scheduler.migrations.guards import create_guards, drop_guards
from scheduler.states import ACTIVE
from t2f.data.files import sync
from t2f.errors import UserError

OPEN_ATTEMPTS = 50


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What an upgrade did."""

    before: str | None  # the revision; None: there were no tables
    after: str
    backup: Path | None  # the copy of the database as it was before


def revision(database: Database) -> str | None:
    """The schema that the database has, None where it holds no tables; UserError where it cannot be opened or is newer
    than this version."""
    for attempt in range(OPEN_ATTEMPTS):
        try:
            with database.read.begin() as connection:
                return _revision(connection, database)
        except OperationalError as error:
            # Switching to the write-ahead log fails at once while another process does the same.
            if database.is_postgres or attempt == OPEN_ATTEMPTS - 1:
                raise UserError(_why_not(database, error)) from error
            time.sleep(0.1)
    raise AssertionError("the loop returns or raises")


def newest_revision() -> str:
    """The schema that this version works with."""
    return _scripts().get_current_head()


def migrate(database: Database, *, to: str | None = None) -> Upgrade:
    """Create the schema or bring it up to date; safe from several processes at once.

    to: a revision, for tests; None: the newest. UserError where the database was written by a newer version, cannot be
    opened, or is being worked on (SQLite).
    """
    before, after = revision(database), to or newest_revision()
    if before == after:
        return Upgrade(before=before, after=after, backup=None)
    try:
        with _migrating(database) as (connection, now):
            return _upgrade(database, connection, now, after)
    except DBAPIError as error:
        raise UserError(_why_not(database, error)) from error


def back_up(database: Database, target: Path) -> None:
    """Copy a SQLite database, as it is at one moment, to a file that does not exist yet."""
    from pysqlite3 import dbapi2  # here, not above: only SQLite needs it

    if target.exists():
        raise UserError(f"{target} exists already; give another path")
    draft = target.with_name(f".{target.name}.draft")
    try:
        with (
            closing(dbapi2.connect(str(sqlite_path(database.url)), timeout=30.0)) as source,
            closing(dbapi2.connect(str(draft))) as copy,
        ):
            source.backup(copy)
            # A copy is one file: the log beside the database belongs to the database.
            copy.execute("PRAGMA journal_mode = DELETE")
    except dbapi2.Error as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"the database cannot be copied to {target}: {error}; nothing was changed") from error
    sync(draft)
    draft.rename(target)
    sync(target.parent)


@contextmanager
def _migrating(database: Database) -> Iterator[tuple[sa.Connection, float]]:
    """A transaction that no other migration runs beside, and its time."""
    if database.is_postgres:
        with database.write.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
            lock_name(connection, "migration")
            yield connection, connection.exec_driver_sql("SELECT extract(epoch FROM now())::float8").scalar_one()
        return
    with database.write.connect() as connection:
        # Where a migration copies a table and drops the old one, rows that refer to it must not hinder. SQLite takes
        # this only outside a transaction.
        driver = connection.connection.cursor()
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection, connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar_one()
                assert not connection.exec_driver_sql("PRAGMA foreign_key_check").all(), "a migration lost rows"
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


def _upgrade(database: Database, connection: sa.Connection, now: float, after: str) -> Upgrade:
    # Asked again under the lock: whoever comes second finds the work done.
    before, backup = _revision(connection, database), None
    if before == after:
        return Upgrade(before=before, after=after, backup=None)
    if before is not None and not database.is_postgres:
        _require_drained(connection, now, before, after)
        backup = free_path(sqlite_path(database.url), f"before-upgrade-from-{before}")
        back_up(database, backup)
    drop_guards(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, after)
    create_guards(connection)
    return Upgrade(before=before, after=after, backup=backup)


def _require_drained(connection: sa.Connection, now: float, before: str, after: str) -> None:
    """UserError while a lease is held: whoever holds it was made for the old schema."""
    busy = [
        (connection.scalar(sa.select(sa.func.count()).where(*live, table.c.lease_until >= now)), what)
        for table, what, live in (
            (t.stage_runs, "stage runs are being trained", [t.stage_runs.c.state.in_(ACTIVE)]),
            (t.evaluations, "evaluations are being made", [t.evaluations.c.state.in_(ACTIVE)]),
            (t.leader, "scheduler leads", []),
        )
    ]
    told = " and ".join(f"{count} {what}" for count, what in busy if count)
    if told:
        raise UserError(
            f"the database has the schema {before!r} and this version needs {after!r}, but {told} with the old one; "
            "stop `t2f up` (after a crash wait until the leases have run out), then try again"
        )


def free_path(database: Path, why: str) -> Path:
    """Beside a SQLite database, where no copy lies yet."""
    stem = f"{database.name}.{why}"
    taken = {path.name for path in database.parent.glob(f"{stem}*")}
    number = next(number for number in range(1, len(taken) + 2) if f"{stem}.{number}" not in taken)
    return database.with_name(f"{stem}.{number}")


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _revision(connection: sa.Connection, database: Database) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts().walk_revisions()}
    if current is not None and current not in known:
        raise UserError(
            f"the database {database.shown_url} has the schema {current!r} of a newer version; "
            f"this one knows {', '.join(sorted(known))}. Update t2f, or give another home"
        )
    return current


# What a PostgreSQL says, and what to do.
ADVICE = {
    "password authentication failed": "check the user, and the password in PGPASSWORD, ~/.pgpass or the URL",
    "no password supplied": "give the password in PGPASSWORD, ~/.pgpass or the URL",
    'role "': "check the user in the URL",
    'database "': "create it (`createdb`), or check the name in the URL",
    "permission denied": "its owner must run `t2f db upgrade` once; docs/databases.md has the roles",
    "onnection refused": "start the server, or check host and port in the URL",
    "resolve": "check the host in the URL",
    "timeout": "check host and port in the URL, and that nothing blocks the way",
    "lock timeout": "others hold the tables for long; try again",
}


def _why_not(database: Database, error: DBAPIError) -> str:
    reason = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
    text = f"the database {database.shown_url} cannot be opened: {reason}"
    advice = next((advice for words, advice in ADVICE.items() if words in str(error.orig)), None)
    return f"{text}; {advice}" if database.is_postgres and advice else text
