"""What a sweep looks for: one metric, or several of which none is more important, and the Pareto front of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Objective:
    metric: str
    goal: str  # maximize or minimize

    def turned(self, value: float) -> float:
        """The value so that more is better."""
        return value if self.goal == "maximize" else -value


def fronts(values: Sequence[Sequence[float]]) -> list[int]:
    """The number of each point's front, from 1: 1 for points that no other dominates, 2 for those that only points of
    front 1 dominate, and so on (doi:10.1109/4235.996017, section III-A). More is better in each value.

    A point dominates another one that is nowhere better and somewhere worse. Of one value the fronts are the ranks.
    """
    if not values:
        return []
    points_NV = np.asarray(values, dtype=float)
    found_N = np.zeros(len(points_NV), dtype=int)
    front = 0
    while (left := np.flatnonzero(found_N == 0)).size:
        front += 1
        found_N[left[_undominated(points_NV[left])]] = front
    return found_N.tolist()


def _undominated(points_NV: np.ndarray) -> np.ndarray:
    """Which of these points no other one dominates."""
    # Sorted so that a point can only be dominated by one before it: compared with the front so far, not with all.
    order = np.lexsort(-points_NV.T[::-1])
    members: list[int] = []
    for index in order:
        point, front_FV = points_NV[index], points_NV[members]
        if not ((front_FV >= point).all(axis=1) & (front_FV > point).any(axis=1)).any():
            members.append(int(index))
    return np.array(sorted(members), dtype=int)
