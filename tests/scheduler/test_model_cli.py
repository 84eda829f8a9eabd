"""The registry as a user types it, on real checkpoints: promote, generate by name, roll back, compare, tag."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from scheduler.cli import app
from scheduler.home import Home
from scheduler.models import NamedModels
from t2f.errors import UserError
from t2f.generate import open_bundle
from tests.scheduler.test_cli import everything_below
from tests.scheduler.test_models import place  # noqa: F401 - a fixture


def t2f(*words: object, home) -> str:
    """What the command prints, run in this process."""
    done = CliRunner().invoke(app, [*map(str, words), "--home", str(home)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def own_place(place, tmp_path) -> Home:  # noqa: F811 - the fixture
    """A copy for one test to change."""
    shutil.copytree(place.path, tmp_path / "home", symlinks=True)
    return Home(path=tmp_path / "home")


def test_a_trial_becomes_the_champion_and_draws(own_place, tmp_path):
    home = own_place.path
    t2f("promote", "T0", "--dry-run", home=home)
    assert json.loads(t2f("model", "ls", "--json", home=home)) == []
    assert "s:1 (champion)" in t2f("promote", "T0@4", home=home)
    made = json.loads(t2f("model", "promote", "s/T0", "champion", "--json", home=home))
    assert made["model"] == "s:2"
    assert open_bundle(NamedModels().model_file("s@champion", home)).resolution == 8
    assert open_bundle(NamedModels().model_file("s:1", home)).lineage["trial"] == "s/T0"
    assert [stage.stage.resolution for stage in NamedModels().growth("s:1", home).stages] == [4]
    picture = tmp_path / "face.png"
    assert "2 faces of 8 px" in t2f("generate", "s@champion", "dark skin", "--seeds", "0-1", "-o", picture, home=home)
    assert "s:1 (champion)" in t2f("model", "rollback", "s", home=home)
    assert "2 faces of 4 px" in t2f("generate", "s@champion", "dark skin", "--seeds", "0-1", "-o", picture, home=home)
    listed = json.loads(t2f("model", "ls", "s", "--json", home=home))
    assert [(one["version"], one["aliases"], one["trial"]) for one in listed] == [
        (2, [], "s/T0"),
        (1, ["champion"], "s/T0"),
    ]
    shown = t2f("model", "show", "s:2", home=home)
    assert f"data: tiny, key {listed[0]['data_key']}" in shown
    assert "champion rolled back to s:1 by" in shown
    assert t2f("model", "tag", "s:2", "reviewed", "small", home=home).strip() == "s:2: reviewed, small"
    assert t2f("model", "tag", "s:2", "small", "--remove", home=home).strip() == "s:2: reviewed"
    said = t2f("evaluate", "s@champion", "--images", 16, "--dry-run", home=home)
    assert "would draw 16 faces of 4 px" in said


def test_a_version_whose_file_is_gone_says_so(own_place):
    made = json.loads(t2f("promote", "T0", "--json", home=own_place.path))
    (own_place.files / "models" / "s" / made["file"].rsplit("/", 1)[-1]).unlink()
    with pytest.raises(UserError, match="the file of s:1, .* is gone; put it back"):
        NamedModels().model_file("s@champion", own_place.path)


def test_two_are_compared_and_a_table_says_how_sure_it_is(six, promote):
    promote("six/T1")
    said = t2f("model", "compare", "six@champion", "six@best", home=six.path)
    assert "six@best is better: better in score with" in said
    assert "R-precision on real held-out pairs 0.750" in said
    found = json.loads(t2f("model", "compare", "six@champion", "six/T3", "--json", home=six.path))
    assert (found["better"], found["models"][0]["figures"]["score"]["value"]) == ("six/T3", 0.2)


def test_mistakes_are_said_in_a_line_and_write_nothing(six, promote):
    promote("six/T1")
    before = everything_below(six.path)
    for words, said in (
        (("model", "show", "six:9"), "has no version '9'; there are: 2, 1"),
        (("model", "show", "six/T1"), "is no version of a model"),
        (("promote", "six/T1", "3"), "the alias '3' is not allowed"),
        (("promote", "six/T1", "best"), "moved by the scheduler alone"),
        (("promote", "six/T1", "--name", "a/b"), "is not allowed"),
        (("promote", "six/T9"), "there is no trial"),
        (("promote", "nothing"), "neither a file nor a sweep"),
        (("model", "rollback", "six"), "no version of 'six' had the alias 'champion' before"),
        (("model", "rollback", "six", "other"), "has no alias 'other'"),
        (("model", "tag", "six:2", "a b"), "the tag 'a b' is not allowed"),
        (("model", "compare", "six:1", "six:2", "--metric", "x"), "is not known"),
        (("generate", "six@nobody", "a face"), "has no alias 'nobody'; its aliases: best, champion"),
        (("evaluate", "six@nobody"), "has no alias 'nobody'"),
    ):
        with pytest.raises(UserError) as raised:
            t2f(*words, home=six.path)
        assert said in str(raised.value), words
    after = everything_below(six.path)
    assert {name for name in after if not name.endswith(("-wal", "-shm"))} == {
        name for name in before if not name.endswith(("-wal", "-shm"))
    }
