"""Places: ranks that trials of different resolutions share."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from scheduler.search.told import Measured, inside, places
from tests.scheduler.search.spaces import GAMMA, LATE, LOSS, RATE, space


def run(number: int, resolution: int, value: float, parent: int | None = None) -> Measured:
    return Measured(stage_run_id=number, parent_id=parent, resolution=resolution, values=(value,))


def slow_places(runs: list[Measured]) -> dict[int, Fraction]:
    """By the words of the docstring: each rung deals out what its entries have, equal values share."""
    found: dict[int, Fraction] = {}
    for resolution in sorted({one.resolution for one in runs}):
        rung = [one for one in runs if one.resolution == resolution]
        have = []
        for one in rung:
            worse = sum((other.values, other.stage_run_id) < (one.values, one.stage_run_id) for other in rung)
            have.append(found.get(one.parent_id, Fraction(2 * worse + 1, 2 * len(rung))))
        have.sort()
        for one in rung:
            below = sum(other.values < one.values for other in rung)
            equal = sum(other.values == one.values for other in rung)
            found[one.stage_run_id] = sum(have[below : below + equal], Fraction()) / equal
    return found


@st.composite
def trees(draw):
    """Stage runs of up to three resolutions, some with several children, some with none."""
    runs, parents, number = [], [None] * draw(st.integers(1, 6)), 0
    for resolution in (4, 8, 16):
        here = []
        for parent in parents:
            runs.append(run(number, resolution, draw(st.integers(0, 5)), parent))
            here.append(number)
            number += 1
        parents = [one for one in here for _ in range(draw(st.integers(0, 2)))]
    return runs


@given(trees())
def test_places_are_those_of_the_definition(runs):
    found = {number: place[0] for number, place in places(runs).items()}
    expected = slow_places(runs)
    assert found.keys() == expected.keys()
    assert all(abs(found[number] - float(expected[number])) < 1e-9 for number in found)
    assert all(0 < place < 1 for place in found.values())


def test_a_promoted_trial_stays_above_those_that_were_stopped_however_it_goes_on():
    first = [run(number, 4, number / 10) for number in range(6)]
    found = places([*first, run(10, 8, 0.01, parent=5), run(11, 8, 0.02, parent=4)])
    assert found[10] == found[4], "the worse of the two has the lower of their two places"
    assert found[11] == found[5]
    assert found[10] > found[3]


def test_values_of_a_higher_resolution_are_never_compared_with_those_of_a_lower():
    low = places([run(0, 4, 0.9), run(1, 4, 0.8), run(2, 8, 0.1, parent=0)])
    high = places([run(0, 4, 0.9), run(1, 4, 0.8), run(2, 8, 0.95, parent=0)])
    assert low == high


def test_a_random_control_that_turns_out_well_rises():
    first = [run(number, 4, number / 10) for number in range(6)]
    found = places([*first, run(10, 8, 0.9, parent=0), run(11, 8, 0.2, parent=5)])
    assert found[10] == found[5]
    assert found[11] == found[0]


def test_each_objective_has_places_of_its_own():
    runs = [
        Measured(stage_run_id=0, parent_id=None, resolution=4, values=(0.9, -5.0)),
        Measured(stage_run_id=1, parent_id=None, resolution=4, values=(0.1, -1.0)),
    ]
    assert places(runs) == {0: (0.75, 0.25), 1: (0.25, 0.75)}
    assert places([]) == {}


def test_inside_means_that_a_trial_could_be_one_of_the_space():
    whole = space(RATE, LOSS, GAMMA, LATE)
    good = {"generator.learning_rate": 1e-3, "loss.name": "wgan-gp"}
    assert inside(whole, good), "a late parameter may be missing"
    assert inside(whole, {**good, "augment.strength": 0.5})
    assert not inside(whole, {**good, "generator.learning_rate": 0.5})
    assert not inside(whole, {**good, "loss.r1_gamma": 1.0}), "it is not tried under this loss"
    assert not inside(whole, {**good, "loss.name": "hinge"}), "it lacks gamma"
    assert not inside(whole, {**good, "loss.drift": 1.0})
