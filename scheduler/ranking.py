"""Ranking a sweep's trials: who got furthest, and with which value of the sweep's metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler.states import TrialState

if TYPE_CHECKING:
    from scheduler.finalists import Fresh


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of one trial: the deepest stage of it that was measured."""

    trial_id: int
    number: int
    state: TrialState
    stage_run_id: int
    resolution: int
    value: float | None  # of the metric
    gates: tuple[str, ...] = ()  # that keep it from winning


@dataclass(frozen=True, kw_only=True)
class Ranked:
    rank: int | None  # 1 is the best, None behind a gate; trials whose deepest stage run is the same share a rank
    standing: Standing
    fresh: "Fresh | None" = None  # what a finalist's fresh seeds gave: it is ranked by their mean


def gates_of(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the closed gates among the figures of an evaluation."""
    note = metrics.get("closed_gates", {}).get("note")
    return tuple(note.split(", ")) if note else ()


def rank(standings: Sequence[Standing], *, goal: str) -> list[Ranked]:
    """The trials that have a value, best first: by resolution reached, then by the metric, then by number.

    Values of different resolutions are not comparable, so a trial that was stopped early ranks below every one that
    went further. Those behind a closed gate come last and have no rank: the first of them is best only where nobody
    passed. Failed, diverged and canceled trials, and values that are no numbers, are left out.
    """
    out = (TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED)
    sign = -1 if goal == "maximize" else 1
    eligible = [
        standing
        for standing in standings
        if standing.value is not None and math.isfinite(standing.value) and standing.state not in out
    ]
    eligible.sort(key=lambda s: (bool(s.gates), -s.resolution, sign * s.value, s.number))
    ranked: list[Ranked] = []
    for place, standing in enumerate(eligible, start=1):
        same = bool(ranked) and ranked[-1].standing.stage_run_id == standing.stage_run_id
        number = None if standing.gates else ranked[-1].rank if same else place
        ranked.append(Ranked(rank=number, standing=standing))
    return ranked
