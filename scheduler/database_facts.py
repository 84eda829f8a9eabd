"""What `t2f db show` tells of a database. Nothing here writes."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler.database import Database, sqlite_path
from scheduler.schema import newest_revision, revision
from scheduler.tables import metadata


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    kind: str
    version: str  # of SQLite or of the server
    url: str  # without its password
    schema: str | None  # None: there are no tables yet
    newest_schema: str  # that this version works with
    bytes: int
    rows: Mapping[str, int]  # table -> rows


def database_facts(database: Database) -> DatabaseFacts:
    """UserError where the database cannot be opened or is newer than this version."""
    schema = revision(database)
    with database.read.begin() as connection:
        there = set(sa.inspect(connection).get_table_names())
        tables = [table for table in metadata.sorted_tables if table.name in there]
        return DatabaseFacts(
            kind="PostgreSQL" if database.is_postgres else "SQLite",
            version=".".join(map(str, connection.dialect.server_version_info)),
            url=database.shown_url,
            schema=schema,
            newest_schema=newest_revision(),
            bytes=_bytes(database, connection),
            rows={table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables},
        )


def _bytes(database: Database, connection: sa.Connection) -> int:
    if database.is_postgres:
        return connection.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database())))
    path = sqlite_path(database.url)
    log = path.with_name(f"{path.name}-wal")
    return sum(file.stat().st_size for file in (path, log) if file.exists())
