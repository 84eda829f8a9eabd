"""Branches: a prefix that survives to the stage of its late parameters goes on with several draws of them. Pure."""

from collections.abc import Sequence

import numpy as np

from scheduler.growing import Parent, differing
from scheduler.search.ranges import draw
from scheduler.space import Parameter, SearchSpace
from scheduler.store.rows import NewTrial
from t2f.errors import SpecError
from t2f.settings import Value
from t2f.trainfile import Section


def read_branch(file: Section, parameters: Sequence[Parameter], first: int, method: str) -> int:
    """In how many ways each surviving prefix goes on; 1 where the file does not say.

    first: px of the sweep's first stage.
    """
    branch = file.whole("branch", default=1, low=1, high=1000)
    if branch == 1:
        return 1
    if method in ("grid", "grow"):
        other = "tries every late value already" if method == "grid" else "makes children of its own (grow: children)"
        raise SpecError(
            f"{file.at('branch')} = {branch} is not allowed with method: {method}, which {other}; remove it"
        )
    if not any(one.varies and (one.from_stage or first) > first for one in parameters):
        raise SpecError(
            f"{file.at('branch')} = {branch} needs a parameter that varies from a later stage on; "
            "give one from_stage, or remove branch"
        )
    return branch


def late_at(space: SearchSpace, resolution: int) -> list[Parameter]:
    """The parameters that are drawn when a trial comes to this stage."""
    if resolution == space.plan.resolutions[0]:
        return []
    return [parameter for parameter in space.parameters if parameter.varies and parameter.from_stage == resolution]


def branches(space: SearchSpace, prefix: Parent, *, after: int, count: int) -> list[NewTrial]:
    """So many further trials on a prefix that has trained up to `after` px, which differ in what comes next.

    The prefix itself goes on too. A branch's draws depend on nothing but the sweep's seed, the prefix's number, the
    stage and the branch's place. Fewer than `count` where the late parameters have no more values.
    """
    resolutions = space.plan.resolutions
    following = resolutions[resolutions.index(after) + 1]
    late = late_at(space, following)
    deviation = prefix.deviation.to_json()
    attributes = {"parent": prefix.number, "passes": after, **({"deviation": deviation} if deviation else {})}

    def branch(random: np.random.Generator) -> tuple[NewTrial, list[Value | None]]:
        parameters = _drawn(space, prefix, following, random)
        trial = NewTrial(parameters=parameters, origin="branch", attributes=attributes)
        return trial, _values(late, parameters)

    seeds = [[space.seed, prefix.number, following, number] for number in range(1, count + 1)]
    return differing(space, seeds, branch, seen=_values(late, prefix.parameters))


def _drawn(space: SearchSpace, prefix: Parent, following: int, random: np.random.Generator) -> dict[str, Value]:
    """The prefix's parameters with those of the stage that follows, and of later ones, drawn anew."""
    chosen: dict[str, Value] = {}
    for parameter in space.parameters:
        share = float(random.random())  # drawn for inactive ones too, so that one draw never shifts the next
        if parameter.varies and (parameter.from_stage or 0) >= following:
            if parameter.is_active(chosen):
                chosen[parameter.name] = draw(parameter, share)
        elif parameter.name in prefix.parameters:
            chosen[parameter.name] = prefix.parameters[parameter.name]
    return chosen


def _values(parameters: Sequence[Parameter], chosen: dict[str, Value]) -> list[Value | None]:
    return [chosen.get(parameter.name) for parameter in parameters]
