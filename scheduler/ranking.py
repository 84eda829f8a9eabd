"""Ranking a sweep's trials: who got furthest, and with which value of the sweep's metric or metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler.objectives import Objective, fronts
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
    values: tuple[float | None, ...]  # of the objectives' metrics
    gates: tuple[str, ...] = ()  # that keep it from winning

    @property
    def value(self) -> float | None:
        """Of the metric, or of the first of several."""
        return self.values[0]


def told_standing(
    trial_id: int,
    number: int,
    state: TrialState,
    told: Mapping[str, float],
    *,
    resolution: int,
    wanted: Sequence[Objective],
) -> Standing:
    """That of a trial which somebody's own loop trained, by what the loop told."""
    return Standing(
        trial_id=trial_id,
        number=number,
        state=state,
        stage_run_id=-trial_id,  # it has none, and shares with nobody
        resolution=resolution,
        values=tuple(told.get(objective.metric) for objective in wanted),
    )


@dataclass(frozen=True, kw_only=True)
class Ranked:
    rank: int | None  # 1 is the best, None behind a gate; trials whose deepest stage run is the same share a rank
    front: int | None  # of several objectives: 1 is the Pareto front among those who got as far; None behind a gate
    standing: Standing
    fresh: "Fresh | None" = None  # what a finalist's fresh seeds gave: it is ranked by their mean


def gates_of(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the closed gates among the figures of an evaluation."""
    note = metrics.get("closed_gates", {}).get("note")
    return tuple(note.split(", ")) if note else ()


def rank(standings: Sequence[Standing], objectives: Sequence[Objective]) -> list[Ranked]:
    """The trials that have a value of each objective, best first: by resolution reached, by the metric, by number.

    Values of different resolutions are not comparable, so a trial that was stopped early ranks below every one that
    went further. Those behind a closed gate come last and have no rank: the first of them is best only where nobody
    passed. Failed, diverged and canceled trials, and values that are no numbers, are left out.

    Of several objectives the rank is the number of the front, counted on from one resolution to the one below; inside
    a front the first objective decides the order, so the best trial is that member of the first front.
    """
    out = (TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED)
    eligible = [
        standing
        for standing in standings
        if all(value is not None and math.isfinite(value) for value in standing.values) and standing.state not in out
    ]
    turned = {
        one.trial_id: tuple(objective.turned(value) for objective, value in zip(objectives, one.values, strict=True))
        for one in eligible
    }
    front_of = _fronts(eligible, turned) if len(objectives) > 1 else {}
    eligible.sort(
        key=lambda s: (
            bool(s.gates),
            -s.resolution,
            front_of.get(s.trial_id, 0),
            *(-value for value in turned[s.trial_id]),
            s.number,
        )
    )
    ranked: list[Ranked] = []
    counted = 0  # fronts of higher resolutions
    for place, standing in enumerate(eligible, start=1):
        before = ranked[-1] if ranked else None
        front = front_of.get(standing.trial_id)
        if standing.gates:
            number = None
        elif front is not None:
            if before is not None and before.standing.resolution != standing.resolution:
                counted = before.rank
            number = counted + front
        else:
            same = before is not None and before.standing.stage_run_id == standing.stage_run_id
            number = before.rank if same else place
        ranked.append(Ranked(rank=number, front=front, standing=standing))
    return ranked


def _fronts(standings: Sequence[Standing], turned: Mapping[int, tuple[float, ...]]) -> dict[int, int]:
    """Trial -> its front among the trials that reached the same resolution and are behind no gate."""
    found: dict[int, int] = {}
    for resolution in {standing.resolution for standing in standings}:
        here = [one.trial_id for one in standings if one.resolution == resolution and not one.gates]
        found |= zip(here, fronts([turned[trial_id] for trial_id in here]), strict=True)
    return found
