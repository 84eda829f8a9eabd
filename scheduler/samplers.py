"""Where trials come from: the grid, or random draws."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from scheduler.space import Parameter, SearchSpace
from t2f.errors import SpecError
from t2f.settings import Value, checked_value
from t2f.spec import digest

MAX_GRID = 1_000_000


def grid_size(space: SearchSpace) -> int:
    """An upper bound of the number of combinations, without making them."""
    return math.prod(max(1, len(parameter.values)) for parameter in space.parameters)


def grid(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Every combination of the listed values, the first parameter varying slowest.

    A parameter whose condition does not hold is left out and multiplies nothing.
    """
    for parameter in space.parameters:
        if parameter.distribution is not None:
            raise SpecError(
                f"parameters.{parameter.name} has a distribution, and a grid needs values; "
                "list them as {values: [...]}, or use method: random"
            )
    if grid_size(space) > MAX_GRID:
        raise SpecError(
            f"the grid has up to {grid_size(space):,} combinations; at most {MAX_GRID:,} are tried. "
            "List fewer values, or use method: random with budget: {max_trials: N}"
        )
    yield from _combinations(space.parameters, {})


def _combinations(parameters: tuple[Parameter, ...], chosen: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    if not parameters:
        yield dict(chosen)
        return
    first, rest = parameters[0], parameters[1:]
    if not first.is_active(chosen):
        yield from _combinations(rest, chosen)
        return
    for value in first.values:
        yield from _combinations(rest, {**chosen, first.name: value})


def random_trial(space: SearchSpace, number: int) -> dict[str, Value]:
    """The parameters of random trial `number`: they depend on nothing but the sweep's seed and that number."""
    random = np.random.default_rng(int(digest([space.seed, number])[:16], 16))
    chosen: dict[str, Value] = {}
    for parameter in space.parameters:
        # A number is drawn for inactive parameters too, so that one draw never shifts the next.
        share = float(random.random())
        if parameter.is_active(chosen):
            chosen[parameter.name] = draw(parameter, share)
    return chosen


def draw(parameter: Parameter, share: float) -> Value:
    """The value at this share (0 to 1) of the parameter's range or list."""
    if parameter.distribution is None:
        return parameter.values[int(share * len(parameter.values))]
    low, high = parameter.low, parameter.high
    is_whole = parameter.distribution.startswith("int")
    if is_whole:
        high = high + 1 - 1e-9  # each whole number, the last included, gets its share
    if "log" in parameter.distribution:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if parameter.step is not None:
        value = round(value / parameter.step) * parameter.step
    if is_whole:
        value = int(value)
    return checked_value(parameter.name, min(max(value, parameter.low), parameter.high))
