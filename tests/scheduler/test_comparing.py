"""Chances, ties, mean ranks and Spearman's correlation."""

import math

import numpy as np
import pytest

from scheduler.comparing import (
    Contender,
    average_ranks,
    is_tie,
    mean_ranks,
    ranked_metrics,
    spearman,
    spearman_figure,
    win_probabilities,
)
from t2f.metrics.figures import Figure, block_figure, mean_figure


def contender(number: int, *, swd: float, gap: float) -> Contender:
    noise = np.cos(np.arange(10) + number)
    figures = {
        "swd": block_figure(swd, swd + noise),
        "colour_distance": Figure(value=0.1),
        "shuffle_gap": mean_figure(gap + 0.1 * np.cos(np.arange(40.0) * (number + 1))),
    }
    return Contender(stage_run_id=number, figures=figures)


def test_equal_values_share_the_mean_of_their_ranks():
    assert average_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_mean_ranks_turn_distances_and_leave_out_what_somebody_lacks():
    three = [contender(0, swd=10, gap=0.1), contender(1, swd=20, gap=0.5), contender(2, swd=30, gap=0.3)]
    assert ranked_metrics(three) == ("swd", "colour_distance", "shuffle_gap")
    # swd 1 2 3, colours all 2, gap 3 1 2
    assert mean_ranks(three) == pytest.approx([2.0, 5 / 3, 7 / 3])
    three.append(Contender(stage_run_id=3, figures={"swd": Figure(value=1.0)}))
    assert ranked_metrics(three) == ("swd",)
    assert mean_ranks(three) == [2, 3, 4, 1]
    assert math.isnan(mean_ranks([Contender(stage_run_id=0, figures={})])[0])


def test_chances_are_turned_with_the_metric_and_add_up():
    pair = [contender(0, swd=10, gap=0.1), contender(1, swd=20, gap=0.5)]
    by_swd, by_gap = (win_probabilities(pair, [metric]) for metric in ("swd", "shuffle_gap"))
    assert by_swd[0][0] is None
    assert by_swd[0][1] > 0.99, "a smaller distance is better"
    assert by_gap[0][1] < 0.01
    assert by_swd[0][1] + by_swd[1][0] == pytest.approx(1)
    both = win_probabilities(pair, ["swd", "shuffle_gap"])
    assert both[0][1] == pytest.approx((by_swd[0][1] + by_gap[0][1]) / 2)
    assert win_probabilities(pair, ["colour_distance"])[0][1] is None, "nothing is known of its parts"


def test_a_tie_is_what_may_be_chance():
    assert is_tie(0.5)
    assert is_tie(0.9)
    assert not is_tie(0.99)
    assert not is_tie(0.01)
    assert not is_tie(None)


def test_spearman_is_one_for_any_rising_curve():
    values = np.array([0.1, 5.0, 2.0, 9.0])
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    # By hand: ranks 1 2 3 4 against 2 1 4 3 have sum d^2 = 4, so 1 - 6 * 4 / (4 * 15).
    assert spearman(np.arange(4.0), np.array([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_a_correlation_needs_three_trials_that_differ():
    figure = spearman_figure(np.arange(8.0), np.array([1.0, 0, 2, 3, 5, 4, 6, 7]))
    assert -1 <= figure.low < figure.value < figure.high <= 1
    assert figure.note == "8 trials"
    assert spearman_figure(np.arange(2.0), np.arange(2.0)) is None
    assert spearman_figure(np.ones(5), np.arange(5.0)) is None
