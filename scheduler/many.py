"""Many rows in one statement: to bind each value by itself takes longer than what the database then does.

New rows go to SQLite's driver as tuples, and to PostgreSQL as one text of JSON, which it unpacks itself. Many ids are
one parameter too: a text of JSON, or an array.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from scheduler.jsontext import json_text


def insert_many(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    same: Mapping[str, Any],
    if_new: bool = False,
    returning: tuple[str, ...] = (),
) -> Sequence[sa.Row]:
    """Insert rows that all have the same columns; `same` holds the columns whose value is the same in all.

    if_new: leave out those that break a unique constraint. returning: columns of the rows that were inserted.
    """
    if not rows:
        return []
    own, shared = tuple(rows[0]), tuple(same)
    is_json = {name: isinstance(table.c[name].type, sa.JSON) for name in (*own, *shared)}
    shared_values = [json_text(same[name]) if is_json[name] else same[name] for name in shared]
    if connection.dialect.name == "postgresql":
        texts = [name for name in own if is_json[name]]
        plain = [{**row, **{name: json_text(row[name]) for name in texts}} for row in rows] if texts else list(rows)
        statement = _postgres(table, own, shared, if_new, returning)
        done = connection.exec_driver_sql(statement, (*shared_values, json.dumps(plain)))
        return done.all() if returning else []
    last = connection.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() if returning else None
    values = [(*shared_values, *(json_text(row[name]) if is_json[name] else row[name] for name in own)) for row in rows]
    connection.exec_driver_sql(_sqlite(table, own, shared, if_new), values)
    if not returning:
        return []
    # Nobody else inserts before this transaction ends.
    added = f"SELECT {', '.join(returning)} FROM {table.name} WHERE id > ? ORDER BY id"
    return connection.exec_driver_sql(added, (last or 0,)).all()


class _Ids(sa.TypeDecorator[Sequence[Any]]):
    """Ids or keys of a column, bound as one value."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return postgresql.ARRAY(self.item) if dialect.name == "postgresql" else sa.Text()

    def process_bind_param(self, value: Sequence[Any] | None, dialect: sa.Dialect) -> Any:
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))


class _IsAmong(FunctionElement[bool]):
    name = "is_among"
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> "_IsAmong":
        """Itself: SQLite must not be asked whether it equals 1, which no index answers."""
        return self


@compiles(_IsAmong, "sqlite")
def _among_in_sqlite(element: _IsAmong, compiler: SQLCompiler, **how: Any) -> str:
    column, ids = (compiler.process(part, **how) for part in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({ids})))"


@compiles(_IsAmong, "postgresql")
def _among_in_postgres(element: _IsAmong, compiler: SQLCompiler, **how: Any) -> str:
    column, ids = (compiler.process(part, **how) for part in element.clauses)
    return f"({column} = ANY({ids}))"


def is_among(column: sa.Column[Any], ids: Sequence[Any] | None = None) -> sa.ColumnElement[bool]:
    """Whether a column's value is one of many; without `ids` the statement is executed with {"ids": [...]}."""
    kind = _Ids(sa.Integer() if isinstance(column.type, sa.Integer) else sa.Text())
    given = sa.bindparam("ids", type_=kind) if ids is None else sa.bindparam(None, ids, type_=kind)
    return _IsAmong(column, given)


@cache
def _sqlite(table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], if_new: bool) -> str:
    names = (*shared, *own)
    marks = ", ".join("?" * len(names))
    conflict = " ON CONFLICT DO NOTHING" if if_new else ""
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}){conflict}"


@cache
def _postgres(
    table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], if_new: bool, returning: tuple[str, ...]
) -> str:
    kinds = {name: table.c[name].type.compile(_DIALECT) for name in (*own, *shared)}
    columns = [f"CAST(%s AS {kinds[name]})" for name in shared] + [f"CAST(r.{name} AS {kinds[name]})" for name in own]
    # A JSON column comes as a text, which is kept as it was written.
    unpacked = ", ".join(f"{name} {'TEXT' if kinds[name] == 'JSON' else kinds[name]}" for name in own)
    conflict = " ON CONFLICT DO NOTHING" if if_new else ""
    wanted = f" RETURNING {', '.join(returning)}" if returning else ""
    return (
        f"INSERT INTO {table.name} ({', '.join((*shared, *own))}) SELECT {', '.join(columns)} "
        f"FROM json_to_recordset(CAST(%s AS json)) AS r({unpacked}){conflict}{wanted}"
    )


_DIALECT = postgresql.dialect()
