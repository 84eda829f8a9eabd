"""Two models side by side: the paired comparison that `t2f rank` uses, and why two cannot be compared."""

import pytest

from scheduler import reads
from scheduler.judgement import judge_sweep
from scheduler.model_comparing import compare
from t2f.errors import UserError
from tests.scheduler import measured
from tests.scheduler.measured import SIX


@pytest.fixture
def weigh(six, six_store):
    return lambda first, second, metric=None: compare(six_store.database, six.files, first, second, metric=metric)


def test_the_better_one_is_that_of_the_ranking(weigh, promote, six, six_store):
    promote("six/T2")
    found = weigh("six@champion", "six@best")
    assert found.better == "six@best"
    assert "better in score with " in found.reason
    judged = judge_sweep(six_store.database, six.files, reads.sweep(six_store.database, "six"), metric=None)
    (place,) = [place for place in judged.places if place.number == 2]
    assert found.wins["score"] == pytest.approx(place.wins["T4"])
    assert found.wins["pixel_distance"] < 0.01, "a smaller distance is better"
    assert found.figures[0]["score"].value == 0.3
    assert found.judge["r_precision"]["value"] == 0.75
    other = weigh("six@best", "six/T2", "pixel_distance")
    assert (other.better, other.metric) == ("six@best", "pixel_distance")
    assert other.to_json()["models"][1]["trial"] == "six/T2"


def test_what_else_decides(weigh, six):
    for second, better, said in (
        ("six/T5", "six/T2", "six/T5 is kept out by a gate: copies"),
        ("six/T3@4", None, "figures at 8 px and 4 px cannot be compared"),
        ("six/T2", None, "they are the same stage run"),
    ):
        found = weigh("six/T2", second)
        assert found.better == better
        assert said in found.reason
    for path in six.files.rglob("parts.json"):
        path.unlink()
    found = weigh("six/T1", "six/T3")
    assert found.better is None
    assert "six/T3 is ahead, but the values of single images" in found.reason


def test_a_difference_that_may_be_chance_is_a_tie(weigh, six, six_store, tiny_data):
    measured.submit(six_store, tiny_data, name="even", text=SIX.replace("preset", "seed: 1\npreset"))
    measured.measure(six_store, six.files, "even", lambda number: 0.4)
    found = weigh("even/T0", "even/T1")
    assert found.better is None
    assert "a tie: the difference in score may be chance" in found.reason


def test_two_are_compared_only_where_the_same_was_measured(weigh, six, six_store, tiny_data):
    changed = SIX.replace("long pink hair", "dark skin").replace("0.001", "0.0011")
    measured.submit(six_store, tiny_data, name="else", text=changed)
    measured.measure(six_store, six.files, "else", lambda number: 0.9 - number / 10)
    # `else` shares the stage runs of T1 to T5, and measured them with its own probe too.
    assert weigh("six/T4", "else/T0").wins, "under the key of `else`"
    measured.submit(six_store, tiny_data, name="apart", text=changed.replace("preset", "seed: 1\npreset"))
    measured.measure(six_store, six.files, "apart", lambda number: 0.9)
    found = weigh("six/T0", "apart/T0")
    assert (found.better, found.wins) == (None, {})
    assert "measured with different probes" in found.reason


def test_what_cannot_be_asked_is_refused(weigh):
    for names, metric, said in (
        (("six/T1", "six/T2"), "nonsense", "--metric nonsense is not known; allowed: score"),
        (("six/T1", "six/T2"), "ms_ssim", "is not known"),
        (("six/T1", "six/T2"), "fid", "six/T1 has no value of fid; it has: score, pixel_distance"),
        (("six/T1", "six@nobody"), None, "has no alias 'nobody'"),
        (("six/T1", "six/T77"), None, "there is no trial"),
    ):
        with pytest.raises(UserError, match=said):
            weigh(*names, metric)
