"""Shares of ranges: right at both ends, for every kind of range."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.search.ranges import contains, describe, draw, multiples, nearest, num_values, share_of
from scheduler.space import Parameter

RATE, LAYERS = "generator.learning_rate", "text.layers"
UNIFORM = Parameter(name=RATE, distribution="uniform", low=0.1, high=0.9)
LOG = Parameter(name=RATE, distribution="log_uniform", low=1e-4, high=1e-1)
STEPPED = Parameter(name=RATE, distribution="uniform", low=0.1, high=0.7, step=0.1)
OFF_STEP = Parameter(name=RATE, distribution="uniform", low=0.12, high=0.68, step=0.1)
LOG_STEPPED = Parameter(name=RATE, distribution="log_uniform", low=0.01, high=0.32, step=0.01)
WHOLE = Parameter(name=LAYERS, distribution="int_uniform", low=1, high=8)
WHOLE_LOG = Parameter(name=LAYERS, distribution="int_log_uniform", low=1, high=8)
WHOLE_STEPPED = Parameter(name="text.hidden", distribution="int_uniform", low=16, high=100, step=16)
LISTED = Parameter(name=RATE, values=(0.001, 0.002, 0.004))
ALL = [UNIFORM, LOG, STEPPED, OFF_STEP, LOG_STEPPED, WHOLE, WHOLE_LOG, WHOLE_STEPPED, LISTED]


@pytest.mark.parametrize(
    ("parameter", "first", "last"),
    [
        (UNIFORM, 0.1, 0.9),
        (LOG, 1e-4, 1e-1),
        (STEPPED, 0.1, 0.7),
        (OFF_STEP, 0.2, 0.6),
        (LOG_STEPPED, 0.01, 0.32),
        (WHOLE, 1, 8),
        (WHOLE_LOG, 1, 8),
        (WHOLE_STEPPED, 16, 96),
        (LISTED, 0.001, 0.004),
    ],
)
def test_both_ends_are_reached_and_nothing_beyond(parameter, first, last):
    assert draw(parameter, 0.0) == pytest.approx(first)
    assert draw(parameter, math.nextafter(1.0, 0)) == pytest.approx(last)
    assert draw(parameter, 1.0) == pytest.approx(last)


@given(st.sampled_from(ALL), st.floats(0, 1))
def test_a_value_lies_inside_and_its_share_gives_it_back(parameter, share):
    value = draw(parameter, share)
    assert contains(parameter, value)
    assert draw(parameter, share_of(parameter, value)) == pytest.approx(value)


@pytest.mark.parametrize("parameter", [STEPPED, OFF_STEP, WHOLE, WHOLE_STEPPED, LISTED])
def test_values_with_steps_have_equal_parts(parameter):
    size = num_values(parameter)
    found = [draw(parameter, (share + 0.5) / (100 * size)) for share in range(100 * size)]
    assert {found.count(value) for value in found} == {100}


def test_values_of_a_logarithmic_range_with_steps_have_the_parts_of_their_surroundings():
    found = [draw(WHOLE_LOG, (share + 0.5) / 10_000) for share in range(10_000)]
    for value in range(1, 9):
        part = (math.log(value + 0.5) - math.log(value - 0.5)) / (math.log(8.5) - math.log(0.5))
        assert found.count(value) == pytest.approx(10_000 * part, abs=1.5)


def test_steps_are_the_decimal_fractions_that_they_look_like():
    assert [draw(STEPPED, (step + 0.5) / 7) for step in range(7)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert multiples(OFF_STEP) == (2, 6)
    assert nearest(OFF_STEP, 0.66) == 0.6


def test_what_lies_outside_is_not_inside():
    assert not contains(UNIFORM, 0.91)
    assert not contains(STEPPED, 0.15)
    assert not contains(WHOLE, 2.5)
    assert not contains(WHOLE, "3")
    assert not contains(LISTED, 0.003)
    assert describe(WHOLE_STEPPED) == "a whole number from 16 to 100, a multiple of 16"
