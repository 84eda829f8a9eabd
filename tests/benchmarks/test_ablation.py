"""The ablation's table: which rows there are, and its arithmetic."""

import math

import pytest

from benchmarks.ablation import SIZES, entries, rows
from benchmarks.demo import images_of, recipe_of
from benchmarks.faces import interval
from t2f.metrics.figures import Figure
from t2f.settings import PRESETS, Settings


def test_each_row_takes_back_one_change_and_all_have_the_sizes_of_small():
    table = {row.name: recipe_of(row.values, 32).settings.flat() for row in rows()}
    small, article = table["small"], Settings().flat()
    assert small == Settings().with_values(PRESETS["small"]).flat()
    taken_back: set[str] = set()
    for name, values in table.items():
        assert {size: values[size] for size in SIZES} == {size: small[size] for size in SIZES}
        changed = {setting for setting in values if values[setting] != small[setting]}
        if name.startswith("small without "):
            assert changed == set(name.removeprefix("small without ").split(" and "))
            taken_back |= changed
        elif name.startswith("peer"):
            assert {setting for setting in values if values[setting] != article[setting]} <= set(SIZES)
    assert taken_back == set(PRESETS["small"]) - set(SIZES)


def test_images_fill_the_time_in_the_proportions_of_the_plan():
    costs = (0.001, 0.002, 0.004)
    images = images_of((40_000, 16_000, 24_000), costs, 60)
    assert sum(count * cost for count, cost in zip(images, costs, strict=True)) == pytest.approx(60, rel=1e-3)
    assert images[0] / images[1] == pytest.approx(40_000 / 16_000, rel=1e-3)


def test_the_interval_is_students():
    found = interval([1.0, 2.0, 3.0])
    assert (found.value, found.high - found.value) == pytest.approx((2.0, 4.302653 / math.sqrt(3)))
    assert found.low == pytest.approx(4.0 - found.high)
    assert interval([5.0]) == Figure(value=5.0, low=5.0, high=5.0)


def test_differences_are_taken_seed_by_seed():
    small, other = {"row": "small", "share": [0.6, 0.8]}, {"row": "other", "share": [0.5, 0.7]}
    (found,) = entries([small, other, {"row": "lost", "diverged": "score"}], "title")
    assert found["goal"] == "title: attributes right, small minus other"
    assert (found["measured"], found["low"], found["high"]) == pytest.approx((0.1, 0.1, 0.1), abs=1e-4)
    assert found["n"] == 2
