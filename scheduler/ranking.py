"""Ranking a sweep's trials: who got furthest, and with which value of the sweep's metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.states import TrialState


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of one trial: the deepest stage of it that was measured."""

    trial_id: int
    number: int
    state: TrialState
    stage_run_id: int
    resolution: int
    value: float | None  # of the metric


@dataclass(frozen=True, kw_only=True)
class Ranked:
    rank: int  # 1 is the best; trials whose deepest stage run is the same share a rank
    standing: Standing


def rank(standings: Sequence[Standing], *, goal: str) -> list[Ranked]:
    """The trials that have a value, best first: by resolution reached, then by the metric, then by number.

    Values of different resolutions are not comparable, so a trial that was stopped early ranks below every one that
    went further. Failed, diverged and canceled trials, and values that are no numbers, are not ranked.
    """
    out = (TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED)
    sign = -1 if goal == "maximize" else 1
    eligible = [
        standing
        for standing in standings
        if standing.value is not None and math.isfinite(standing.value) and standing.state not in out
    ]
    eligible.sort(key=lambda s: (-s.resolution, sign * s.value, s.number))
    ranked: list[Ranked] = []
    for place, standing in enumerate(eligible, start=1):
        same = bool(ranked) and ranked[-1].standing.stage_run_id == standing.stage_run_id
        ranked.append(Ranked(rank=ranked[-1].rank if same else place, standing=standing))
    return ranked
