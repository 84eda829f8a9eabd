"""Forms give, letter by letter, what building and hashing each stage gives."""

import json
import random

import pytest

from scheduler.forms import StageForms
from scheduler.search.listed import random_trial
from scheduler.space import Deviation, SearchSpace
from scheduler.store import NewTrial
from scheduler.submitting import stage_tree
from t2f.errors import SpecError
from t2f.spec import StagePlan, stage_keys

SWEEP = """
name: mixed
data: {dataset: tiny}
preset: small
method: random
budget: {max_trials: 60}
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
parameters:
  text.hidden: {values: [16, 32]}
  network.feature_max: {distribution: int_uniform, min: 8, max: 9}
  network.feature_base: {values: [64, 128]}
  loss.name: {values: [wgan-gp, logistic-r1]}
  loss.r1_gamma: {distribution: log_uniform, min: 0.1, max: 10, when: {loss.name: logistic-r1}}
  augment.method: {values: [none, diffaugment], from_stage: 8}
  generator.learning_rate: {distribution: log_uniform, min: 1.0e-4, max: 3.0e-3, q: 0.001}
  discriminator.learning_rate: {distribution: uniform, min: 0.001, max: 0.003, from_stage: 16}
  ema.half_life: {per_stage: [1000, 1500, 2000]}
"""


@pytest.fixture
def space(resolved) -> SearchSpace:
    return resolved(SWEEP).space


def test_stages_and_keys_are_those_of_the_space(space):
    forms = StageForms(space)
    for number in range(120):
        chosen = random_trial(space, number)
        stages = space.stages(chosen)
        for root in (None, "unshared s/T1"):
            keys = stage_keys(stages, root)
            for index, stage in enumerate(stages):
                found = forms.stage(chosen, index, keys[index - 1] if index else root)
                assert found.key == keys[index]
                assert found.spec == json.dumps(stage.to_json())
                assert (found.resolution, found.images) == (stage.resolution, stage.images)


def test_nodes_are_shared_exactly_where_keys_are(space):
    forms, by_node, by_key = StageForms(space), {}, {}
    for number in range(120):
        chosen = random_trial(space, number)
        keys = stage_keys(space.stages(chosen))
        for (node, _, _), key in zip(forms.nodes(chosen), keys, strict=True):
            assert by_node.setdefault(node, key) == key
            assert by_key.setdefault(key, node) == node
    assert 0 < len(by_key) < 360


def test_deviations_are_built_one_by_one(space):
    deviation = Deviation(
        seed=7,
        plan=StagePlan(resolutions=(4, 8, 16, 32), images=(40, 80, 80, 80), fade=(0.5,) * 4, batch=(8,) * 4),
        late={32: {"generator.learning_rate": 0.001}},
    )
    chosen = random_trial(space, 0)
    keys = stage_keys(space.stages(chosen, deviation))
    forms = StageForms(space)
    assert forms.stage(chosen, 1, keys[0], deviation).key == keys[1]
    assert [resolution for _, resolution, _ in forms.nodes(chosen, deviation=deviation)] == [4, 8, 16, 32]


def test_values_that_are_not_allowed_are_refused_in_gaps_too(space):
    chosen = {**random_trial(space, 0), "generator.learning_rate": -1.0}
    with pytest.raises(SpecError, match=r"generator.learning_rate = -1.0 is not allowed"):
        StageForms(space).stage(chosen, 0, None)


def test_the_tree_counts_what_the_keys_say(resolved):
    sweep = resolved(SWEEP)
    chance = random.Random(0)
    trials = [
        NewTrial(parameters=random_trial(sweep.space, chance.randrange(30)), origin="random", attributes={})
        for _ in range(60)
    ]
    keys = {}
    for trial in trials:
        stages = sweep.space.stages(trial.parameters)
        for stage, key in zip(stages, stage_keys(stages), strict=True):
            keys.setdefault(stage.resolution, set()).add(key)
    tree = stage_tree(sweep, trials)
    assert tree.stage_runs == {resolution: len(found) for resolution, found in keys.items()}
    assert tree.images == 40 * sum(map(len, keys.values()))
