"""The trials that a sweep adds to its first ones, at most: grown children, branches, finalists; for the forecast."""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.branching import late_at
from scheduler.growing import generations
from scheduler.sweepfile import ResolvedSweep


@dataclass(frozen=True, kw_only=True)
class Counts:
    trials: int
    stage_runs: Mapping[int, int]  # px -> distinct ones
    wanted: Mapping[int, int]  # px -> trials whose path has this stage
    finalists: int = 0  # trials among these that are finalists' fresh seeds


def with_later_trials(resolved: ResolvedSweep, first: Counts) -> Counts:
    """The counts of the first trials together with those of all that may follow, if nobody is stopped at a rung."""
    found = first
    if resolved.growing is not None:
        found = _grown(resolved, found)
    if resolved.branch > 1:
        found = _branched(resolved, found)
    fresh = min(resolved.replicate.top, first.trials) * resolved.replicate.seeds
    if fresh:
        found = Counts(
            trials=found.trials + fresh,
            stage_runs={px: count + fresh for px, count in found.stage_runs.items()},
            wanted={px: count + fresh for px, count in found.wanted.items()},
            finalists=fresh,
        )
    return found


def _grown(resolved: ResolvedSweep, first: Counts) -> Counts:
    resolutions = resolved.space.plan.resolutions
    stage_runs, wanted, trials = dict(first.stage_runs), dict.fromkeys(resolutions, 0), first.trials
    for index, (alive, born) in enumerate(generations(resolved.growing, resolutions, resolved.budget.max_trials)):
        trials += born
        wanted[resolutions[index]] += alive
        for earlier in resolutions[:index]:
            wanted[earlier] += born
        if index and resolutions[index - 1] >= resolved.growing.min_stage:
            stage_runs[resolutions[index]] = alive
    return Counts(trials=trials, stage_runs=stage_runs, wanted=wanted)


def _branched(resolved: ResolvedSweep, first: Counts) -> Counts:
    factor, stage_runs = 1, {}
    for px, count in first.stage_runs.items():
        factor *= resolved.branch if late_at(resolved.space, px) else 1
        stage_runs[px] = count * factor
    return Counts(
        trials=first.trials * factor,
        stage_runs=stage_runs,
        wanted={px: count * factor for px, count in first.wanted.items()},
    )
