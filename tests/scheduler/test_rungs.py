"""Decisions at a rung, whatever the order of arrival."""

import itertools

import pytest

from scheduler.rungs import Decision, Entry, decide, is_rung
from scheduler.sweepfile import EarlyTermination

HALVING = EarlyTermination(type="halving", eta=3, min_stage=16)
ASHA = EarlyTermination(type="asha", eta=3, min_stage=16)
SCORES = (0.1, 0.6, 0.3, 0.5, 0.2, 0.4)


def entries(scores=SCORES, **out: bool) -> list[Entry]:
    return [
        Entry(stage_run_id=10 + n, first_trial=n, value=score, is_out=out.get(f"t{n}", False))
        for n, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("policy", "resolution", "expected"),
    [
        (HALVING, 8, False),
        (HALVING, 16, True),
        (HALVING, 32, True),
        (HALVING, 64, False),
        (EarlyTermination(), 16, False),
    ],
)
def test_rungs_lie_between_the_first_allowed_and_the_last_stage(policy, resolution, expected):
    assert is_rung(policy, resolution, 64) is expected


def test_halving_keeps_the_best_third_whatever_the_order():
    for order in itertools.permutations(entries()):
        decision = decide(HALVING, order, complete=True)
        assert decision == Decision(promoted=frozenset({11, 13}), pruned=frozenset({10, 12, 14, 15}))


def test_halving_waits_for_everybody():
    assert decide(HALVING, entries(), complete=False) == Decision()
    assert decide(HALVING, entries((0.1, None, 0.3)), complete=True) == Decision()
    assert decide(HALVING, [], complete=True) == Decision()


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_halving_rounds_up_so_that_one_always_goes_on(count, kept):
    decision = decide(HALVING, entries(tuple(n / 10 for n in range(count))), complete=True)
    assert len(decision.promoted) == kept
    assert len(decision.pruned) == count - kept


def test_equal_scores_go_by_trial_number():
    assert decide(HALVING, entries((0.5,) * 6)[::-1], complete=True).promoted == {10, 11}


def test_broken_ones_never_go_on_and_hold_nobody_up():
    decision = decide(HALVING, entries((0.9, 0.6, None, 0.5, 0.2, 0.4), t0=True, t2=True), complete=True)
    assert decision.promoted == {11, 13}
    assert decision.pruned == {14, 15}


def test_asha_lets_the_best_go_on_without_waiting():
    assert decide(ASHA, entries((0.1, 0.6)), complete=False) == Decision()
    assert decide(ASHA, entries((0.1, 0.6, 0.3)), complete=False).promoted == {11}
    assert decide(ASHA, entries((0.1, 0.6, 0.3)), complete=False).pruned == frozenset()
    final = decide(ASHA, entries(), complete=True)
    assert final.promoted == {11, 13}
    assert final.pruned == {10, 12, 14, 15}


def test_asha_promotes_one_at_least_in_the_end():
    assert decide(ASHA, entries((0.1, 0.2)), complete=True).promoted == {11}
