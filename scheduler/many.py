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
    if connection.dialect.name == "postgresql":
        if len(rows) == 1:
            statement = _insert_one(table, (*shared, *own), True, if_new, returning)
            (values,) = _tuples(table, own, rows, same)
        else:
            statement = _insert_unpacked(table, own, shared, if_new, returning)
            values = (*_plain(table, same), _text(table, rows))
        done = connection.exec_driver_sql(statement, values)
        return done.all() if returning else []
    last = connection.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() if returning else None
    connection.exec_driver_sql(_insert_one(table, (*shared, *own), False, if_new), _tuples(table, own, rows, same))
    if not returning:
        return []
    # Nobody else inserts before this transaction ends.
    added = f"SELECT {', '.join(returning)} FROM {table.name} WHERE id > ? ORDER BY id"
    return connection.exec_driver_sql(added, (last or 0,)).all()


def update_many(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    same: Mapping[str, Any],
    key: tuple[str, ...] = ("id",),
) -> None:
    """Set columns of rows that are there; all have the same columns, of which those of `key` say which row it is.

    same: columns whose new value is the same in all.
    """
    if not rows:
        return
    own, shared = tuple(name for name in rows[0] if name not in key), tuple(same)
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres and len(rows) > 1:
        statement = _update_unpacked(table, own, shared, key)
        connection.exec_driver_sql(statement, (*_plain(table, same), _text(table, rows)))
    else:
        values = _tuples(table, (*own, *key), rows, same)
        statement = _update_one(table, (*shared, *own), key, is_postgres)
        connection.exec_driver_sql(statement, values[0] if is_postgres else values)


@cache
def _json_columns(table: sa.Table) -> frozenset[str]:
    return frozenset(column.name for column in table.c if isinstance(column.type, sa.JSON))


def _plain(table: sa.Table, values: Mapping[str, Any]) -> tuple[Any, ...]:
    texts = _json_columns(table)
    return tuple(json_text(value) if name in texts else value for name, value in values.items())


def _tuples(
    table: sa.Table, names: tuple[str, ...], rows: Sequence[Mapping[str, Any]], same: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    first, texts = _plain(table, same), _json_columns(table).intersection(names)
    return [(*first, *[json_text(row[name]) if name in texts else row[name] for name in names]) for row in rows]


def _text(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> str:
    texts = _json_columns(table).intersection(rows[0])
    return json.dumps([{**row, **{name: json_text(row[name]) for name in texts}} for row in rows] if texts else rows)


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
    kind = _Ids(column.type if isinstance(column.type, sa.Integer) else sa.Text())
    given = sa.bindparam("ids", type_=kind) if ids is None else sa.bindparam(None, ids, type_=kind)
    return _IsAmong(column, given)


@cache
def _insert_one(
    table: sa.Table, names: tuple[str, ...], is_postgres: bool, if_new: bool, returning: tuple[str, ...] = ()
) -> str:
    given = ", ".join(_cast(table, name, "%s") if is_postgres else "?" for name in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({given}){_ending(if_new, returning)}"


@cache
def _update_one(table: sa.Table, names: tuple[str, ...], key: tuple[str, ...], is_postgres: bool) -> str:
    def equals(name: str) -> str:
        return f"{name} = {_cast(table, name, '%s') if is_postgres else '?'}"

    return f"UPDATE {table.name} SET {', '.join(map(equals, names))} WHERE {' AND '.join(map(equals, key))}"


@cache
def _insert_unpacked(
    table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], if_new: bool, returning: tuple[str, ...]
) -> str:
    given = [_cast(table, name, "%s") for name in shared] + [_cast(table, name, f"r.{name}") for name in own]
    return (
        f"INSERT INTO {table.name} ({', '.join((*shared, *own))}) SELECT {', '.join(given)} "
        f"FROM {_unpacked(table, own)}{_ending(if_new, returning)}"
    )


@cache
def _update_unpacked(table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], key: tuple[str, ...]) -> str:
    values = [f"{name} = {_cast(table, name, '%s')}" for name in shared]
    values += [f"{name} = {_cast(table, name, f'r.{name}')}" for name in own]
    which = " AND ".join(f"{table.name}.{name} = r.{name}" for name in key)
    return f"UPDATE {table.name} SET {', '.join(values)} FROM {_unpacked(table, (*own, *key))} WHERE {which}"


def _ending(if_new: bool, returning: tuple[str, ...]) -> str:
    conflict = " ON CONFLICT DO NOTHING" if if_new else ""
    return f"{conflict} RETURNING {', '.join(returning)}" if returning else conflict


def _cast(table: sa.Table, name: str, value: str) -> str:
    return f"CAST({value} AS {_kind(table, name)})"


def _kind(table: sa.Table, name: str) -> str:
    return table.c[name].type.compile(_DIALECT)


def _unpacked(table: sa.Table, names: tuple[str, ...]) -> str:
    """The rows of the last parameter; a JSON column comes as a text, which is kept as it was written."""
    kinds = [
        f"{name} {'TEXT' if name in _json_columns(table) else table.c[name].type.compile(_DIALECT)}" for name in names
    ]
    return f"json_to_recordset(CAST(%s AS json)) AS r({', '.join(kinds)})"


_DIALECT = postgresql.dialect()
