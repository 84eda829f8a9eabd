"""CMA-ES, by the package `cmaes`, which Optuna's sampler of that name uses as well.

Optuna keeps the optimiser as a pickle beside the trials. Here it is rebuilt from the rows: the numbers that vary are a
unit cube (logarithmic ranges and steps as in `ranges.py`), and the trials that were told, in the order of their
numbers, are its generations one after another. So nothing but rows is kept, and the same rows give the same suggestion.
Trials that run at the same time are one generation late at most, which CMA-ES takes (arXiv:1110.4181).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from scheduler.search.listed import at_shares
from scheduler.search.ranges import share_of
from scheduler.search.told import Told
from scheduler.space import Parameter, SearchSpace
from t2f.errors import SpecError
from t2f.settings import Value

SIGMA = 1 / 6  # of the cube's side, as in Optuna
GENERATION_SEEDS = 2**31 - 2


class CmaesSampler:
    """CMA-ES over the numbers that are always tried; lists, conditional and late parameters are drawn at random."""

    def __init__(self, space: SearchSpace) -> None:
        self._axes = evolved(space)

    def __call__(self, space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
        # Only sweeps of this method need it.
        import cmaes

        axes = self._axes
        rows = [row for row in told if row.places and all(axis.name in row.parameters for axis in axes)]
        warm = [row for row in rows if row.number < 0]
        own = [row for row in rows if row.number >= 0]
        start = {"mean": np.full(len(axes), 0.5), "sigma": SIGMA, "cov": None}
        if len(warm) >= 2:
            # WS-CMA-ES (arXiv:2012.06932): a normal distribution around the best tenth.
            mean, sigma, cov = cmaes.get_warm_start_mgd([(self._point(row), -row.places[0]) for row in warm])
            start = {"mean": mean, "sigma": max(sigma, 1e-6), "cov": cov}
        bounds = np.tile([0.0, 1.0], (len(axes), 1))
        optimizer = cmaes.CMA(**start, bounds=bounds, seed=seed % GENERATION_SEEDS)
        size = optimizer.population_size
        for first in range(0, len(own) - size + 1, size):
            optimizer.tell([(self._point(row), -row.places[0]) for row in own[first : first + size]])
            if optimizer.should_stop():
                # Converged: what follows starts from the middle again, with later generations only.
                optimizer = cmaes.CMA(
                    mean=np.full(len(axes), 0.5), sigma=SIGMA, bounds=bounds, seed=seed % GENERATION_SEEDS
                )
        point = dict(zip([axis.name for axis in axes], optimizer.ask().tolist(), strict=True))
        others = np.random.default_rng(seed).random(len(space.parameters)).tolist()
        shares = [
            min(max(point.get(parameter.name, share), 0.0), 1.0)
            for parameter, share in zip(space.parameters, others, strict=True)
        ]
        return at_shares(space.parameters, shares)

    def _point(self, row: Told) -> np.ndarray:
        return np.array([share_of(axis, row.parameters[axis.name]) for axis in self._axes])


def evolved(space: SearchSpace) -> tuple[Parameter, ...]:
    """The parameters that CMA-ES moves; SpecError where there is none."""
    found = tuple(
        parameter
        for parameter in space.parameters
        if parameter.distribution is not None and not parameter.when and parameter.from_stage is None
    )
    if not found:
        raise SpecError(
            "method = 'cmaes' moves numbers with a distribution that are tried in every trial from the start, and "
            "there is none among the parameters; give one {distribution: ..., min: ..., max: ...}, or use method: tpe"
        )
    return found
