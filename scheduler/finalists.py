"""Finalists: the best trials run again with fresh seeds, and are ranked by what these give. Pure functions.

The seed that a trial was selected with flatters it: the best of many is partly the luckiest. So that seed does not
count in a finalist's mean.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scheduler.objectives import Objective
from scheduler.ranking import Ranked, Standing
from scheduler.roles import Role
from scheduler.space import Deviation
from scheduler.states import TrialState
from scheduler.store.rows import NewTrial
from t2f.errors import SpecError
from t2f.metrics.figures import Figure, block_figure, decimals, interval_text
from t2f.settings import Value
from t2f.spec import digest
from t2f.trainfile import Section

ORIGIN = "replicate"


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """How many of the best run again, each with how many fresh seeds."""

    top: int = 0
    seeds: int = 0

    @property
    def trials(self) -> int:
        return self.top * self.seeds


def read_replicate(file: Section, objectives: Sequence[Objective]) -> Replicate:
    section = file.section("replicate")
    section.only(("top", "seeds"))
    if not section.content:
        return Replicate()
    if len(objectives) > 1:
        raise SpecError(
            f"{section.where} is not allowed with several objectives (metric is a list), since finalists are ranked by "
            "one mean; remove it, or give one metric"
        )
    return Replicate(
        top=section.whole("top", default=3, low=1, high=1000), seeds=section.whole("seeds", default=3, low=1, high=1000)
    )


def fresh_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Seeds that a sweep's finalists share, so that they are compared seed by seed; never the sweep's own."""
    found: list[int] = []
    number = 0
    while len(found) < count:
        fresh = int(digest([seed, "replicate", number])[:8], 16)
        number += 1
        if fresh != seed and fresh not in found:
            found.append(fresh)
    return tuple(found)


def finalists(ranked: Iterable[Ranked], top: int) -> list[Standing]:
    """The best that came to their end and passed every gate; of several trials on one stage run the first.

    ranked: without the replicates, by the seed they were selected with.
    """
    found: dict[int, Standing] = {}
    for one in ranked:
        if one.rank is not None and one.standing.state == TrialState.COMPLETE:
            found.setdefault(one.standing.stage_run_id, one.standing)
    return list(found.values())[:top]


def replicates(
    number: int, parameters: Mapping[str, Value], deviation: Deviation, seeds: Iterable[int]
) -> tuple[NewTrial, ...]:
    """A finalist's training again, once with each of these seeds."""
    return tuple(
        NewTrial(
            parameters=dict(parameters),
            origin=ORIGIN,
            attributes={"parent": number, "skips_rungs": True, "deviation": replace(deviation, seed=seed).to_json()},
        )
        for seed in seeds
    )


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What a finalist's fresh seeds gave."""

    mean: Figure  # with Student's interval over the seeds, from three on
    standings: tuple[Standing, ...]  # of the seeds that came to their end, by trial number

    def to_json(self, sweep: str) -> dict[str, Any]:
        """The mean, and each seed's trial with its value."""
        return {**self.mean.to_json(), "trials": {f"{sweep}/T{one.number}": one.value for one in self.standings}}

    def best(self, goal: str) -> Standing:
        """The one whose model is the finalist's: the best that passed every gate.

        A sweep's winner must be one model that can be drawn with; this one was not chosen for its seed among many
        trials, only among a finalist's few, and its figures stand beside the mean.
        """
        sign = -1 if goal == "maximize" else 1
        return min(self.standings, key=lambda one: (bool(one.gates), sign * one.value, one.number))


def fresh_results(
    standings: Sequence[Standing], parents: Mapping[int, int], values: Mapping[int, float] | None = None
) -> dict[int, Fresh]:
    """Number of a finalist -> what its fresh seeds gave, where at least one came to its end.

    parents: id of a replicate's trial -> number of its finalist.
    """
    of_parent: dict[int, list[Standing]] = {}
    for one in sorted(standings, key=lambda one: one.number):
        has_value = one.value is not None and math.isfinite(one.value)
        if one.trial_id in parents and one.state == TrialState.COMPLETE and has_value:
            of_parent.setdefault(parents[one.trial_id], []).append(one)
    found = {}
    for number, those in of_parent.items():
        parts = np.array([one.value for one in those])
        note = f"mean of {len(those)} fresh seed{'s' if len(those) > 1 else ''}"
        found[number] = Fresh(mean=block_figure(float(parts.mean()), parts, note=note), standings=tuple(those))
    return found


def lift(ranked: Sequence[Ranked], fresh: Mapping[int, Fresh], goal: str) -> list[Ranked]:
    """The ranking with finalists above all others, by the mean of their fresh seeds; replicates have no place in it.

    ranked: without the replicates. A finalist none of whose fresh models passes every gate comes after those with one,
    and without a rank, as everybody behind a gate.
    """
    sign = -1 if goal == "maximize" else 1
    first = [replace(one, fresh=fresh[one.standing.number]) for one in ranked if one.standing.number in fresh]
    first.sort(key=lambda one: (sign * one.fresh.mean.value, one.standing.number))
    passed = [one for one in first if not one.fresh.best(goal).gates]
    closed = [replace(one, rank=None) for one in first if one.fresh.best(goal).gates]
    others = [one for one in ranked if one.standing.number not in fresh]
    in_order = [*passed, *(one for one in others if one.rank is not None)]
    found: list[Ranked] = []
    for place, one in enumerate(in_order, start=1):
        same = bool(found) and one.fresh is None and found[-1].standing.stage_run_id == one.standing.stage_run_id
        found.append(replace(one, rank=found[-1].rank if same else place))
    return [*found, *closed, *(one for one in others if one.rank is None)]


def model_standing(one: Ranked, goal: str) -> Standing:
    """Whose model stands for this place: the trial's own, or the best of a finalist's fresh seeds."""
    return one.standing if one.fresh is None else one.fresh.best(goal)


def place_of(ranking: Iterable[Ranked], trial_id: int) -> Ranked:
    """The place that a trial has, or whose fresh seed it is."""
    return next(
        one
        for one in ranking
        if trial_id == one.standing.trial_id
        or (one.fresh is not None and trial_id in [seed.trial_id for seed in one.fresh.standings])
    )


def fresh_text(one: Ranked) -> str:
    """The mean of a finalist's fresh seeds with its interval, in words."""
    mean = one.fresh.mean
    interval = interval_text(mean.low, mean.high)
    return f"{decimals(mean.value)}{interval and f' ({interval})'}, {mean.note}"


def parents_of(trials: Iterable[tuple[int, str, Mapping[str, object]]]) -> dict[int, int]:
    """Id of each replicate's trial -> number of its finalist, from (id, origin, attributes)."""
    return {trial_id: Role.of(attributes).parent for trial_id, origin, attributes in trials if origin == ORIGIN}
