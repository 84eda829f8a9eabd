"""How well a rung foretells the end: against plain Spearman, repeated values, and the theory of Fisher's interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.comparing import spearman
from scheduler.reliability import Pair, foretells, reliability, weighted_spearman

values = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4)), min_size=3, max_size=12)


@given(values)
def test_a_weight_of_n_is_the_same_as_n_equal_pairs(rows):
    ones, others, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    repeated = [(one, other) for one, other, weight in rows for _ in range(weight)]
    expected = spearman(*(np.array(column, dtype=float) for column in zip(*repeated, strict=True)))
    found = weighted_spearman(ones, others, weights)
    assert math.isnan(found) == math.isnan(expected)
    assert math.isnan(found) or found == pytest.approx(expected)


def pairs(count: int, *, noise: float, seed: int = 0) -> list[Pair]:
    random = np.random.default_rng(seed)
    quality = random.normal(size=count)
    ends = quality + noise * random.normal(size=count)
    return [Pair(at_rung=float(quality[n]), at_end=float(ends[n])) for n in range(count)]


def test_the_interval_is_fishers_where_all_weights_are_equal():
    figure = reliability(pairs(30, noise=1.0))
    half = 1.959964 * 1.06 / math.sqrt(27)
    assert figure.low == pytest.approx(math.tanh(math.atanh(figure.value) - half))
    assert figure.high == pytest.approx(math.tanh(math.atanh(figure.value) + half))
    assert figure.note == "30 finishers, 0 random controls"


def test_the_interval_holds_the_truth_in_about_95_of_100_samples():
    # Normal with correlation r: Spearman's is 6 / pi * asin(r / 2).
    truth = 6 / math.pi * math.asin(math.sqrt(0.5) / 2)
    figures = [reliability(pairs(25, noise=1.0, seed=seed)) for seed in range(300)]
    held = sum(figure.low <= truth <= figure.high for figure in figures)
    assert 270 <= held <= 300


def test_uneven_weights_say_less():
    equal = reliability([Pair(at_rung=n, at_end=(n * 7) % 10) for n in range(10)])
    uneven = reliability([Pair(at_rung=n, at_end=(n * 7) % 10, weight=1 if n else 8) for n in range(10)])
    assert uneven.high - uneven.low > equal.high - equal.low


def test_too_little_is_no_figure_or_no_interval():
    assert reliability([]) is None
    assert reliability([Pair(at_rung=1, at_end=2)] * 5) is None, "nothing varies"
    figure = reliability([Pair(at_rung=n, at_end=-n) for n in range(3)])
    assert (figure.value, figure.low, figure.high) == (pytest.approx(-1), -1, 1)


def test_it_takes_two_controls_to_give_a_rung_up():
    against = [Pair(at_rung=n, at_end=-n, is_control=n < 2) for n in range(12)]
    assert not foretells(reliability(against), against)
    only_finishers = [Pair(at_rung=n, at_end=-n) for n in range(12)]
    assert foretells(reliability(only_finishers), only_finishers)
    assert foretells(None, [])
    agreeing = [Pair(at_rung=n, at_end=n, is_control=n < 2) for n in range(12)]
    assert foretells(reliability(agreeing), agreeing)
