"""Opening databases of both kinds, what transactions on them see and wait for, and what is refused."""

import sys
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from scheduler import tables as t
from scheduler.database import locked, open_database, sqlite_url, upsert, writing
from scheduler.schema import migrate
from t2f.errors import UserError
from tests.postgres_server import PASSWORD


def test_settings_that_durability_rests_on(tmp_path):
    database = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
    with database.write.begin() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_the_reading_engine_cannot_write(database):
    with pytest.raises(DBAPIError, match="read-?only"), database.read.begin() as connection:
        connection.execute(t.leader.insert().values(id=1, holder="x", term=1, lease_until=0))


def test_a_reading_transaction_sees_one_moment(database):
    count = sa.select(sa.func.count()).select_from(t.leader)
    with database.read.begin() as reading:
        assert reading.scalar(count) == 0
        with writing(database) as (connection, _):
            connection.execute(t.leader.insert().values(id=1, holder="x", term=1, lease_until=0))
        assert reading.scalar(count) == 0
    with database.read.begin() as reading:
        assert reading.scalar(count) == 1


def test_a_writing_transaction_has_the_databases_time_and_writes_nothing_after_an_error(database):
    times = []

    def write_and_fail() -> None:
        with writing(database) as (connection, now):
            times.append(now)
            connection.execute(t.leader.insert().values(id=1, holder="x", term=1, lease_until=now))
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            write_and_fail()
        time.sleep(0.005)  # SQLite's clock counts milliseconds
    assert 1.7e9 < times[0] < times[1] < 5e9


def test_locks_are_asked_for_where_there_are_any(database):
    text = str(locked(sa.select(t.leader), skip_locked=True).compile(dialect=database.write.dialect))
    assert ("FOR NO KEY UPDATE SKIP LOCKED" in text) == database.is_postgres
    assert ("FOR" in text) == database.is_postgres


def test_an_upsert_says_whether_it_inserted(database):
    with writing(database) as (connection, _):
        insert = upsert(connection, t.moves).values(old="a", new="b").on_conflict_do_nothing().returning(t.moves.c.new)
        assert [connection.scalar(insert) for _ in range(2)] == ["b", None]


@pytest.mark.parametrize(
    "url",
    ["mysql://u:secret@h/x", "sqlite:////nowhere/at/all/x.sqlite", "secret", "postgresql://u:secret@h:port/x", ""],
)
def test_urls_that_cannot_be_used_are_refused_and_never_shown_with_their_password(url):
    with pytest.raises(UserError) as refused:
        open_database(url)
    assert "secret" not in str(refused.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"pip install 't2f\[postgres\]'") as refused:
        open_database("postgresql://u:secret@h/x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h/x", "postgresql://u@h/x?password=secret", "postgres://u:secret@h/x"]
)
def test_a_database_never_shows_its_password(url):
    database = open_database(url)
    assert "secret" not in f"{database!r} {database.shown_url}"
    assert database.is_postgres
    database.close()


def test_a_server_that_is_not_there_is_a_users_error():
    database = open_database("postgresql://u@127.0.0.1:1/x")
    with pytest.raises(UserError, match="refused; start the server, or check host and port"):
        migrate(database)
    database.close()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "secret"}, 'password authentication failed for user "t2f"; check the user, and the password'),
        ({"user": "nobody"}, "check the user, and the password"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist; create it'),
    ],
)
def test_a_server_that_refuses_is_a_users_error(postgres_server, changes, message):
    database = open_database(postgres_server.url(**{"database": "postgres", **changes}))
    with pytest.raises(UserError, match=message) as refused:
        migrate(database)
    assert "secret" not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    database.close()
