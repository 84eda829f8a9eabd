"""Branches: each prefix that survives to the stage of its late parameters goes on with several draws of them."""

import random
from collections import Counter

from scheduler import reads, submitting
from scheduler.branching import branches
from scheduler.growing import Parent
from scheduler.space import Deviation, Parameter, SearchSpace
from scheduler.states import TrialState
from t2f.spec import StagePlan, stage_keys
from tests.scheduler.simulating import (
    depths,
    in_state,
    simulate,
    simulate_with_crashes,
    sweep_of,
    trials,
)

BRANCHING = """
name: branching
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
method: random
budget: {max_trials: 6}
branch: 3
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 0.001, max: 0.01}
  augment.method: diffaugment
  augment.strength: {distribution: uniform, min: 0.1, max: 1, from_stage: 16}
early_terminate: {type: halving, eta: 3}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""


def quality(stage: dict) -> float:
    return 50 * stage["settings"]["generator.learning_rate"] + 0.1 * stage["settings"]["augment.strength"]


def space(*late: Parameter) -> SearchSpace:
    plan = StagePlan(resolutions=(4, 8, 16), images=(40,) * 3, fade=(0.5,) * 3, batch=(8,) * 3)
    rate = Parameter(name="generator.learning_rate", values=(0.001, 0.002, 0.003))
    return SearchSpace(data_key="d" * 64, seed=0, preset="small", plan=plan, parameters=(rate, *late))


def test_branches_differ_only_in_what_is_drawn_late():
    late = Parameter(name="discriminator.learning_rate", distribution="uniform", low=1e-4, high=1e-2, from_stage=16)
    prefix = Parent(number=2, parameters={"generator.learning_rate": 0.002, late.name: 0.005}, deviation=Deviation())
    found = branches(space(late), prefix, after=8, count=3)
    assert len(found) == 3
    assert {one.parameters["generator.learning_rate"] for one in found} == {0.002}
    assert len({one.parameters[late.name] for one in found} | {0.005}) == 4
    keys = [stage_keys(space(late).stages(one.parameters)) for one in (prefix, *found)]
    assert len({key[:2] for key in keys}) == 1
    assert len({key[2] for key in keys}) == 4
    assert found == branches(space(late), prefix, after=8, count=3)
    assert {one.attributes["passes"] for one in found} == {8}


def test_a_list_that_is_used_up_gives_fewer_branches():
    late = Parameter(name="discriminator.learning_rate", values=(0.001, 0.002), from_stage=16)
    prefix = Parent(number=2, parameters={"generator.learning_rate": 0.002, late.name: 0.001}, deviation=Deviation())
    (only,) = branches(space(late), prefix, after=8, count=5)
    assert only.parameters[late.name] == 0.002


def test_surviving_prefixes_branch_and_share_what_they_have(begin):
    store = begin(BRANCHING)
    simulate(store, "s", quality, chance=random.Random(0))
    sweep = sweep_of(store)
    found = trials(store, sweep)
    born = [one for one in found if one.origin == "branch"]
    assert len(found) - len(born) == 6
    # 6 at 4 px, 2 at 8 px, of which 1 goes on to 16 px, in 3 ways.
    assert Counter(run.resolution for run in reads.progress(store.database, sweep).stage_runs) == {4: 6, 8: 2, 16: 3}
    assert len(born) == 2
    assert len({one.role.parent for one in born}) == 1
    assert len(in_state(store, sweep, TrialState.COMPLETE)) == 3
    assert born[0].note == f"branch of T{born[0].role.parent} after 8 px"
    tree = submitting.stage_tree(sweep.resolved, submitting.new_trials(sweep.resolved))
    assert (tree.trials, tree.stage_runs) == (18, {4: 6, 8: 6, 16: 18}), "what it would be if nobody were stopped"


def test_a_scheduler_that_dies_again_and_again_makes_each_branch_once(begin):
    straight, crashing = begin(BRANCHING), begin(BRANCHING)
    simulate(straight, "s", quality)
    assert simulate_with_crashes(crashing, quality, seed=4) > 5
    assert depths(straight, sweep_of(straight)) == depths(crashing, sweep_of(crashing))
