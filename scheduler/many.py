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
        done = connection.exec_driver_sql(
            _postgres_insert(table, own, shared, if_new, returning), (*_plain(table, same), _text(table, rows))
        )
        return done.all() if returning else []
    last = connection.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() if returning else None
    connection.exec_driver_sql(_sqlite_insert(table, own, shared, if_new), _tuples(table, own, rows, same))
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
    if connection.dialect.name == "postgresql":
        statement = _postgres_update(table, own, shared, key)
        connection.exec_driver_sql(statement, (*_plain(table, same), _text(table, rows)))
    else:
        connection.exec_driver_sql(_sqlite_update(table, own, shared, key), _tuples(table, (*own, *key), rows, same))


def _is_json(table: sa.Table, name: str) -> bool:
    return isinstance(table.c[name].type, sa.JSON)


def _plain(table: sa.Table, values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(json_text(value) if _is_json(table, name) else value for name, value in values.items())


def _tuples(
    table: sa.Table, names: tuple[str, ...], rows: Sequence[Mapping[str, Any]], same: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    first, texts = _plain(table, same), {name for name in names if _is_json(table, name)}
    return [(*first, *[json_text(row[name]) if name in texts else row[name] for name in names]) for row in rows]


def _text(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> str:
    texts = [name for name in rows[0] if _is_json(table, name)]
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
def _sqlite_insert(table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], if_new: bool) -> str:
    names = (*shared, *own)
    marks = ", ".join("?" * len(names))
    conflict = " ON CONFLICT DO NOTHING" if if_new else ""
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}){conflict}"


@cache
def _sqlite_update(table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], key: tuple[str, ...]) -> str:
    values = ", ".join(f"{name} = ?" for name in (*shared, *own))
    return f"UPDATE {table.name} SET {values} WHERE {' AND '.join(f'{name} = ?' for name in key)}"


@cache
def _postgres_insert(
    table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], if_new: bool, returning: tuple[str, ...]
) -> str:
    given = [_cast(table, name, "%s") for name in shared] + [_cast(table, name, f"r.{name}") for name in own]
    conflict = " ON CONFLICT DO NOTHING" if if_new else ""
    wanted = f" RETURNING {', '.join(returning)}" if returning else ""
    return (
        f"INSERT INTO {table.name} ({', '.join((*shared, *own))}) SELECT {', '.join(given)} "
        f"FROM {_unpacked(table, own)}{conflict}{wanted}"
    )


@cache
def _postgres_update(table: sa.Table, own: tuple[str, ...], shared: tuple[str, ...], key: tuple[str, ...]) -> str:
    values = [f"{name} = {_cast(table, name, '%s')}" for name in shared]
    values += [f"{name} = {_cast(table, name, f'r.{name}')}" for name in own]
    which = " AND ".join(f"{table.name}.{name} = r.{name}" for name in key)
    return f"UPDATE {table.name} SET {', '.join(values)} FROM {_unpacked(table, (*own, *key))} WHERE {which}"


def _cast(table: sa.Table, name: str, value: str) -> str:
    return f"CAST({value} AS {table.c[name].type.compile(_DIALECT)})"


def _unpacked(table: sa.Table, names: tuple[str, ...]) -> str:
    """The rows of the last parameter; a JSON column comes as a text, which is kept as it was written."""
    kinds = [f"{name} {'TEXT' if _is_json(table, name) else table.c[name].type.compile(_DIALECT)}" for name in names]
    return f"json_to_recordset(CAST(%s AS json)) AS r({', '.join(kinds)})"


_DIALECT = postgresql.dialect()
