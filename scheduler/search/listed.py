"""Trials that depend on nothing but the sweep's seed and their number: the grid, random draws, a Sobol sequence."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scheduler.search.ranges import draw, num_values
from scheduler.space import Parameter, SearchSpace
from t2f.errors import SpecError
from t2f.settings import Value
from t2f.spec import digest

MAX_GRID = 1_000_000
MAX_DRAWS = 1000  # that may be repetitions or break a constraint before it is given up


def grid_size(space: SearchSpace) -> int:
    """An upper bound of the number of combinations, without making them."""
    return math.prod(max(1, len(parameter.values)) for parameter in space.parameters)


def grid(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Every combination of the listed values that keeps the constraints, the first parameter varying slowest.

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
    yield from filter(space.fulfils, combinations(space))


def combinations(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Every combination, whatever the constraints say."""
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


def seed_of(*parts: int) -> int:
    """A seed of 64 bits from the sweep's seed, a trial's number, and whatever else the draw depends on."""
    return int(digest(list(parts))[:16], 16)


def random_trial(space: SearchSpace, number: int, *more: int) -> dict[str, Value]:
    """Random draw `number`: it depends on nothing but the sweep's seed and these numbers.

    more: of what else there is one for each: the stage that a trial begins, how often it was drawn again.
    """
    return random_draw(space, seed_of(space.seed, number, *more))


def random_draw(space: SearchSpace, seed: int) -> dict[str, Value]:
    """Every active parameter at random."""
    # A number is drawn for inactive parameters too, so that one draw never shifts the next.
    return at_shares(space.parameters, random_shares(seed, len(space.parameters)))


def random_shares(seed: int, count: int) -> list[float]:
    """So many numbers that are evenly distributed from 0 to 1 (1 excluded), from a seed of 64 bits.

    SHAKE-256 of the seed: each seed is used for one draw only, and a hash takes a tenth of what it takes to set up a
    generator.
    """
    stream = hashlib.shake_256(seed.to_bytes(8, "big")).digest(8 * count)
    return [(number >> 11) * 2.0**-53 for number in struct.unpack(f">{count}Q", stream)]


def at_shares(parameters: Sequence[Parameter], shares: Sequence[float]) -> dict[str, Value]:
    """The values of the active parameters at these shares of their ranges."""
    chosen: dict[str, Value] = {}
    for parameter, share in zip(parameters, shares, strict=True):
        if parameter.is_active(chosen):
            chosen[parameter.name] = draw(parameter, share)
    return chosen


def random_trials(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Random draws without end, one after another."""
    number = 0
    while True:
        yield random_trial(space, number)
        number += 1


def sobol_trials(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """The points of a scrambled Sobol sequence, one coordinate a parameter that varies, inactive ones included.

    doi:10.1016/0041-5553(67)90144-9, Owen's scrambling as in scipy: the first 2^k points are spread evenly for any k.
    """
    # The submission of other sweeps does not wait for scipy.
    from scipy.stats import qmc

    varying = [parameter.name for parameter in space.parameters if parameter.varies]
    if not varying:
        while True:
            yield at_shares(space.parameters, [0.0] * len(space.parameters))
    engine = qmc.Sobol(len(varying), scramble=True, rng=np.random.default_rng(seed_of(space.seed)))
    while True:
        for point in engine.random(256):
            share_of = dict(zip(varying, point.tolist(), strict=True))
            yield at_shares(space.parameters, [share_of.get(parameter.name, 0.0) for parameter in space.parameters])


STREAMS = {"random": random_trials, "sobol": sobol_trials}


def distinct(
    space: SearchSpace, method: str, count: int, *, known: Sequence[Mapping[str, Value]] = ()
) -> tuple[list[dict[str, Value]], int]:
    """The first `count` draws of a method, without those that repeat an earlier or a known one; how many repeated one.

    A draw that breaks a constraint is no draw: the next one takes its place. SpecError where 1,000 in a row do.
    """
    stream, found = STREAMS[method](space), []
    # Where a continuous range is in every trial, none repeats another; hashes, because there may be 100,000.
    can_repeat = all(one.when or num_values(one) is not None for one in space.parameters)
    seen = {hash(tuple(chosen.items())) for chosen in known}
    for _ in range(count):
        chosen = next(filter(space.fulfils, (next(stream) for _ in range(MAX_DRAWS))), None)
        if chosen is None:
            raise SpecError(
                f"constraints: {MAX_DRAWS:,} draws in a row break one of "
                f"{'; '.join(constraint.text for constraint in space.constraints)}; loosen them, or narrow the ranges"
            )
        key = hash(tuple(chosen.items())) if can_repeat else None
        if key is None or key not in seen:
            found.append(chosen)
        if key is not None:
            seen.add(key)
    return found, count - len(found)
