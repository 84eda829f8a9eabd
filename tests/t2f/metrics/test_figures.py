"""Intervals, chances and Student's t."""

import math

import numpy as np
import pytest

from t2f.metrics.figures import (
    Figure,
    block_figure,
    block_rows,
    by_image,
    decimals,
    mean_figure,
    parts_json,
    student_t_cdf,
    student_t_quantile,
    win_probability,
)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        figure = mean_figure(random.normal(0.3, 1.0, 60))
        covered += figure.low <= 0.3 <= figure.high
    assert 88 <= covered <= 100


def test_block_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        values = random.normal(0.3, 1.0, 200)
        figure = block_figure(values.mean(), np.array([values[rows].mean() for rows in block_rows(np.arange(200))]))
        covered += figure.low <= 0.3 <= figure.high
    assert 180 <= covered <= 199


def test_blocks_are_disjoint_and_whole():
    for count, blocks in ((500, 10), (23, 10), (16, 8), (5, 2)):
        rows = block_rows(np.arange(count))
        assert len(rows) == blocks
        assert sorted(np.concatenate(rows)) == list(range(count))
        assert min(map(len, rows)) >= 2


def test_images_that_come_again_stay_in_their_block_and_count_once():
    ordinal = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1, 2])
    assert [rows.tolist() for rows in block_rows(ordinal)] == [[0, 3, 6, 7], [1, 4, 8], [2, 5, 9]]
    assert by_image(np.array([1.0, 2, 3, 4, 5, 6, 7, 3, 4, 5]), ordinal).tolist() == [2, 3, 4, 4, 5, 6, 7]


def test_student_t_has_the_values_of_the_tables():
    for probability, degrees, value in ((0.975, 9, 2.262), (0.975, 7, 2.365), (0.95, 4, 2.132), (0.975, 30, 2.042)):
        assert student_t_quantile(probability, degrees) == pytest.approx(value, abs=1e-3)
    assert student_t_cdf(0.0, 9) == pytest.approx(0.5)
    assert student_t_cdf(-2.262, 9) == pytest.approx(0.025, abs=1e-4)
    assert student_t_cdf(1.0, 1) == pytest.approx(0.75, abs=1e-6)


def test_an_interval_stays_inside_the_bounds_and_needs_blocks():
    figure = block_figure(0.01, np.array([0.0, 0.0, 0.05]), bounds=(0, 1))
    assert figure.low == 0
    assert block_figure(1.0, np.array([1.0, 2.0])).low is None
    assert block_figure(1.0, np.array([1.0, math.nan, 2.0])).low is None


def test_paired_images_tell_a_small_difference_that_intervals_hide():
    random = np.random.default_rng(1)
    common = random.normal(0, 1, 300)
    one, other = mean_figure(common + 0.05 + random.normal(0, 0.1, 300)), mean_figure(common)
    assert one.low < other.value, "each interval alone holds the other's value"
    assert win_probability(one, other) > 0.999
    assert win_probability(other, one) < 0.001
    assert win_probability(one, one) == 0.5


def test_paired_blocks_do_so_too():
    spread = np.linspace(-1, 1, 10)
    one, other = block_figure(5.1, spread + 5.1), block_figure(5.0, spread + 5.0 + 0.05 * np.cos(np.arange(10)))
    assert win_probability(one, other) > 0.99
    assert win_probability(other, one) == pytest.approx(1 - win_probability(one, other))
    assert win_probability(one, one) == 0.5


def test_nothing_is_known_without_parts_of_one_kind():
    assert win_probability(Figure(value=1), Figure(value=2)) is None
    images, blocks = mean_figure(np.arange(10.0)), block_figure(1.0, np.arange(10.0))
    assert win_probability(images, blocks) is None
    assert set(parts_json({"a": images, "b": Figure(value=1)})) == {"a"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.41234, "0.412"),
        (-1.5, "-1.500"),
        (99.9876, "99.988"),
        (1234.5, "1234"),
        (0.0, "0.000"),
        (0.0105, "0.011"),
        (0.00254, "0.0025"),
        (0.00042, "0.00042"),
        (-4.2e-7, "-4.2e-07"),
    ],
)
def test_values_are_written_with_the_decimals_that_tell_something(value, text):
    assert decimals(value) == text
