"""Many rows in one statement: what is written is what SQLAlchemy would write, and ids are looked up by an index."""

import json
import math

import pytest
import sqlalchemy as sa

from scheduler import tables as t
from scheduler.jsontext import JsonText
from scheduler.many import insert_many, is_among, update_many
from scheduler.states import TrialState

PARAMETERS = (
    {},
    {"generator.learning_rate": 0.1 + 0.2, "loss.name": "wgan-gp"},
    {"a": 'quotes " and \\ and %s and ? and é and \u2028', "b": [1, None, True], "c": 5e-324},
)


@pytest.fixture
def connection(store):
    """A transaction in a database with one sweep, whose id is 1; nothing of it is kept."""
    named = {"name": "s", "data_key": "d", "data_name": "d", "created_by": "me", "submitted": ""}
    store.create_sweep(**named, resolved={}, provenance={}, trials=[])
    with store.database.write.connect() as connection:
        yield connection


def rows_of(connection: sa.Connection) -> list[sa.Row]:
    columns = [column for column in t.trials.c if column.name not in ("id", "number")]
    return connection.execute(sa.select(*columns).order_by(t.trials.c.id)).all()


def new_rows(*, first: int) -> list[dict]:
    return [
        {"number": first + number, "parameters": parameters, "origin": "grid", "attributes": {"n": number}}
        for number, parameters in enumerate(PARAMETERS)
    ]


SAME = {"sweep_id": 1, "state": TrialState.WAITING, "created": 1e9 / 3}


def test_rows_are_those_that_sqlalchemy_writes(connection):
    connection.execute(t.trials.insert(), [{**row, **SAME} for row in new_rows(first=0)])
    expected = rows_of(connection)
    insert_many(connection, t.trials, new_rows(first=10), same=SAME)
    assert rows_of(connection) == expected * 2
    assert expected[0].created == 1e9 / 3
    assert [row.parameters for row in expected] == list(PARAMETERS)


def test_text_that_is_json_already_is_kept_as_it_is(connection):
    text = JsonText('{"b": 1,   "a": 1e0}')
    insert_many(connection, t.trials, [{**new_rows(first=0)[0], "parameters": text}], same=SAME)
    raw = connection.scalar(sa.select(sa.cast(t.trials.c.parameters, sa.Text)))
    assert raw == text
    assert json.loads(raw) == {"a": 1.0, "b": 1}


def test_rows_that_are_there_are_left_out_and_new_ones_returned(connection):
    insert_many(connection, t.trials, new_rows(first=0), same=SAME)
    more = new_rows(first=2)
    added = insert_many(connection, t.trials, more, same=SAME, if_new=True, returning=("number", "id"))
    assert [row.number for row in added] == [3, 4]
    ids = dict(connection.execute(sa.select(t.trials.c.number, t.trials.c.id)).all())
    assert {row.number: row.id for row in added} == {3: ids[3], 4: ids[4]}
    assert len(ids) == 5


def test_each_row_is_set_to_its_own(connection):
    insert_many(connection, t.trials, new_rows(first=0), same=SAME)
    ids = connection.scalars(sa.select(t.trials.c.id).order_by(t.trials.c.number)).all()
    changed = [
        {"id": ids[2], "origin": "random", "parameters": {"a": "%s"}},
        {"parameters": {}, "origin": "tpe", "id": ids[0]},  # in any order
    ]
    update_many(connection, t.trials, changed, same={"ended": 5.5, "attributes": {"x": None}})
    rows = connection.execute(sa.select(t.trials).order_by(t.trials.c.number)).all()
    assert [(row.origin, row.ended) for row in rows] == [("tpe", 5.5), ("grid", None), ("random", 5.5)]
    assert [row.parameters for row in rows] == [{}, PARAMETERS[1], {"a": "%s"}]
    assert [row.attributes for row in rows] == [{"x": None}, {"n": 1}, {"x": None}]
    by_number = [{"sweep_id": 1, "number": 1, "state": "running"}, {"state": "failed", "number": 7, "sweep_id": 1}]
    update_many(connection, t.trials, by_number, same={}, key=("sweep_id", "number"))
    states = connection.scalars(sa.select(t.trials.c.state).order_by(t.trials.c.number)).all()
    assert states == ["waiting", "running", "waiting"]
    update_many(connection, t.trials, [], same={"ended": 1.0})


def test_columns_may_come_in_any_order(connection):
    rows = [dict(reversed(row.items())) if number % 2 else row for number, row in enumerate(new_rows(first=0))]
    insert_many(connection, t.trials, rows, same=SAME)
    assert [row.origin for row in rows_of(connection)] == ["grid"] * 3


def test_what_a_constraint_refuses_is_refused(connection):
    with pytest.raises(sa.exc.IntegrityError):
        insert_many(connection, t.trials, [*new_rows(first=0), *new_rows(first=0)], same=SAME)


def test_a_null_is_no_conflict(connection):
    without = [{**row, "origin": None} for row in new_rows(first=0)]
    with pytest.raises(sa.exc.IntegrityError):
        insert_many(connection, t.trials, without, same=SAME, if_new=True)


def test_no_rows_are_no_statement(connection):
    assert insert_many(connection, t.trials, [], same=SAME) == []


def test_ids_and_keys_are_among_those_given(connection):
    insert_many(connection, t.trials, new_rows(first=0), same=SAME)
    numbers = sa.select(t.trials.c.number).order_by(t.trials.c.number)
    assert connection.scalars(numbers.where(is_among(t.trials.c.number)), {"ids": [2, 0, 7]}).all() == [0, 2]
    assert connection.scalars(numbers.where(is_among(t.trials.c.number, [1]))).all() == [1]
    assert connection.scalars(numbers.where(is_among(t.trials.c.number, []))).all() == []
    assert connection.scalars(numbers.where(~is_among(t.trials.c.number, [1]))).all() == [0, 2]
    keys = sa.select(t.trials.c.number).where(is_among(t.trials.c.origin, ["grid", "it's"]))
    assert sorted(connection.scalars(keys)) == [0, 1, 2]


def test_ids_are_looked_up(connection):
    statement = str(sa.select(t.trials).where(is_among(t.trials.c.id)).compile(connection))
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("[1]",)).all()
        assert "SEARCH trials USING INTEGER PRIMARY KEY (rowid=?)" in [row.detail for row in plan]
    else:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # which is the quickest in an empty table
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", {"ids": [1]}).scalars().all()
        assert any("Index Scan" in line or "Index Cond" in line for line in plan)


def test_numbers_come_back_to_the_last_bit(connection):
    forecasts = [math.pi * 10**power for power in range(-12, 12)]
    run = {"parent_id": None, "stage": 0, "resolution": 4, "spec": {}, "state": "ready"}
    rows = [{"key": f"k{number}", "remaining": value, **run} for number, value in enumerate(forecasts)]
    same = {"priority": 0, "created": 0.0, "sweep_id": 1, "attempt": 0, "ready_at": 0, "images": 0, "seconds": 0}
    insert_many(connection, t.stage_runs, rows, same=same)
    assert connection.scalars(sa.select(t.stage_runs.c.remaining).order_by(t.stage_runs.c.id)).all() == forecasts
