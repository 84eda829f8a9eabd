"""All metrics on real data: they are defined, repeat, see what they should, and further ones come with packages."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from t2f.errors import UserError
from t2f.judge import load_judge
from t2f.metrics import builtin
from t2f.metrics.builtin import BUILTIN, STAGE_END, all_metrics
from t2f.metrics.catalogue import BETTER, MEAN_RANK
from t2f.metrics.comparison import Comparison, Metric, measure_all
from t2f.reference import compare, other_reals


@pytest.fixture(scope="module")
def reals(tiny_data) -> Comparison:
    """Real images in place of the faces."""
    judge, _ = load_judge(tiny_data)
    return compare(other_reals(tiny_data, resolution=16, num_images=40), tiny_data, judge, split="validation")


def test_every_metric_has_a_direction_and_repeats(reals):
    state = torch.random.get_rng_state()
    found = measure_all(reals, BUILTIN)
    assert measure_all(reals, BUILTIN) == found
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {metric.name for metric in BUILTIN} <= set(BETTER)
    assert set(MEAN_RANK) <= {metric.name for metric in STAGE_END}
    for name in (
        "swd",
        "colour_distance",
        "shuffle_gap",
        "nearest_face",
        "ms_ssim",
        "judge_kid",
        "precision",
        "recall",
    ):
        assert np.isfinite(found[name].value), name
    assert found["swd"].low < found["swd"].value < found["swd"].high
    assert "pixel_distance" not in found, "only below 16 px"
    assert "fid" not in found, "without weights"


def test_at_8_px_pixels_are_compared(tiny_data):
    judge, _ = load_judge(tiny_data)
    comparison = compare(other_reals(tiny_data, resolution=8, num_images=24), tiny_data, judge, split="validation")
    found = measure_all(comparison, STAGE_END)
    assert {"pixel_distance", "pixel_mmd", "colour_distance"} <= set(found)
    assert not {"swd", "ms_ssim"} & set(found)


def test_copies_and_repeats_are_seen(reals, tiny_data):
    copied = measure_all(reals, [metric for metric in BUILTIN if metric.name == "copied_share"])["copied_share"]
    assert copied.value == 1, "the other reals are training images"
    one = replace(reals, fakes_N3RR=reals.fakes_N3RR[:1].repeat(40, 1, 1, 1), _known={})
    found = measure_all(one, [metric for metric in BUILTIN if metric.name in ("nearest_face", "recall", "precision")])
    assert found["nearest_face"].value == pytest.approx(0, abs=1e-4)
    assert found["recall"].value < 0.5


def test_blocks_take_along_what_is_known(reals):
    reals.small_pictures()
    block = reals.rows(np.array([3, 5]), is_block=True)
    assert torch.equal(block.small_pictures()[1], reals.small_pictures()[1][[3, 5]])
    assert block.pairs.image_N.tolist() == reals.pairs.image_N[[3, 5]].tolist()
    assert reals.distinct(1000).pairs.num_distinct == reals.pairs.num_distinct == len(reals.distinct(1000).reals_N3RR)


def test_where_the_reals_are_training_images_nothing_is_said_of_copies(tiny_data):
    judge, _ = load_judge(tiny_data)
    comparison = compare(other_reals(tiny_data, resolution=8, num_images=24), tiny_data, judge, split="train")
    assert "copied_share" not in measure_all(comparison, STAGE_END)


def test_packages_bring_metrics_and_bad_ones_are_named(monkeypatch):
    monkeypatch.setattr(builtin, "entry_points", lambda group: [EntryPoint("x", "tests.t2f.metrics.plug:GOOD", group)])
    assert all_metrics()["x"].better == "lower"
    for name, value, reason in (
        ("y", "GOOD", "is no Metric of that name"),
        ("z", "NONE", "is no Metric of that name"),
        ("w", "MISSING", "cannot be loaded"),
        ("swd", "TAKEN", "which T2F has; rename it"),
    ):
        entry = EntryPoint(name, f"tests.t2f.metrics.plug:{value}", builtin.ENTRY_POINT_GROUP)
        monkeypatch.setattr(builtin, "entry_points", lambda group, entry=entry: [entry])
        with pytest.raises(UserError, match=reason):
            all_metrics()


def test_a_metric_says_why_it_cannot_be_measured(reals):
    def why(**more) -> str | None:
        return Metric(name="x", better="lower", measure=lambda _: {}, **more).missing(reals)

    assert why() is None
    assert why(smallest=32) == "undefined below 32 px"
    assert why(largest=8) == "only up to 8 px"
    assert why(needs=frozenset({"inception"})) == "needs --inception WEIGHTS"
    assert why(needs=frozenset({"clip"})) == "needs --clip FOLDER"
