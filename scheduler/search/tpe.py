"""TPE and the Gaussian process, by Optuna's samplers on our own rows. The one file that imports Optuna.

Optuna keeps nothing: before each suggestion a study in memory is brought in line with the rows that are told, in their
order, and a sampler with a fresh seed proposes. So the same rows and the same seed give the same suggestion, in any
process. The study that is left from the suggestion before is only a cache: of a row in it nothing but the number is
believed.

TPE: arXiv:2304.11127, with the multivariate kernels of its section 3.3; of several objectives that of
doi:10.1613/jair.1.13188. Running trials are among the bad ones (a constant liar).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from scheduler.search.ranges import is_log, multiples, nearest, step_of
from scheduler.search.told import Told, ToldState, most_telling
from scheduler.space import Parameter, SearchSpace
from t2f.settings import Value

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are about choices that are made here

# TPE sets the 25 best against all others, of which those before the newest 25 weigh the less the older they are; so
# rows beyond these change next to nothing, and a suggestion costs the same however many there are.
MAX_ROWS = 2000

STATES = {
    ToldState.MEASURED: TrialState.COMPLETE,
    ToldState.FAILED: TrialState.COMPLETE,  # with the worst place: Optuna would forget a failed one
    ToldState.RUNNING: TrialState.RUNNING,
}


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """How Optuna sees a parameter: values with equal steps are whole numbers to it, which it takes from end to end."""
    if parameter.distribution is None:
        return CategoricalDistribution(parameter.values)
    steps = multiples(parameter)
    if steps is None:
        return FloatDistribution(parameter.low, parameter.high, log=is_log(parameter))
    return IntDistribution(*steps, log=is_log(parameter))


def to_optuna(parameter: Parameter, value: Value) -> Value:
    step = step_of(parameter)
    return value if parameter.distribution is None or step is None else round(value / step)


def from_optuna(parameter: Parameter, value: Any) -> Value:
    if parameter.distribution is None:
        return value
    step = step_of(parameter)
    return nearest(parameter, value if step is None else value * step)


class Study:
    """An in-memory study that follows the rows it is told."""

    def __init__(self, parameters: Sequence[Parameter], *, objectives: int) -> None:
        self._parameters = {parameter.name: parameter for parameter in parameters if parameter.varies}
        self.distributions = {name: distribution_of(one) for name, one in self._parameters.items()}
        self._objectives = objectives
        self._begin()

    def _begin(self) -> None:
        self._study = optuna.create_study(
            directions=["maximize"] * self._objectives, sampler=RandomSampler(seed=0), study_name="told"
        )
        self._rows: list[tuple[Told, FrozenTrial]] = []
        self._asked = 0

    def follow(self, told: Sequence[Told], *, limit: int | None = None) -> None:
        """Hold these rows, in this order; of more than the limit only the most telling ones count."""
        self._hold(told)
        used = {row.number for row in (told if limit is None else most_telling(told, limit))}
        for row, trial in self._rows:
            # Samplers pass over failed trials.
            trial.state = STATES[row.state] if row.number in used else TrialState.FAIL

    def _hold(self, told: Sequence[Told]) -> None:
        known = [row.number for row, _ in self._rows]
        # What was asked stays behind as a failed trial, which samplers pass over.
        if known != [row.number for row in told[: len(known)]] or self._asked > 100 + len(told):
            self._begin()
        for place, (before, trial) in enumerate(self._rows):
            row = told[place]
            if row != before:
                self._write(trial, before, row)
                self._rows[place] = (row, trial)
        new = told[len(self._rows) :]
        if new:
            self._study.add_trials([self._trial(row) for row in new])
            trials = self._study.get_trials(deepcopy=False)[-len(new) :]
            self._rows += zip(new, trials, strict=True)

    def _parameters_of(self, row: Told) -> dict[str, Value]:
        return {
            name: to_optuna(self._parameters[name], value)
            for name, value in row.parameters.items()
            if name in self._parameters
        }

    def _trial(self, row: Told) -> FrozenTrial:
        parameters = self._parameters_of(row)
        return create_trial(
            state=STATES[row.state],
            params=parameters,
            distributions={name: self.distributions[name] for name in parameters},
            values=list(row.places) or None,
        )

    def _write(self, trial: FrozenTrial, before: Told, row: Told) -> None:
        # Ranks change with every new result, parameters hardly ever.
        if row.parameters != before.parameters:
            parameters = self._parameters_of(row)
            trial.params = parameters
            trial.distributions = {name: self.distributions[name] for name in parameters}
        trial.values = list(row.places) or None

    def propose(self, sampler: BaseSampler, block: Sequence[Parameter]) -> dict[str, Value]:
        """The sampler's joint proposal for these parameters."""
        space = {parameter.name: self.distributions[parameter.name] for parameter in block}
        asked = self._study.ask()
        self._asked += 1
        trial = self._study.get_trials(deepcopy=False)[asked.number]
        try:
            found = sampler.sample_relative(self._study, trial, space)
        finally:
            self._study.tell(asked, state=TrialState.FAIL)
        return {parameter.name: from_optuna(parameter, found[parameter.name]) for parameter in block if found}


class TpeSampler:
    """A sampler of one sweep; what it keeps from one suggestion to the next is a cache."""

    def __init__(self, space: SearchSpace, *, objectives: int) -> None:
        self._study = Study(space.parameters, objectives=objectives)

    def __call__(self, space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
        self._study.follow(told, limit=MAX_ROWS)
        sampler = TPESampler(seed=seed % 2**32, multivariate=True, n_startup_trials=0)
        return by_blocks(space.parameters, lambda block: self._study.propose(sampler, block))


def by_blocks(
    parameters: Sequence[Parameter], propose: Callable[[Sequence[Parameter]], Mapping[str, Value]]
) -> dict[str, Value]:
    """Every active parameter, those under the same condition proposed together: one group of Optuna's `group=True`."""
    chosen: dict[str, Value] = {}
    proposed: dict[str, Value] = {}
    for parameter in parameters:
        if not parameter.is_active(chosen):
            continue
        if not parameter.varies:
            chosen[parameter.name] = parameter.values[0]
            continue
        if parameter.name not in proposed:
            block = [one for one in parameters if one.varies and one.when == parameter.when]
            proposed |= propose(block)
        chosen[parameter.name] = proposed[parameter.name]
    return chosen


def gaussian_proposal(
    told: Sequence[Told], block: Sequence[Parameter], *, objectives: int, seed: int
) -> dict[str, Value]:
    """The Gaussian process's joint proposal for these parameters; empty where too little is known of them.

    Expected improvement (log EI, arXiv:2310.20708) under a Matern 5/2 kernel; running trials as fantasies.
    """
    # Only the process of the Gaussian process waits for torch, and has it in memory.
    from optuna.samplers import GPSampler

    names = {parameter.name for parameter in block}
    rows = [row for row in told if names <= row.parameters.keys()]
    if sum(row.state != ToldState.RUNNING for row in rows) < 2:
        return {}
    study = Study(block, objectives=objectives)
    study.follow(rows)
    sampler = GPSampler(seed=seed % 2**32, n_startup_trials=1, warn_independent_sampling=False)
    return study.propose(sampler, block)
