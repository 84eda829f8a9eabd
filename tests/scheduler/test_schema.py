"""Migrations: safe from several processes, refused where they must be; and the guards hold after each of them."""

import re
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from scheduler import schema
from scheduler import tables as t
from scheduler.database import Database, open_database, sqlite_url, writing
from scheduler.migrations.guards import create_guards, drop_guards
from scheduler.schema import back_up, migrate, newest_revision, revision
from scheduler.states import MOVES, RunState
from scheduler.store import Store
from t2f.errors import UserError

REVISIONS = [script.revision for script in schema._scripts().walk_revisions()][::-1]  # the first one first


@pytest.fixture
def empty(databases, tmp_path):
    """A database without any tables."""
    if databases.server is None:
        database = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
        yield database
        database.close()
    else:
        name = databases.server.create_database()
        database = open_database(databases.server.url(name))
        yield database
        database.close()
        databases.server.drop_database(name)


def table_at(connection: sa.Connection, name: str) -> sa.Table:
    """The table as it is in the database, which may be older than the code's."""
    return sa.Table(name, sa.MetaData(), autoload_with=connection)


def insert(connection: sa.Connection, name: str, **values) -> int:
    """The id of a new row; whatever must have a value and is not named gets an empty one."""
    table = table_at(connection, name)
    needed = [one for one in table.columns if not one.nullable and one.server_default is None and one.name != "id"]
    empty = {one.name: {} if isinstance(one.type, sa.JSON) else one.type.python_type() for one in needed}
    return connection.scalar(table.insert().values(**{**empty, **values}).returning(table.c.id))


def insert_run(connection: sa.Connection, **values) -> int:
    return insert(connection, "stage_runs", **{"key": "k", "spec": {}, "state": "ready", **values})


def force_state(connection: sa.Connection, table: str, state: RunState) -> int:
    """A row in that state, the guards taken away while it is made."""
    drop_guards(connection)
    run_id = insert_run(connection, state=state if table == "stage_runs" else "ready")
    insert(connection, "checkpoints", stage_run_id=run_id, sealed=1)
    row_id = run_id
    if table == "evaluations":
        row_id = insert(connection, table, stage_run_id=run_id, spec={}, state=state, score=0.5)
    create_guards(connection)
    return row_id


def refuses(connection: sa.Connection, statement: sa.Executable, message: str) -> None:
    with pytest.raises(IntegrityError, match=message), connection.begin_nested():
        connection.execute(statement)


@pytest.mark.parametrize("after", REVISIONS)
@pytest.mark.parametrize("name", ["stage_runs", "evaluations"])
def test_after_each_migration_every_illegal_move_is_refused_and_every_legal_one_taken(empty, name, after):
    for step in REVISIONS[: REVISIONS.index(after) + 1]:
        migrate(empty, to=step)
    assert revision(empty) == after
    with empty.write.connect() as connection:
        legal_moves = {(row.old, row.new) for row in connection.execute(sa.select(table_at(connection, "moves")))}
        if after == newest_revision():
            assert legal_moves == {(old.value, new.value) for old, new in MOVES}
        connection.rollback()
        for old in RunState:
            transaction = connection.begin()
            row_id = force_state(connection, name, old)
            table = table_at(connection, name)
            for new in RunState:
                move = table.update().where(table.c.id == row_id).values(state=new)
                if old == new or (old.value, new.value) in legal_moves:
                    with connection.begin_nested() as legal:
                        assert connection.execute(move).rowcount == 1
                        legal.rollback()
                else:
                    refuses(connection, move, "illegal move")
            transaction.rollback()


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
            checks = {check["name"] for check in inspector.get_check_constraints(name)}
            assert checks == {f"{one.name}" for one in table.constraints if isinstance(one, sa.CheckConstraint)}, name
        moves = {(row.old, row.new) for row in connection.execute(sa.select(t.moves))}
    assert moves == {(old.value, new.value) for old, new in MOVES}


def test_other_guards(database):
    with writing(database) as (connection, _):
        row_id = insert_run(connection, attempt=3)
        update = t.stage_runs.update().where(t.stage_runs.c.id == row_id)
        refuses(connection, update.values(attempt=2), "only increase")
        insert = t.stage_runs.insert().values(
            key="x", stage=0, resolution=4, spec={}, priority=0, attempt=0, ready_at=0, images=0, seconds=0, created=0
        )
        refuses(connection, insert.values(state="done"), "illegal first state")
        refuses(connection, insert.values(state="ready", key="k"), "(?i)unique")
        demand = t.demands.insert().values(sweep_id=9, trial_id=9, stage_run_id=9, priority=0, paused=0, created=0)
        if database.is_postgres:
            refuses(connection, demand, "foreign key")
    if not database.is_postgres:
        with pytest.raises(IntegrityError, match="FOREIGN"), writing(database) as (connection, _):
            connection.execute(demand)


