"""Which database a home has, and the commands `t2f db ...` as a user types them."""

import json
import stat

import pytest
import sqlalchemy as sa

from scheduler.database import open_database, sqlite_url
from scheduler.home import DATABASE_VARIABLE, Home
from scheduler.schema import migrate, newest_revision, revision
from scheduler.store import Store
from t2f.errors import UserError
from tests.postgres_server import PASSWORD
from tests.scheduler.test_cli import t2f
from tests.scheduler.test_store_at_once import begin_sweep


def test_the_database_is_the_variables_else_the_homes_line_else_sqlite(tmp_path, monkeypatch):
    place = Home(path=tmp_path / "home")
    assert place.database_url == sqlite_url(tmp_path / "home" / "t2f.sqlite")
    place.use(sqlite_url(tmp_path / "other.sqlite"))
    assert place.database_url == sqlite_url(tmp_path / "other.sqlite")
    assert stat.S_IMODE((place.path / "database.url").stat().st_mode) == 0o600
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://u@h/x")
    assert place.database_url == "postgresql://u@h/x"
    monkeypatch.setenv(DATABASE_VARIABLE, "")
    assert place.database_url == sqlite_url(tmp_path / "other.sqlite")


def test_looking_makes_no_database(tmp_path):
    place = Home(path=tmp_path)
    assert not place.has_database
    with pytest.raises(UserError, match="holds no database"):
        place.open()
    for words in (("db", "show"), ("db", "backup"), ("db", "upgrade", "--dry-run"), ("sweep", "ls")):
        assert "holds no database" in t2f(*words, home=tmp_path, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_opened_is_not_kept(tmp_path):
    said = t2f("db", "use", "postgresql://u:secret@127.0.0.1:1/x", home=tmp_path, code=2)
    assert "refused" in said
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_database_is_shown_upgraded_and_copied(tmp_path):
    assert t2f("db", "upgrade", home=tmp_path) == f"schema {newest_revision()}, before: none\n"
    assert "up to date" in t2f("db", "upgrade", "--dry-run", home=tmp_path)
    begin_sweep(Store(Home(path=tmp_path).open()))
    facts = json.loads(t2f("db", "show", "--json", home=tmp_path))
    assert (facts["kind"], facts["schema"], facts["rows"]["sweeps"]) == ("SQLite", newest_revision(), 1)
    assert "sweeps" in t2f("db", "show", home=tmp_path)
    assert "would copy" in t2f("db", "backup", "--dry-run", home=tmp_path)
    t2f("db", "backup", home=tmp_path)
    copy = open_database(sqlite_url(tmp_path / "t2f.sqlite.backup.1"))
    with copy.read.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sweeps").scalar() == 1
    copy.close()
    assert "1 sweeps" in t2f("db", "use", sqlite_url(tmp_path / "other.sqlite"), home=tmp_path, code=2)
    assert not (tmp_path / "database.url").exists()


def test_looking_at_an_old_database_leaves_it_as_it_is(tmp_path):
    database = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
    migrate(database, to="0001")
    assert f"brings it to {newest_revision()}" in t2f("db", "show", home=tmp_path)
    assert f"would go from 0001 to {newest_revision()}" in t2f("db", "upgrade", "--dry-run", home=tmp_path)
    assert revision(database) == "0001"
    assert "a copy of what was before" in t2f("db", "upgrade", home=tmp_path)
    assert revision(database) == newest_revision()
    database.close()


@pytest.mark.postgres
def test_a_home_whose_rows_are_on_postgresql(tmp_path, postgres_server):
    name = postgres_server.create_database()
    url = postgres_server.url(name)
    said = t2f("db", "use", url, "--dry-run", home=tmp_path)
    assert not (tmp_path / "database.url").exists()
    said += t2f("db", "use", url, home=tmp_path)
    said += t2f("sweep", "ls", home=tmp_path, code=2)
    assert "has no tables yet" in said
    said += t2f("db", "upgrade", home=tmp_path)
    said += t2f("sweep", "ls", home=tmp_path)
    said += t2f("db", "backup", home=tmp_path, code=2)
    assert "pg_dump" in said
    facts = json.loads(t2f("db", "show", "--json", home=tmp_path))
    assert (facts["kind"], facts["schema"], facts["rows"]["sweeps"]) == ("PostgreSQL", newest_revision(), 0)
    assert PASSWORD not in said + str(facts)
    assert [path.name for path in tmp_path.iterdir()] == ["database.url"]
    database = Home(path=tmp_path).open()
    with database.read.begin() as connection:
        assert connection.scalar(sa.select(sa.func.current_database())) == name
    database.close()
    postgres_server.drop_database(name)
