"""Ranking: furthest first, then the metric, and nothing that is no number."""

from dataclasses import replace

from scheduler.objectives import Objective
from scheduler.ranking import Standing, gates_of, rank
from scheduler.states import TrialState

UP = [Objective(metric="score", goal="maximize")]
DOWN = [Objective(metric="swd", goal="minimize")]


def standing(
    number: int,
    resolution: int,
    value: float | None,
    state=TrialState.COMPLETE,
    run: int | None = None,
    gates: tuple[str, ...] = (),
):
    return Standing(
        trial_id=number,
        number=number,
        state=state,
        stage_run_id=run if run is not None else 100 + number,
        resolution=resolution,
        values=(value,),
        gates=gates,
    )


def numbers(ranked) -> list[tuple[int | None, int]]:
    return [(one.rank, one.standing.number) for one in ranked]


def test_a_trial_that_went_further_ranks_higher_whatever_its_value():
    found = rank([standing(0, 16, 0.9, TrialState.PRUNED), standing(1, 32, 0.2), standing(2, 32, 0.4)], UP)
    assert numbers(found) == [(1, 2), (2, 1), (3, 0)]


def test_smaller_is_better_where_the_goal_says_so():
    assert numbers(rank([standing(0, 32, 9.0), standing(1, 32, 3.0)], DOWN)) == [(1, 1), (2, 0)]


def test_values_that_are_no_numbers_and_broken_trials_never_rank():
    out = [TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED]
    standings = [standing(n, 32, 0.9, state) for n, state in enumerate(out)]
    standings += [standing(5, 32, float("nan")), standing(6, 32, float("inf")), standing(7, 32, None)]
    assert rank(standings, UP) == []


def test_trials_on_one_stage_run_share_a_rank():
    found = rank([standing(0, 8, 0.5, run=1), standing(1, 8, 0.5, run=1), standing(2, 8, 0.1)], UP)
    assert numbers(found) == [(1, 0), (1, 1), (3, 2)]


def test_behind_a_gate_nobody_has_a_rank_however_good():
    found = rank([standing(0, 32, 0.9, gates=("copies",)), standing(1, 16, 0.2), standing(2, 32, 0.4)], UP)
    assert numbers(found) == [(1, 2), (2, 1), (None, 0)]
    alone = rank([standing(0, 32, 0.1, gates=("text",)), standing(1, 32, 0.2, gates=("text",))], UP)
    assert numbers(alone) == [(None, 1), (None, 0)]


def test_gates_are_read_from_the_figures_of_an_evaluation():
    assert gates_of({}) == ()
    assert gates_of({"closed_gates": {"value": 0.0, "low": None, "high": None}}) == ()
    assert gates_of({"closed_gates": {"value": 2.0, "note": "text, collapse"}}) == ("text", "collapse")


TWO = [Objective(metric="text", goal="maximize"), Objective(metric="swd", goal="minimize")]


def pair(number: int, resolution: int, text: float | None, swd: float | None, *gates: str) -> Standing:
    return replace(standing(number, resolution, None, gates=gates), values=(text, swd))


def test_of_several_objectives_the_rank_is_the_front():
    found = rank(
        [
            pair(0, 32, 0.9, 50.0),
            pair(1, 32, 0.5, 10.0),
            pair(2, 32, 0.4, 20.0),  # 1 is better in both
            pair(3, 32, 0.6, 60.0),  # 0 is better in both
            pair(4, 16, 1.0, 1.0),  # stopped earlier
            pair(5, 32, 0.95, None),
            pair(6, 32, 0.99, 1.0, "copies"),
        ],
        TWO,
    )
    assert numbers(found) == [(1, 0), (1, 1), (2, 3), (2, 2), (3, 4), (None, 6)]
    assert [one.front for one in found] == [1, 1, 2, 2, 1, None]
    assert found[0].standing.value == 0.9, "the best is the member of the front with the best first objective"


def test_of_one_objective_there_is_no_front():
    assert [one.front for one in rank([standing(0, 32, 0.2), standing(1, 32, 0.1)], UP)] == [None, None]
