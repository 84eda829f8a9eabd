"""Decisions at a rung, whatever the order of arrival, against slow and obvious references."""

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.rungs import CONTROL_SHARE, Decision, EarlyTermination, Entry, controls, decide, first_rung, is_rung

HALVING = EarlyTermination(type="halving", eta=3, min_stage=16)
ASHA = EarlyTermination(type="asha", eta=3, min_stage=16)
MEDIAN = EarlyTermination(type="median", min_stage=16)
HYPERBAND = EarlyTermination(type="hyperband", eta=3, min_stage=4)
SCORES = (0.1, 0.6, 0.3, 0.5, 0.2, 0.4)
PLAN = (4, 8, 16, 32)


def entries(scores=SCORES, **out: bool) -> list[Entry]:
    return [
        Entry(stage_run_id=10 + n, value=score, key=f"k{n}", is_out=out.get(f"t{n}", False))
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
        assert decision == Decision(promoted=(11, 13), pruned=(15, 12, 14, 10), behind=(15, 12, 14, 10))


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
    assert decide(HALVING, entries((0.5,) * 6)[::-1], complete=True).promoted == (10, 11)


def test_broken_ones_never_go_on_and_hold_nobody_up():
    decision = decide(HALVING, entries((0.9, 0.6, None, 0.5, 0.2, 0.4), t0=True, t2=True), complete=True)
    assert decision.promoted == (11, 13)
    assert decision.pruned == (15, 14)


def test_asha_lets_the_best_go_on_without_waiting():
    assert decide(ASHA, entries((0.1, 0.6)), complete=False) == Decision(behind=(11, 10))
    assert decide(ASHA, entries((0.1, 0.6, 0.3)), complete=False) == Decision(promoted=(11,), behind=(12, 10))
    final = decide(ASHA, entries(), complete=True)
    assert final == Decision(promoted=(11, 13), pruned=(15, 12, 14, 10), behind=(15, 12, 14, 10))


def test_asha_promotes_one_at_least_in_the_end():
    assert decide(ASHA, entries((0.1, 0.2)), complete=True).promoted == (11,)


def test_asha_never_takes_a_promotion_back():
    early = [*entries((0.1, 0.2, 0.3)), *entries((0.9, 0.8, 0.7, 0.6))]
    early = [
        Entry(stage_run_id=n, key=f"k{n}", value=one.value, has_gone_on=one.value == 0.3) for n, one in enumerate(early)
    ]
    decision = decide(ASHA, early, complete=True)
    assert decision.promoted == (3, 4, 2)
    assert set(decision.pruned) == {0, 1, 5, 6}


def test_of_equal_values_the_keys_decide_and_not_who_came_first():
    equal = [Entry(stage_run_id=n, key=key, value=0.0) for n, key in enumerate(("c1", "9f", "a7", "04", "b2"))]
    assert decide(HALVING, equal, complete=True).promoted == (3, 1)


numbers = st.lists(st.integers(0, 20) | st.none(), max_size=14)


@given(numbers, st.booleans(), st.integers(2, 4), st.sampled_from(["halving", "asha", "median"]))
def test_decisions_equal_a_reference_that_counts_who_is_better(values, complete, eta, kind):
    found = entries(values)
    decision = decide(EarlyTermination(type=kind, eta=eta, min_stage=4), found, complete=complete)
    known = {one.stage_run_id: one for one in found if one.value is not None}
    settled = complete and len(known) == len(found)

    def better(run_id: int) -> int:
        me = known[run_id]
        return sum((-o.value, o.key) < (-me.value, me.key) for o in known.values())

    if kind == "halving":
        goes = {run_id for run_id in known if settled and better(run_id) < math.ceil(len(known) / eta)}
        stops = set(known) - goes if settled else set()
    elif kind == "asha":
        keep = max(settled, math.floor(len(known) / eta))
        goes = {run_id for run_id in known if better(run_id) < keep}
        stops = set(known) - goes if settled else set()
    else:
        # Below the median: more are above it than below, and not half of all are at most as good.
        ordered = sorted(one.value for one in known.values())
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else 0
        goes = {run_id for run_id, one in known.items() if len(known) < 3 or one.value >= middle}
        stops = set(known) - goes
    assert set(decision.promoted) == goes
    assert set(decision.pruned) == stops
    assert [better(run_id) for run_id in decision.promoted] == sorted(better(run_id) for run_id in goes)


def test_hyperband_deals_the_trials_out_to_its_brackets():
    # Three rungs: n_s for s = 3, 2, 1, 0 rungs ahead is 27, 12, 6, 4 (arXiv:1603.06560, algorithm 1, up to rounding).
    count = 49 * 200
    dealt = Counter(first_rung(HYPERBAND, number, PLAN) for number in range(count))
    for rung, share in {4: 27, 8: 12, 16: 6, 32: 4}.items():
        assert dealt[rung] / count == pytest.approx(share / 49, abs=0.002)
    first = Counter(first_rung(HYPERBAND, number, PLAN) for number in range(12))
    assert first[4] in (6, 7)
    assert first[8] in (2, 3, 4), "any first trials are divided so"


def test_other_types_have_one_first_rung_for_all_and_one_stage_has_no_bracket():
    assert {first_rung(HALVING, number, PLAN) for number in range(20)} == {16}
    late = EarlyTermination(type="hyperband", eta=2, min_stage=32)
    assert {first_rung(late, number, PLAN) for number in range(20)} == {32}


def test_no_control_below_ten_prunable_then_two_then_one_in_ten():
    for count in range(60):
        due = 0 if count < CONTROL_SHARE else max(2, count // 10)
        assert len(controls(entries((0.5,) * count), seed=0)) == due


def test_controls_depend_on_seed_and_keys_alone_and_not_on_values():
    some = entries(tuple(n / 100 for n in range(30)))
    chosen = controls(some, seed=1)
    shuffled = random.Random(0).sample(some, len(some))
    assert controls(shuffled, seed=1) == chosen
    assert {controls(some, seed=seed) for seed in range(20)} != {chosen}
    often = Counter(run_id for seed in range(2000) for run_id in controls(some, seed=seed))
    assert min(often.values()) > 120, "each of 30 is chosen with the same chance, 3 of 30"
    assert max(often.values()) < 290


def test_controls_that_go_on_already_are_not_chosen_again():
    some = entries((0.5,) * 20)
    first = controls(some, seed=3)
    marked = [
        Entry(
            stage_run_id=one.stage_run_id,
            value=one.value,
            key=one.key,
            is_control=one.stage_run_id in first,
            is_open=one.stage_run_id not in first,
        )
        for one in some
    ]
    assert controls(marked, seed=3) == ()
    assert len(controls([*marked, *entries((0.4,) * 10)], seed=3)) == 1, "ten more are prunable: one more control"
