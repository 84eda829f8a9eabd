"""Grid and random draws."""

import math

import numpy as np
import pytest

from scheduler.search.listed import grid, random_shares, random_trial
from scheduler.search.ranges import draw
from scheduler.space import Parameter, SearchSpace
from t2f.errors import SpecError
from t2f.spec import StagePlan, stage_keys

PLAN = StagePlan(resolutions=(4, 8, 16, 32), images=(10,) * 4, fade=(0.5,) * 4, batch=(4,) * 4)


def space(*parameters: Parameter, seed: int = 0) -> SearchSpace:
    return SearchSpace(data_key="d", seed=seed, preset="small", plan=PLAN, parameters=parameters)


LOSS = Parameter(name="loss.name", values=("wgan-gp", "logistic-r1"))
RATE = Parameter(name="generator.learning_rate", values=(0.001, 0.002, 0.004), from_stage=16)
GAMMA = Parameter(name="loss.r1_gamma", values=(0.1, 1.0), when={"loss.name": "logistic-r1"})


def test_the_first_parameter_varies_slowest():
    found = list(grid(space(LOSS, RATE)))
    assert [(t["loss.name"], t["generator.learning_rate"]) for t in found] == [
        (loss, rate) for loss in LOSS.values for rate in RATE.values
    ]


def test_inactive_parameters_multiply_nothing():
    found = list(grid(space(LOSS, GAMMA)))
    assert found == [
        {"loss.name": "wgan-gp"},
        {"loss.name": "logistic-r1", "loss.r1_gamma": 0.1},
        {"loss.name": "logistic-r1", "loss.r1_gamma": 1.0},
    ]


def test_a_late_parameter_splits_the_tree_where_it_begins():
    keys = [stage_keys(space(LOSS, RATE).stages(trial)) for trial in grid(space(LOSS, RATE))]
    assert [len({key[depth] for key in keys}) for depth in range(4)] == [2, 2, 6, 6]


def test_a_grid_too_large_is_refused_before_it_is_built():
    many = tuple(n / 1e7 for n in range(1, 1001))
    names = ("generator.learning_rate", "discriminator.learning_rate", "loss.drift", "loss.kl_weight")
    with pytest.raises(SpecError, match="1,000,000,000,000 combinations"):
        next(grid(space(*(Parameter(name=name, values=many) for name in names))))


def test_a_grid_needs_values():
    ranged = Parameter(name="loss.drift", distribution="uniform", low=0.1, high=1.0)
    with pytest.raises(SpecError, match="has a distribution"):
        next(grid(space(ranged)))


RANGED = Parameter(name="generator.learning_rate", distribution="log_uniform", low=1e-4, high=1e-2)


def test_random_trials_depend_on_seed_and_number_alone():
    one = [random_trial(space(LOSS, GAMMA, RANGED), n) for n in range(20)]
    assert one == [random_trial(space(LOSS, GAMMA, RANGED), n) for n in range(20)]
    assert one != [random_trial(space(LOSS, GAMMA, RANGED, seed=1), n) for n in range(20)]
    # An inactive parameter does not shift the draws after it.
    rates = [trial["generator.learning_rate"] for trial in one]
    assert len(set(rates)) == 20
    assert all(("loss.r1_gamma" in trial) == (trial["loss.name"] == "logistic-r1") for trial in one)


def test_random_shares_are_spread_evenly_and_independent():
    shares = np.array([random_shares(seed, 3) for seed in range(4000)])
    assert shares.min() >= 0.0
    assert shares.max() < 1.0
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in shares.T])
    # 19 degrees of freedom: chi squared is above 43.8 once in a thousand
    assert ((counts - 200) ** 2 / 200).sum(axis=1).max() < 43.8
    assert np.abs(np.corrcoef(shares.T) - np.eye(3)).max() < 0.06  # four standard errors
    assert np.abs(np.corrcoef(shares[:-1, 0], shares[1:, 0])[0, 1]) < 0.06
    assert random_shares(2**64 - 1, 2) == random_shares(2**64 - 1, 5)[:2]


def test_log_uniform_has_its_median_at_the_geometric_mean():
    rates = sorted(random_trial(space(RANGED), n)["generator.learning_rate"] for n in range(400))
    assert 1e-4 <= rates[0] < rates[-1] <= 1e-2
    assert abs(math.log10(rates[200]) + 3) < 0.2


def test_whole_numbers_cover_their_range_evenly():
    layers = Parameter(name="text.layers", distribution="int_uniform", low=1, high=3)
    found = [draw(layers, (share + 0.5) / 300) for share in range(300)]
    assert {value: found.count(value) for value in set(found)} == {1: 100, 2: 100, 3: 100}


def test_rounded_values_are_multiples():
    stepped = Parameter(name="loss.kl_weight", distribution="uniform", low=0.0, high=1.0, step=0.25)
    assert {draw(stepped, share / 50) for share in range(50)} == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_condition_on_a_later_parameter_is_refused():
    with pytest.raises(SpecError, match="no parameter above it"):
        space(GAMMA, LOSS)
