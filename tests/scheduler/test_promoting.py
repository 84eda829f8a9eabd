"""Versions and aliases: made, moved, rolled back, with a history that nobody can change."""

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import DatabaseError

from scheduler import model_reads, promoting, reads, registry
from scheduler import tables as t
from scheduler.database import open_database, sqlite_url
from scheduler.migrations.versions import registry as migration
from scheduler.schema import migrate
from t2f.errors import SpecError, UserError
from tests.scheduler import measured


def holders(store, name: str = "six") -> dict[str, int]:
    return {alias: model.version for model in model_reads.models(store.database, name=name) for alias in model.aliases}


def test_a_stage_run_becomes_one_version_however_often_it_is_promoted(promote, six_store):
    assert holders(six_store) == {"best": 1}
    first = promote("six/T2")
    assert (first.reference, first.aliases, first.uri) == ("six:2", ("champion",), "models/six/T2-8")
    assert promote("six/T2", "candidate").reference == "six:2"
    assert promote("six/T2@4").reference == "six:3"
    assert holders(six_store) == {"best": 1, "candidate": 2, "champion": 3}
    best = promoting.promote_version(six_store, registry.version(six_store.database, "six@best"), "champion", by="bob")
    assert (best.reference, best.aliases) == ("six:1", ("best", "champion"))
    assert [(move.alias, move.version, move.by) for move in model_reads.alias_moves(six_store.database, "six")] == [
        ("best", 1, "scheduler"),
        ("champion", 2, "ann"),
        ("candidate", 2, "ann"),
        ("champion", 3, "ann"),
        ("champion", 1, "bob"),
    ]


def test_rolling_back_goes_back_one_promotion_at_a_time(promote, six_store):
    for target in ("six/T1", "six/T2", "six/T3"):
        promote(target)
    assert promoting.roll_back(six_store, "six", "champion", by="bob").version == 3
    assert promoting.roll_back(six_store, "six", "champion", by="bob").version == 2
    promote("six/T0")
    assert holders(six_store)["champion"] == 5
    assert promoting.roll_back(six_store, "six", "champion", by="bob").version == 2
    with pytest.raises(UserError, match="no version of 'six' had the alias 'champion' before"):
        promoting.roll_back(six_store, "six", "champion", by="bob")
    assert holders(six_store) == {"best": 1, "champion": 2}
    acts = [move.act for move in model_reads.alias_moves(six_store.database, "six") if move.alias == "champion"]
    assert acts == ["promoted", "promoted", "promoted", "rolled back", "rolled back", "promoted", "rolled back"]


def test_the_history_cannot_be_changed(promote, six_store):
    promote("six/T1")
    with pytest.raises(DatabaseError, match="append-only"), six_store.database.write.begin() as connection:
        connection.execute(t.alias_moves.update().values(moved_by="mallory"))


def test_a_version_that_is_deleted_takes_its_moves_along(promote, six_store):
    for target in ("six/T1", "six/T2", "six/T3"):
        promote(target)
    with six_store.database.write.begin() as connection:
        connection.execute(t.models.delete().where(t.models.c.version == 3))
    assert promoting.roll_back(six_store, "six", "champion", by="bob").version == 2


def test_a_model_may_have_another_name_than_its_sweep(promote, six_store, tiny_data):
    assert promote("six/T1", name="faces").reference == "faces:1"
    best = registry.version(six_store.database, "six@best")
    assert promoting.promote_version(six_store, best, "champion", name="faces", by="ann").reference == "faces:2"
    assert holders(six_store, "faces") == {"champion": 2}
    measured.submit(six_store, tiny_data, name="other")
    for name, error, said in (
        ("other", UserError, "that of another sweep"),
        ("../x", SpecError, "is not allowed"),
        ("a:b", SpecError, "is not allowed"),
    ):
        with pytest.raises(error, match=said):
            promote("six/T2", name=name)
    assert holders(six_store, "faces") == {"champion": 2}


def test_aliases_that_could_be_mistaken_are_refused(promote, six_store):
    before = holders(six_store)
    for alias in ("", "3", "-x", "a b", "a@b", "a/b", "ä", "x" * 51, "<script>", "best"):
        with pytest.raises(UserError, match="is not allowed|moved by the scheduler alone"):
            promote("six/T1", alias)
        with pytest.raises(UserError):
            promoting.roll_back(six_store, "six", alias, by="ann")
    assert holders(six_store) == before


def test_tags_are_words_that_several_versions_may_have(promote, six_store):
    first, second = promote("six/T1"), promote("six/T2")
    assert promoting.tag(six_store, first, add=["reviewed", "small", "reviewed"]) == ("reviewed", "small")
    assert promoting.tag(six_store, second, add=["reviewed"]) == ("reviewed",)
    first = registry.version(six_store.database, "six:2")
    with pytest.raises(UserError, match="has no tag 'other'; its tags: reviewed, small"):
        promoting.tag(six_store, first, remove=["other"])
    with pytest.raises(UserError, match="the tag '<b>' is not allowed"):
        promoting.tag(six_store, first, add=["<b>"])
    assert promoting.tag(six_store, first, remove=["small"]) == ("reviewed",)
    assert registry.version(six_store.database, "six:2").tags == ("reviewed",)


def test_every_move_is_an_event_in_the_same_transaction(promote, six_store):
    promote("six/T1")
    promoting.promote_version(six_store, registry.version(six_store.database, "six:1"), "champion", by="ann")
    promoting.roll_back(six_store, "six", "champion", by="bob")
    with six_store.database.read.begin() as connection:
        found = connection.execute(
            sa.select(t.events).where(t.events.c.kind.like("model.%")).order_by(t.events.c.id)
        ).all()
    assert [(row.kind, row.payload.get("alias"), row.payload["version"]) for row in found] == [
        ("model.registered", None, 1),
        ("model.promoted", "best", 1),
        ("model.registered", None, 2),
        ("model.promoted", "champion", 2),
        ("model.promoted", "champion", 1),
        ("model.rolled_back", "champion", 2),
    ]
    assert {row.sweep_id for row in found} == {reads.sweep(six_store.database, "six").id}


def test_aliases_from_before_the_history_begin_it(tmp_path):
    """The migration notes what versions have already, so that there is something to roll back to."""
    database = open_database(sqlite_url(tmp_path / "old.sqlite"))
    migrate(database, to=migration.down_revision)
    with database.write.connect() as connection:
        connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")  # a version alone is enough here
        with connection.begin():
            connection.exec_driver_sql(
                "INSERT INTO models (id, name, version, trial_id, stage_run_id, uri, sha256, aliases, created) "
                "VALUES (7, 'six', 2, 1, 1, 'u', 'x', '[\"best\"]', 5.0)"
            )
            with Operations.context(MigrationContext.configure(connection)):
                migration.upgrade()
            (row,) = connection.execute(sa.select(t.alias_moves)).all()
    assert (row.model_id, row.alias, row.act, row.moved_by, row.at) == (7, "best", "promoted", "scheduler", 5.0)
    database.close()
