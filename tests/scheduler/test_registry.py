"""What models' names mean, and the way from a version back to its data."""

import pytest

from scheduler import promoting, reads, registry, settling
from scheduler.models import sealed_run
from t2f.errors import UserError
from t2f.spec import stage_keys
from tests.scheduler import measured


@pytest.fixture
def database(promote, six_store):
    """The model "six" with the versions 1 (best) and 2 (champion), the model "faces" with a champion."""
    promote("six/T2")
    promote("six/T3", name="faces")
    return six_store.database


def test_names_of_versions(database):
    for word, version in (
        ("six:1", 1),
        ("six:2", 2),
        ("six@best", 1),
        ("six@champion", 2),
        ("six", 1),
        ("faces@champion", 1),
    ):
        assert registry.version(database, word).version == version, word


def test_other_words_are_left_to_those_who_know_them(database):
    for word in ("six/T2", "T2", "T2@8", "six/T2@8", "T2@x", "unknown"):
        assert registry.find_version(database, word) is None, word
        with pytest.raises(UserError, match=r"is no version of a model; give NAME:VERSION"):
            registry.version(database, word)


def test_names_of_no_version_are_refused(database):
    for word, said in (
        ("six:9", "the model 'six' has no version '9'; there are: 2, 1"),
        ("six:x", "has no version 'x'"),
        ("six:", "has no version ''"),
        ("six@chmpion", "has no alias 'chmpion'; its aliases: best, champion"),
        ("six@", "has no alias ''"),
        ("sx@best", "there is no model 'sx'; models: faces, six"),
        ("faces", "the model 'faces' has no alias 'best'; its aliases: champion"),
    ):
        with pytest.raises(UserError, match=said):
            registry.find_version(database, word)


def test_a_version_knows_its_way_back_to_the_data(database, tiny_data):
    found = registry.lineage(database, registry.version(database, "six:2"))
    stages = reads.sweep(database, "six").resolved.space.stages({"generator.learning_rate": 0.003})
    assert [stage.key for stage in found.stages] == list(stage_keys(stages))
    assert [stage.resolution for stage in found.stages] == [4, 8]
    assert {stage.trained_for for stage in found.stages} == {"six"}
    assert found.numerics == ("test",)
    assert found.source.trial == "six/T2"
    assert found.source.data_key == tiny_data.key
    assert found.judge_sha256 == "j" * 64
    written = found.to_json()
    assert written["parameters"] == {"generator.learning_rate": 0.003}
    assert {"torch", "t2f"} <= set(written["packages"])
    assert {"commit", "dirty", "data_key", "judge_sha256", "numerics"} <= set(written)
    assert [move["alias"] for move in written["alias_history"]] == ["best", "champion"]


def test_a_stage_run_that_another_sweep_trained_says_so(six_store, tiny_data):
    measured.submit(six_store, tiny_data, name="again")
    settling.settle(six_store, reads.sweep(six_store.database, "again"))
    named = sealed_run(six_store.database, "again/T2")
    model = promoting.promote_run(six_store, *named, "champion", make_bundle=measured.make_bundle, by="ann")
    found = registry.lineage(six_store.database, model)
    assert found.source.sweep == "again"
    assert {stage.trained_for for stage in found.stages} == {"six"}
