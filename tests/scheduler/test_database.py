"""Opening and migrating: safe from two processes, refused where it must be, and the guards against illegal moves."""

import itertools
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError

from scheduler import tables as t
from scheduler.database import database_now, migrate, open_database, sqlite_url
from scheduler.states import MOVES, RunState
from t2f.errors import UserError


def test_settings_that_durability_rests_on(database):
    with database.write.begin() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert 1.7e9 < database_now(connection) < 5e9


def test_the_reading_engine_cannot_write(database):
    with pytest.raises(OperationalError, match="readonly"), database.read.begin() as connection:
        connection.execute(t.leader.insert().values(id=1, holder="x", term=1, lease_until=0))


def test_the_migration_makes_exactly_the_tables_of_the_code(database):
    with database.read.begin() as connection:
        inspector = sa.inspect(connection)
        assert set(inspector.get_table_names()) == set(t.metadata.tables) | {"alembic_version"}
        for name, table in t.metadata.tables.items():
            columns = {column["name"]: column for column in inspector.get_columns(name)}
            assert set(columns) == set(table.columns.keys()), name
            for column in table.columns:
                assert columns[column.name]["nullable"] == column.nullable, f"{name}.{column.name}"
            indexes = {index["name"] for index in inspector.get_indexes(name)}
            assert {index.name for index in table.indexes} <= indexes, name
        moves = {(row.old, row.new) for row in connection.execute(sa.select(t.moves))}
    assert moves == {(old.value, new.value) for old, new in MOVES}


def test_migrating_twice_and_from_many_processes_at_once(tmp_path):
    url = sqlite_url(tmp_path / "t2f.sqlite")
    code = "import sys; from scheduler.database import *; d = open_database(sys.argv[1]); migrate(d); migrate(d)"
    runs = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(4)]
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors.decode()


def test_a_newer_schema_is_refused_and_left_alone(database):
    with database.write.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match="'9999' of a newer version"):
        migrate(database)
    with database.read.begin() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"


@pytest.mark.parametrize("url", ["postgresql://localhost/x", "sqlite:////nowhere/at/all/x.sqlite"])
def test_databases_that_cannot_be_used_are_refused(url):
    with pytest.raises(UserError):
        open_database(url)


def stage_run_values(**changes) -> dict:
    values = {"key": "k", "stage": 0, "resolution": 4, "spec": {}, "state": "ready", "priority": 0, "attempt": 0}
    return {**values, "ready_at": 0, "images": 0, "seconds": 0, "created": 0, **changes}


def force_state(connection: sa.Connection, table: sa.Table, state: RunState) -> int:
    """A row in that state, the triggers taken away while it is made."""
    triggers = connection.exec_driver_sql(
        f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table.name}'"
    ).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    if table is t.stage_runs:
        row_id = connection.execute(table.insert().values(**stage_run_values(state=state))).inserted_primary_key[0]
        connection.execute(
            t.checkpoints.insert().values(
                stage_run_id=row_id, attempt=0, images=1, uri="", sha256="", bytes=1, sealed=1, created=0
            )
        )
    else:
        run_id = connection.execute(t.stage_runs.insert().values(**stage_run_values())).inserted_primary_key[0]
        values = {"stage_run_id": run_id, "key": "e", "spec": {}, "state": state, "priority": 0, "attempt": 0}
        values |= {"ready_at": 0, "seconds": 0, "created": 0, "score": 0.5}
        row_id = connection.execute(table.insert().values(**values)).inserted_primary_key[0]
    for _, sql in triggers:
        connection.exec_driver_sql(sql)
    return row_id


@pytest.mark.parametrize("table", [t.stage_runs, t.evaluations], ids=lambda table: table.name)
def test_every_illegal_move_is_refused_and_every_legal_one_taken(database, table):
    for old, new in itertools.product(RunState, repeat=2):
        legal = old == new or (old, new) in MOVES
        connection = database.write.connect()
        transaction = connection.begin()
        row_id = force_state(connection, table, old)
        move = table.update().where(table.c.id == row_id).values(state=new)
        if legal:
            connection.execute(move)
        else:
            with pytest.raises(IntegrityError, match="illegal move"):
                connection.execute(move)
        transaction.rollback()
        connection.close()


def test_other_guards(database):
    with database.write.begin() as connection:
        row_id = connection.execute(t.stage_runs.insert().values(**stage_run_values(attempt=3))).inserted_primary_key[0]
    refused = [
        (t.stage_runs.insert().values(**stage_run_values(key="x", state="done")), "illegal first state"),
        (t.stage_runs.update().where(t.stage_runs.c.id == row_id).values(attempt=2), "only increase"),
        (t.stage_runs.insert().values(**stage_run_values()), "UNIQUE"),
        (t.demands.insert().values(sweep_id=9, trial_id=9, stage_run_id=9, priority=0, paused=0, created=0), "FOREIGN"),
    ]
    for statement, message in refused:
        with pytest.raises(IntegrityError, match=message), database.write.begin() as connection:
            connection.execute(statement)


def test_done_needs_the_sealed_checkpoint_of_the_same_attempt(database):
    with database.write.begin() as connection:
        row_id = connection.execute(t.stage_runs.insert().values(**stage_run_values(attempt=1))).inserted_primary_key[0]
        for state in ("leased", "running"):
            connection.execute(t.stage_runs.update().values(state=state))
        connection.execute(
            t.checkpoints.insert().values(
                stage_run_id=row_id, attempt=1, images=1, uri="", sha256="", bytes=1, sealed=0, created=0
            )
        )
    with pytest.raises(IntegrityError, match="sealed checkpoint"), database.write.begin() as connection:
        connection.execute(t.stage_runs.update().values(state="done"))


@pytest.mark.parametrize("score", [-0.1, 1.1, float("inf"), None])
def test_scores_that_are_no_share_are_refused(database, score):
    with database.write.begin() as connection:
        row_id = force_state(connection, t.evaluations, RunState.RUNNING)
    with pytest.raises(IntegrityError), database.write.begin() as connection:
        connection.execute(t.evaluations.update().where(t.evaluations.c.id == row_id).values(score=score, state="done"))
