"""The last line of every benchmark: a JSON list of goals, each with what was measured of it in that very run."""

import statistics
from collections.abc import Sequence
from typing import Any

from t2f.metrics.figures import Figure


def entry(
    goal: str,
    target: float,
    measured: float,
    better: str,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int = 1,
    **beside: Any,
) -> dict[str, Any]:
    """One goal. better: "higher" or "lower". low, high: its interval over n of what it was measured on, or itself."""
    bounds = (measured if bound is None else bound for bound in (low, high))
    numbers = dict(zip(("measured", "low", "high"), (round(one, 4) for one in (measured, *bounds)), strict=True))
    return {"goal": goal, "target": target, **numbers, "n": n, "better": better, **beside}


def figure_entry(goal: str, target: float, figure: Figure, n: int, better: str) -> dict[str, Any]:
    return entry(goal, target, figure.value, better, low=figure.low, high=figure.high, n=n)


def rounds_entry(goal: str, target: float, rounds: Sequence[float], better: str) -> dict[str, Any]:
    """The median of some rounds, the smallest and the largest."""
    median = statistics.median(rounds)
    return entry(goal, target, median, better, low=min(rounds), high=max(rounds), n=len(rounds))
