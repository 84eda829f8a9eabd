"""The method grow: its pure parts, and whole sweeps in which children share their parents' stage runs."""

import random
from collections import Counter

import numpy as np
import pytest

from scheduler import reads, submitting
from scheduler.growing import Growing, Parent, children, explored, generations, next_generation, perturbed
from scheduler.rungs import Entry
from scheduler.space import Deviation, Parameter, SearchSpace
from scheduler.states import SweepState, TrialState
from t2f.spec import StagePlan, digest, stage_keys
from tests.scheduler.simulating import (
    depths,
    in_state,
    simulate,
    simulate_with_crashes,
    sweep_of,
    trials,
)

GROW = """
name: grown
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
method: grow
grow: {population: 6, keep: 2, children: 3}
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 0.0005, max: 0.02}
  network.feature_max: {values: [8, 16]}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
PLAN = StagePlan(resolutions=(4, 8, 16), images=(40,) * 3, fade=(0.5,) * 3, batch=(8,) * 3)
RATE = Parameter(name="generator.learning_rate", distribution="log_uniform", low=5e-4, high=2e-2)
BEAM = Growing(population=6, keep=2, children=3)
PBT = Growing(population=10, preset="pbt")


def space(*parameters: Parameter) -> SearchSpace:
    return SearchSpace(data_key="d" * 64, seed=3, preset="small", plan=PLAN, parameters=parameters or (RATE,))


def quality(stage: dict) -> float:
    """A higher rate is better, up to .01, with some noise of each stage run."""
    rate = stage["settings"]["generator.learning_rate"]
    noise = int(digest([rate, stage["resolution"], stage["settings"]["network.feature_max"]])[:8], 16) / 2**32
    return 0.5 + 20 * min(rate, 0.02 - rate) + 0.02 * noise


def places(count: int) -> list[Entry]:
    return [Entry(stage_run_id=n, key="", value=-float(n)) for n in range(count)]


def test_a_beam_keeps_the_best_and_each_goes_on_in_several_ways():
    assert next_generation(BEAM, places(6)) == {0: 3, 1: 3, 2: 0, 3: 0, 4: 0, 5: 0}
    assert next_generation(BEAM, places(1)) == {0: 3}


@pytest.mark.parametrize(("count", "cut"), [(1, 0), (2, 1), (3, 1), (5, 1), (10, 2), (12, 2), (20, 4)])
def test_population_based_training_replaces_the_worst_fifth_by_the_best(count, cut):
    ways = next_generation(PBT, places(count))
    assert sum(ways.values()) == count, "the population stays as large as it is"
    assert [run for run, number in ways.items() if number == 0] == list(range(count - cut, count))
    assert [run for run, number in ways.items() if number == 2] == list(range(cut))


def test_numbers_are_multiplied_and_stay_in_their_range():
    found = {perturbed(RATE, 0.01, (0.8, 1.2), np.random.default_rng(seed)) for seed in range(20)}
    assert found == {0.01 * 0.8, 0.01 * 1.2}
    assert perturbed(RATE, 0.019, (1.2,), np.random.default_rng(0)) == 0.02
    whole = Parameter(name="discriminator.steps", distribution="int_uniform", low=1, high=9)
    assert {perturbed(whole, 1, (0.8, 1.2), np.random.default_rng(seed)) for seed in range(20)} == {1, 2}
    assert {perturbed(whole, 8, (0.8, 1.2), np.random.default_rng(seed)) for seed in range(20)} == {6, 9}
    stepped = Parameter(name="loss.r1_gamma", distribution="uniform", low=0.0, high=1.0, step=0.25)
    assert {perturbed(stepped, 0.5, (0.8, 1.2), np.random.default_rng(seed)) for seed in range(20)} == {0.25, 0.75}


def test_of_a_list_of_numbers_the_next_one_is_taken_and_words_are_drawn_anew_or_kept():
    rates = Parameter(name="generator.learning_rate", values=(0.004, 0.001, 0.002))
    assert {perturbed(rates, 0.002, (0.8, 1.2), np.random.default_rng(seed)) for seed in range(20)} == {0.001, 0.004}
    losses = Parameter(name="loss.name", values=("wgan-gp", "logistic-r1"))
    assert perturbed(losses, "wgan-gp", (0.8, 1.2), np.random.default_rng(0)) == "wgan-gp"
    often = Counter(
        explored(PBT, (losses,), {"loss.name": "wgan-gp"}, np.random.default_rng(seed))["loss.name"]
        for seed in range(400)
    )
    assert 25 < often["logistic-r1"] < 75, "drawn anew in a quarter of the cases, and then with the chance of a half"


def test_a_setting_whose_condition_comes_to_hold_is_drawn():
    losses = Parameter(name="loss.name", values=("wgan-gp", "logistic-r1"))
    gamma = Parameter(
        name="loss.r1_gamma", distribution="uniform", low=0.1, high=1.0, when={"loss.name": "logistic-r1"}
    )
    for seed in range(40):
        found = explored(PBT, (losses, gamma), {"loss.name": "wgan-gp"}, np.random.default_rng(seed))
        assert ("loss.r1_gamma" in found) == (found["loss.name"] == "logistic-r1")


def test_children_share_all_stages_so_far_and_differ_in_all_to_come():
    parent = Parent(number=4, parameters={RATE.name: 0.004}, deviation=Deviation(late={8: {RATE.name: 0.005}}))
    found = children(BEAM, space(), parent, after=8, count=5)
    assert len(found) == 5
    here = space()
    keys = [stage_keys(here.stages(parent.parameters, parent.deviation))]
    keys += [
        stage_keys(here.stages(child.parameters, Deviation.from_json(child.attributes["deviation"]))) for child in found
    ]
    assert len({key[:2] for key in keys}) == 1
    assert len({key[2] for key in keys}) == 6
    assert found == children(BEAM, space(), parent, after=8, count=5), "nothing is left to chance"
    assert found[0].attributes["parent"] == 4


def test_a_child_changes_a_later_parameter_where_that_begins():
    late = Parameter(name="augment.strength", distribution="uniform", low=0.0, high=1.0, from_stage=16)
    parent = Parent(number=0, parameters={"augment.strength": 0.5}, deviation=Deviation())
    (child,) = children(BEAM, space(late), parent, after=4, count=1)
    assert list(child.attributes["deviation"]["late"]) == ["16"]


def test_a_space_with_no_more_to_offer_gives_fewer_children():
    rates = Parameter(name="generator.learning_rate", values=(0.001, 0.002))
    parent = Parent(number=0, parameters={rates.name: 0.001}, deviation=Deviation())
    assert len(children(BEAM, space(rates), parent, after=4, count=5)) == 1


def test_settings_that_exclude_each_other_are_drawn_again():
    methods = Parameter(name="augment.method", values=("none", "ada"))
    losses = Parameter(name="loss.name", values=("wgan-gp", "logistic-r1"))
    here = space(methods, losses)
    parent = Parent(number=0, parameters={"augment.method": "none", "loss.name": "wgan-gp"}, deviation=Deviation())
    for child in children(Growing(population=2, resample=1.0), here, parent, after=4, count=3):
        late = child.attributes["deviation"]["late"]["8"]
        assert not (late.get("augment.method") == "ada" and late.get("loss.name", "wgan-gp") == "wgan-gp")


def test_a_beam_grows_and_trains_no_stage_twice(begin):
    store = begin(GROW)
    simulate(store, "s", quality, chance=random.Random(0))
    sweep = sweep_of(store)
    found = {one.number: one for one in trials(store, sweep)}
    assert len(found) == 6 + 4 + 4
    assert sweep.state == SweepState.COMPLETE
    assert len(in_state(store, sweep, TrialState.COMPLETE)) == 2 * 3
    runs = Counter(run.resolution for run in reads.progress(store.database, sweep).stage_runs)
    assert runs == {4: 6, 8: 6, 16: 6}
    assert all(run.attempt == 1 for run in reads.progress(store.database, sweep).stage_runs)
    paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    for one in found.values():
        if one.origin == "grow":
            parent, after = found[one.role.parent], one.role.passes
            shared = [run.id for run in paths[parent.id] if run.resolution <= after]
            assert [run.id for run in paths[one.id]][: len(shared)] == shared
            assert paths[one.id][len(shared)].id not in [run.id for run in paths[parent.id]]
            assert f"grown from T{parent.number} after {after} px: generator.learning_rate" in one.note
    tree = submitting.stage_tree(sweep.resolved, submitting.new_trials(sweep.resolved))
    assert (tree.trials, tree.stage_runs) == (14, {4: 6, 8: 6, 16: 6}), "as the dry run says"
    assert tree.saved == reads.counts(store.database, sweep).saved_by_sharing


def test_the_best_are_kept_at_each_stage_whatever_the_order(begin):
    ends = []
    for seed in (1, 2):
        store = begin(GROW)
        simulate(store, "s", quality, chance=random.Random(seed))
        sweep = sweep_of(store)
        paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
        for px in (4, 8):
            values = {run.id: run.evaluation.score for path in paths.values() for run in path if run.resolution == px}
            went_on = {run.parent_id for path in paths.values() for run in path if run.resolution == 2 * px}
            assert went_on == set(sorted(values, key=values.get)[-2:])
        ends.append({run.key for run in reads.progress(store.database, sweep).stage_runs})
        store.database.close()
    assert ends[0] == ends[1]


def test_a_scheduler_that_dies_again_and_again_grows_the_same_tree(begin):
    straight, crashing = begin(GROW), begin(GROW)
    simulate(straight, "s", quality)
    assert simulate_with_crashes(crashing, quality, seed=1) > 10
    keys = [{run.key for run in reads.progress(s.database, sweep_of(s)).stage_runs} for s in (straight, crashing)]
    assert keys[0] == keys[1]
    assert depths(straight, sweep_of(straight)) == depths(crashing, sweep_of(crashing))


def test_population_based_training_goes_on_with_the_population_and_beats_it(begin):
    text = GROW.replace("{population: 6, keep: 2, children: 3}", "{preset: pbt, population: 10}")
    store = begin(text)
    simulate(store, "s", quality, chance=random.Random(5))
    sweep = sweep_of(store)
    assert len(trials(store, sweep)) == 10 + 2 + 2
    assert len(in_state(store, sweep, TrialState.COMPLETE)) == 10
    assert len(in_state(store, sweep, TrialState.PRUNED)) == 4
    tree = submitting.stage_tree(sweep.resolved, submitting.new_trials(sweep.resolved))
    assert (tree.trials, tree.stage_runs) == (14, {4: 10, 8: 10, 16: 10})


def test_the_budget_bounds_the_trials(begin):
    store = begin(GROW + "budget: {max_trials: 9}\n")
    simulate(store, "s", quality)
    sweep = sweep_of(store)
    assert len(trials(store, sweep)) == 9
    assert generations(sweep.resolved.growing, (4, 8, 16), 9) == [(6, 0), (5, 3), (2, 0)]
    assert len(in_state(store, sweep, TrialState.COMPLETE)) == 2


def test_a_population_that_differs_late_shares_its_beginning_and_has_no_children_before(begin):
    text = GROW.replace("max: 0.02}", "max: 0.02, from_stage: 8}").replace(
        "  network.feature_max: {values: [8, 16]}\n", ""
    )
    store = begin(text)
    simulate(store, "s", quality)
    sweep = sweep_of(store)
    runs = Counter(run.resolution for run in reads.progress(store.database, sweep).stage_runs)
    assert runs == {4: 1, 8: 6, 16: 6}
    assert len(trials(store, sweep)) == 6 + 4