def test_done_needs_the_sealed_checkpoint_of_the_same_attempt(database):
    with writing(database) as (connection, _):
        row_id = insert_run(connection, attempt=1)
        for state in ("leased", "running"):
            connection.execute(t.stage_runs.update().values(state=state))
        insert(connection, "checkpoints", stage_run_id=row_id, attempt=1, sealed=0)
        refuses(connection, t.stage_runs.update().values(state="done"), "sealed checkpoint")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("inf"), float("nan"), None])
def test_scores_that_are_no_share_are_refused(database, score):
    with writing(database) as (connection, _):
        force_state(connection, "evaluations", RunState.RUNNING)
        refuses(connection, t.evaluations.update().values(score=score, state="done"), "(?i)check|not.null")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_curves_hold_finite_numbers_only(database, value):
    with writing(database) as (connection, _):
        run_id = insert_run(connection)
        row = t.curves.insert().values(stage_run_id=run_id, name="loss", images=8)
        refuses(connection, row.values(value=value), "(?i)check|not.null")
        connection.execute(row.values(value=1.7e308))


def test_migrating_twice_and_from_many_processes_at_once(empty):
    code = (
        "import sys; from scheduler.database import open_database; from scheduler.schema import migrate\n"
        "d = open_database(sys.argv[1]); migrate(d); migrate(d)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, empty.url], stderr=subprocess.PIPE) for _ in range(4)]
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors.decode()
    assert revision(empty) == newest_revision()


def test_a_newer_schema_is_refused_and_left_alone(database):
    with database.write.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match="'9999' of a newer version"):
        migrate(database)
    with database.read.begin() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"


# SQLite: drain and back up


@pytest.fixture
def old(tmp_path):
    """A SQLite database of the first version with a stage run in it."""
    database = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
    migrate(database, to=REVISIONS[0])
    with database.write.begin() as connection:
        insert_run(connection)
    yield database
    database.close()


def rows(database: Database) -> list[sa.Row]:
    with database.read.begin() as connection:
        return list(connection.exec_driver_sql("SELECT id, key, stage, spec, state, attempt, created FROM stage_runs"))


def test_an_upgrade_keeps_the_rows_and_leaves_a_copy_of_what_was(old, tmp_path):
    before = rows(old)
    done = migrate(old)
    assert (done.before, done.after, revision(old)) == (REVISIONS[0], newest_revision(), newest_revision())
    assert rows(old) == before
    assert done.backup == tmp_path / f"t2f.sqlite.before-upgrade-from-{REVISIONS[0]}.1"
    copy = open_database(sqlite_url(done.backup))
    assert (revision(copy), rows(copy)) == (REVISIONS[0], before)
    assert migrate(copy).backup.name.endswith(".1.before-upgrade-from-0001.1"), "a copy is a database like any other"
    copy.close()


def test_sweeps_and_workers_from_before_labels_have_none(empty):
    before = REVISIONS[REVISIONS.index("l_labels") - 1]
    migrate(empty, to=before)
    with empty.write.begin() as connection:
        for table in ("sweeps", "workers"):
            assert "labels" not in table_at(connection, table).columns
            insert(connection, table)
    assert migrate(empty).before == before
    with empty.write.begin() as connection:
        for table in (t.sweeps, t.workers):
            assert connection.scalars(sa.select(table.c.labels)).all() == [{}]
            refuses(connection, table.update().values(labels=sa.null()), "(?i)not.null")
    Store(empty).register_worker(name="new", node="n", pid=1, device="cpu", share=1.0, labels={"pool": "a100"})
    with empty.read.begin() as connection:
        assert connection.scalars(sa.select(t.workers.c.labels).order_by(t.workers.c.id)).all() == [
            {},
            {"pool": "a100"},
        ]


def test_a_leader_from_before_is_not_held_up(empty):
    before = REVISIONS[REVISIONS.index("m_room") - 1]
    migrate(empty, to=before)
    with empty.write.begin() as connection:
        leader = table_at(connection, "leader")
        assert "held_up" not in leader.columns
        connection.execute(leader.insert().values(id=1, holder="old", term=3, lease_until=0.0))
    assert migrate(empty).before == before
    with empty.read.begin() as connection:
        assert connection.execute(sa.select(t.leader)).one()[1:] == ("old", 3, 0.0, None)


