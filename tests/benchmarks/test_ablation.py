"""The ablation's table: which rows there are, and its arithmetic."""

import math

import pytest

from benchmarks.ablation import SIZES, entries, images_of, interval, recipe_of, rows
from t2f.settings import PRESETS, Settings


def test_each_row_takes_back_one_change_and_all_have_the_sizes_of_small():
    table = {row.name: recipe_of(row, 32).settings.flat() for row in rows()}
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
    images = images_of(costs, 60)
    assert sum(count * cost for count, cost in zip(images, costs, strict=True)) == pytest.approx(60, rel=1e-3)
    assert images[0] / images[1] == pytest.approx(40_000 / 16_000, rel=1e-3)


def test_the_interval_is_students():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, high - mean) == pytest.approx((2.0, 4.303 / math.sqrt(3)))
    assert low == pytest.approx(4.0 - high)
    assert interval([5.0]) == (5.0, 5.0, 5.0)


def test_differences_are_taken_seed_by_seed():
    small, other = {"row": "small", "share": [0.6, 0.8]}, {"row": "other", "share": [0.5, 0.7]}
    (found,) = entries([small, other, {"row": "lost", "diverged": "score"}], "title")
    assert found["goal"] == "title: attributes right, small minus other"
    assert (found["measured"], found["low"], found["high"]) == pytest.approx((0.1, 0.1, 0.1), abs=1e-4)
    assert found["n"] == 2
