"""What a sampler is told of earlier trials: their parameters, and how good they were on a scale that all share.

Trials are stopped at different resolutions, and a value at 16 px says nothing beside one at 64 px. So a sampler is told
no values but *places*, between 0 (worst) and 1 (best):

- At the lowest resolution that was measured, the place of a stage run is its mid-rank among all stage runs measured
  there: the i-th worst of n has (i - 1/2) / n. Ranks, because a metric's scale changes from one resolution to the next
  and a few broken trainings would stretch any other scale.
- At the next resolution, the stage runs measured there have each their parent's place, and deal these places out among
  themselves anew, in the order of their new values. So a trial that was promoted keeps its distance from those that
  were stopped, whatever it does later; and one that went on by chance and turns out well rises above those.

Each trial is told at its last measured resolution. Trials on one stage run share its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scheduler.search.ranges import contains
from scheduler.space import SearchSpace
from t2f.settings import Value

FAILED_PLACE = 0.0  # below every place there is: 1 / 2n and up


class ToldState(StrEnum):
    MEASURED = "measured"  # complete, pruned, or waiting at a rung
    RUNNING = "running"  # not known yet: samplers take it for a bad one, so that they look elsewhere
    FAILED = "failed"  # failed or diverged: the worst there is


@dataclass(frozen=True, kw_only=True)
class Told:
    """One earlier trial, as a sampler sees it."""

    number: int  # of the trial; below 0 for trials of the sweep that this one starts from
    parameters: Mapping[str, Value]  # that took effect: none that begins at a stage it never reached
    state: ToldState
    places: tuple[float, ...] = ()  # one an objective, 1 the best; empty while running


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A stage run with its values, turned so that more is better: one an objective."""

    stage_run_id: int
    parent_id: int | None
    resolution: int
    values: tuple[float, ...]


def places(runs: Sequence[Measured]) -> dict[int, tuple[float, ...]]:
    """Stage run -> its places, one an objective."""
    if not runs:
        return {}
    found = [_places(runs, objective) for objective in range(len(runs[0].values))]
    return {run.stage_run_id: tuple(one[run.stage_run_id] for one in found) for run in runs}


def _places(runs: Sequence[Measured], objective: int) -> dict[int, float]:
    by_resolution: dict[int, list[Measured]] = {}
    for run in runs:
        by_resolution.setdefault(run.resolution, []).append(run)
    found: dict[int, float] = {}
    for _, rung in sorted(by_resolution.items()):
        ordered = sorted(rung, key=lambda run: (run.values[objective], run.stage_run_id))
        # A stage run whose parent was not measured takes the place that its rank here would have.
        own = {run.stage_run_id: (rank + 0.5) / len(ordered) for rank, run in enumerate(ordered)}
        dealt = sorted(found.get(run.parent_id, own[run.stage_run_id]) for run in ordered)
        first = 0
        for last, run in enumerate(ordered):
            if last + 1 < len(ordered) and ordered[last + 1].values[objective] == run.values[objective]:
                continue
            share = sum(dealt[first : last + 1]) / (last + 1 - first)  # equal values share the mean of their places
            for equal in ordered[first : last + 1]:
                found[equal.stage_run_id] = share
            first = last + 1
    return found


def inside(space: SearchSpace, parameters: Mapping[str, Value]) -> bool:
    """Whether a trial with these parameters could be one of this space: nothing outside, nothing too much.

    Parameters that begin at a later stage may be missing.
    """
    expected = {parameter.name: parameter for parameter in space.parameters if parameter.is_active(parameters)}
    return parameters.keys() <= expected.keys() and all(
        contains(parameter, parameters[name]) if name in parameters else parameter.from_stage is not None
        for name, parameter in expected.items()
    )


def most_telling(told: Sequence[Told], limit: int) -> list[Told]:
    """At most so many rows, in their order: what runs, the best fifth of the limit, and of the others the newest."""
    if len(told) <= limit:
        return list(told)
    running = [row for row in told if row.state == ToldState.RUNNING][-limit // 2 :]
    known = [row for row in told if row.state != ToldState.RUNNING]
    best = sorted(known, key=lambda row: (-sum(row.places), row.number))[: limit // 5]
    kept = {row.number for row in (*running, *best)}
    newest = [row for row in known if row.number not in kept][-(limit - len(kept)) :]
    kept |= {row.number for row in newest}
    return [row for row in told if row.number in kept]
