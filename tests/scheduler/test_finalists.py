"""Finalists: fresh seeds, the mean that they are ranked by, and whose model is the best."""

import random

import pytest

from scheduler import commands, promoting, reads, submitting
from scheduler.finalists import finalists, fresh_results, fresh_seeds, lift
from scheduler.objectives import Objective
from scheduler.ranking import Standing, rank
from scheduler.states import SweepState, TrialState
from t2f.metrics.figures import student_t_quantile
from tests.scheduler.simulating import (
    simulate,
    simulate_with_crashes,
    sweep_of,
    trials,
)

FIVE = """
name: five
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters:
  generator.learning_rate: {values: [0.001, 0.002, 0.003, 0.004, 0.005]}
early_terminate: {type: halving, eta: 2}
replicate: {top: 2, seeds: 3}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""


BY_SCORE = (Objective(metric="score", goal="maximize"),)


def lucky(stage: dict) -> float:
    """T4 had the luckiest seed, T3 is the better one with any other; fresh seeds differ a little."""
    rate, seed = round(1000 * stage["settings"]["generator.learning_rate"]), stage["seed"]
    if seed == 0:
        return rate / 10
    return {3: 0.2, 4: 0.35, 5: 0.3}[rate] + 0.01 * fresh_seeds(0, 3).index(seed)


def standing(number: int, value: float | None, *, run: int | None = None, state=TrialState.COMPLETE, px=8, gates=()):
    return Standing(
        trial_id=100 + number,
        number=number,
        state=state,
        stage_run_id=run or number,
        resolution=px,
        values=(value,),
        gates=gates,
    )


def test_fresh_seeds_are_distinct_and_never_the_sweeps_own():
    for seed in range(50):
        found = fresh_seeds(seed, 5)
        assert len({*found, seed}) == 6
        assert fresh_seeds(seed, 3) == found[:3]
        assert all(0 <= one < 2**32 for one in found)


def test_finalists_came_to_their_end_passed_every_gate_and_are_on_stage_runs_of_their_own():
    found = rank(
        [
            standing(0, 0.9, gates=("copies",)),
            standing(1, 0.8),
            standing(2, 0.8, run=1),
            standing(3, 0.7, state=TrialState.PRUNED),
            standing(4, 0.6),
            standing(5, 0.5),
        ],
        goal="maximize",
    )
    assert [one.number for one in finalists(found, 2)] == [1, 4]
    assert [one.number for one in finalists(found, 9)] == [1, 4, 5]


def test_the_mean_counts_fresh_seeds_alone_and_has_students_interval():
    parents = {110: 1, 111: 1, 112: 1, 113: 2, 114: 1}
    fresh = fresh_results(
        [
            standing(1, 0.9),
            standing(10, 0.1),
            standing(11, 0.2),
            standing(12, 0.6),
            standing(13, 0.5),
            standing(14, 0.9, state=TrialState.FAILED),
        ],
        parents,
    )
    assert fresh[1].mean.value == pytest.approx(0.3)
    half = student_t_quantile(0.975, 2) * (0.07 / 3) ** 0.5  # variance of .1 .2 .6 is .07
    assert fresh[1].mean.low == pytest.approx(0.3 - half)
    assert fresh[1].mean.high == pytest.approx(0.3 + half)
    assert fresh[1].mean.note == "mean of 3 fresh seeds"
    assert (fresh[2].mean.value, fresh[2].mean.low) == (0.5, None), "one seed says nothing of the spread"
    assert fresh[1].best("maximize").number == 12
    assert fresh[1].best("minimize").number == 10


def test_finalists_are_ranked_above_all_others_by_their_means():
    ranked = rank([standing(1, 0.9), standing(2, 0.8), standing(3, 0.7), standing(4, 0.7, run=3)], objectives=BY_SCORE)
    fresh = fresh_results([standing(10, 0.1), standing(11, 0.4)], {110: 1, 111: 3})
    found = lift(ranked, fresh, "maximize")
    assert [(one.rank, one.standing.number) for one in found] == [(1, 3), (2, 1), (3, 2), (4, 4)]
    assert lift(ranked, {}, "maximize") == ranked


def test_a_finalist_whose_fresh_models_are_all_behind_gates_has_no_rank():
    ranked = rank([standing(1, 0.9), standing(2, 0.8)], objectives=BY_SCORE)
    gated = standing(10, 0.9, gates=("text",))
    fresh = fresh_results([gated], {110: 1})
    assert [(one.rank, one.standing.number) for one in lift(ranked, fresh, "maximize")] == [(1, 2), (None, 1)]
    both = fresh_results([gated, standing(11, 0.2)], {110: 1, 111: 1})
    assert both[1].best("maximize").number == 11, "one that passed goes before a better one that did not"


def test_the_best_two_run_again_with_three_fresh_seeds(begin):
    store = begin(FIVE)
    simulate(store, "s", lucky, chance=random.Random(0))
    sweep = sweep_of(store)
    assert sweep.state == SweepState.COMPLETE
    fresh = [one for one in trials(store, sweep) if one.origin == "replicate"]
    assert [(one.role.parent, one.deviation.seed) for one in fresh] == [
        (parent, seed) for parent in (4, 3) for seed in fresh_seeds(0, 3)
    ]
    assert {one.state for one in fresh} == {TrialState.COMPLETE}
    assert fresh[0].note == f"fresh seed of T4: {fresh_seeds(0, 3)[0]}"
    ranking = reads.ranking(store.database, sweep)
    assert [one.standing.number for one in ranking] == [3, 4, 2, 1, 0]
    assert ranking[0].fresh.mean.value == pytest.approx(0.36)
    assert ranking[0].fresh.mean.low < 0.36 < ranking[0].fresh.mean.high
    made = []

    def make_bundle(of, trial, run, checkpoint):
        made.append((trial.role.parent, trial.deviation.seed))
        return "uri", "h" * 64

    promoting.promote_best(store, sweep, make_bundle)
    assert made == [(3, fresh_seeds(0, 3)[2])], "the best fresh-seed model of the best finalist"
    tree = submitting.stage_tree(sweep.resolved, submitting.new_trials(sweep.resolved))
    assert (tree.trials, tree.finalists, tree.stage_runs) == (11, 6, {4: 11, 8: 11})


def test_finalists_are_asked_for_once_whenever_the_scheduler_dies(begin):
    store = begin(FIVE)
    assert simulate_with_crashes(store, lucky, seed=2) > 10
    fresh = [(one.role.parent, one.deviation.seed) for one in trials(store, sweep_of(store)) if one.role.parent]
    assert len(fresh) == len(set(fresh)) == 6


def test_a_promoted_trial_that_becomes_one_of_the_best_gets_its_fresh_seeds_too(begin):
    store = begin(FIVE.replace("values: [0.001, 0.002, 0.003, 0.004, 0.005]", "values: [0.003, 0.004, 0.005]"))

    def late_bloomer(stage: dict) -> float:
        rate = round(1000 * stage["settings"]["generator.learning_rate"])
        if rate == 3:
            return 0.9 if stage["resolution"] == 8 else 0.0
        return lucky(stage)

    simulate(store, "s", late_bloomer)
    assert [one.standing.number for one in reads.ranking(store.database, sweep_of(store))] == [1, 2, 0]
    commands.promote_trial(store, reads.trial(store.database, "s/T0"))
    simulate(store, "s", late_bloomer)
    ranking = reads.ranking(store.database, sweep_of(store))
    assert [(one.standing.number, one.fresh is not None) for one in ranking] == [(0, True), (1, True), (2, True)]
    assert len([one for one in trials(store, sweep_of(store)) if one.origin == "replicate"]) == 9