def test_a_new_database_needs_no_copy(tmp_path):
    database = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
    assert migrate(database).backup is None
    assert migrate(database).before == newest_revision()
    assert [path.name for path in tmp_path.glob("*before*")] == []
    database.close()


@pytest.mark.parametrize(
    ("table", "told"), [("stage_runs", "1 stage runs are being trained"), ("evaluations", "1 eval")]
)
def test_an_upgrade_waits_until_nobody_works_with_the_old_version(old, table, told):
    with writing(old) as (connection, now):
        connection.execute(sa.delete(t.stage_runs))
        row_id = force_state(connection, table, RunState.RUNNING)
        where = table_at(connection, table)
        connection.execute(where.update().where(where.c.id == row_id).values(lease_until=now + 60))
    with pytest.raises(UserError, match=f"{told}.* with the old one; stop `t2f up`"):
        migrate(old)
    assert revision(old) == REVISIONS[0]
    with writing(old) as (connection, now):
        connection.execute(where.update().values(lease_until=now - 1))
    assert migrate(old).backup is not None


def test_an_upgrade_waits_for_the_leading_scheduler(old):
    term = Store(old).lead("somebody", 60)
    with pytest.raises(UserError, match="1 scheduler leads"):
        migrate(old)
    Store(old).resign("somebody", term)
    assert migrate(old).backup is not None


def test_a_copy_never_replaces_a_file(old, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        back_up(old, tmp_path / "mine")
    with pytest.raises(UserError, match="nothing was changed"):
        back_up(old, tmp_path / "nowhere" / "copy")
    assert (tmp_path / "mine").read_text() == "mine"


# PostgreSQL: expand and contract

REMOVES = re.compile(
    r"\bDROP (TABLE|COLUMN|CONSTRAINT|INDEX|TYPE)\b|\bRENAME\b|\bALTER COLUMN \S+ (TYPE|SET NOT NULL|DROP DEFAULT)\b"
    r"|\bADD COLUMN (?!.*\bDEFAULT\b).*\bNOT NULL\b|^\s*(DELETE|TRUNCATE)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("statement", "removes"),
    [
        ("CREATE TABLE x (id INTEGER NOT NULL)", False),
        ("ALTER TABLE x ADD COLUMN y INTEGER", False),
        ("ALTER TABLE x ADD COLUMN y INTEGER DEFAULT 0 NOT NULL", False),
        ("ALTER TABLE x ADD COLUMN y INTEGER NOT NULL", True),
        ("ALTER TABLE x DROP COLUMN y", True),
        ("ALTER TABLE x ALTER COLUMN y TYPE TEXT", True),
        ("ALTER TABLE x ALTER COLUMN y SET NOT NULL", True),
        ("ALTER TABLE x RENAME TO y", True),
        ("DROP TABLE x", True),
        ("DELETE FROM moves", True),
        ("INSERT INTO moves VALUES ('a', 'b')", False),
        ("CREATE INDEX i ON x (y)", False),
    ],
)
def test_what_an_older_version_could_stumble_over(statement, removes):
    assert bool(REMOVES.search(statement)) == removes


@pytest.mark.postgres
def test_migrations_only_add_on_postgresql(postgres_server):
    """One that takes away says so (`contracts = "what, and since which version nobody uses it"`)."""
    name = postgres_server.create_database()
    database = open_database(postgres_server.url(name))
    migrate(database, to=REVISIONS[0])
    for after in REVISIONS[1:]:
        said: list[str] = []
        listener = lambda *told, said=said: said.append(told[2])  # noqa: E731 - the engine's event gives six things
        sa.event.listen(database.write, "before_cursor_execute", listener)
        migrate(database, to=after)
        sa.event.remove(database.write, "before_cursor_execute", listener)
        removes = [one for one in said if REMOVES.search(one) and "alembic_version" not in one]
        contracts = getattr(schema._scripts().get_revision(after).module, "contracts", None)
        assert not removes or contracts, f"{after}: {removes}"
    database.close()
    postgres_server.drop_database(name)


@pytest.mark.postgres
def test_a_role_that_may_not_make_tables_is_told_who_must(postgres_server):
    name = postgres_server.create_database()
    postgres_server.execute(f"CREATE ROLE {name}_reader LOGIN PASSWORD 'x'")
    database = open_database(postgres_server.url(name, user=f"{name}_reader", password="x"))
    with pytest.raises(UserError, match="permission denied for schema public.*; its owner must run `t2f db upgrade`"):
        migrate(database)
    database.close()
    postgres_server.drop_database(name)
    postgres_server.execute(f"DROP ROLE {name}_reader")
