"""Pareto fronts against a slow reference."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.objectives import Objective, fronts


def dominates(one, other) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


def slow_fronts(points) -> list[int]:
    found, left, number = {}, set(range(len(points))), 0
    while left:
        number += 1
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        found |= dict.fromkeys(front, number)
        left -= front
    return [found[i] for i in range(len(points))]


@given(st.integers(1, 3).flatmap(lambda k: st.lists(st.tuples(*[st.integers(0, 4)] * k), max_size=12)))
def test_fronts_are_those_of_the_definition(points):
    assert fronts(points) == slow_fronts(points)


def test_equal_points_share_a_front():
    assert fronts([(1, 0), (0, 1), (1, 0), (0, 0)]) == [1, 1, 1, 2]
    assert fronts([]) == []


def test_turning_makes_more_better():
    assert Objective(metric="swd", goal="minimize").turned(3) == -3
    assert Objective(metric="score", goal="maximize").turned(0.5) == 0.5
