"""The methods of a sweep, others by the entry point group `t2f.samplers`, and proposals made until one can be used.

A sampler is a function

    ask(space, told, number, seed) -> parameters

of the space that is to be drawn from now (a `SearchSpace`: parameters that are decided are constants, those that begin
at a later stage are missing), the earlier trials (`Told`, in a fixed order), the trial's number, and a seed of 64 bits
that is this suggestion's own. It gives a value for each parameter that is active under the others. The same arguments
must give the same parameters: after a crash a trial is asked for again.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from scheduler.search.evolution import CmaesSampler
from scheduler.search.gaussian import GaussianSampler, NotYet
from scheduler.search.listed import MAX_DRAWS, random_draw, seed_of
from scheduler.search.ranges import contains, describe
from scheduler.search.told import Told, ToldState
from scheduler.space import SearchSpace
from t2f.errors import SpecError
from t2f.settings import PRESETS, Settings, Value, has_effect

ENTRY_POINT_GROUP = "t2f.samplers"
LISTED = ("grid", "random", "sobol", "grow")  # whose trials depend on no result, so all are there from the start
LEARNING = ("tpe", "gp", "cmaes")
BUILT_IN = (*LISTED, *LEARNING)
OF_SEVERAL_OBJECTIVES = ("grid", "random", "sobol", "tpe", "gp")
STARTUP_TRIALS = 10  # that must be known before a model is made of them; the ones before are random, as in Optuna
PROPOSALS = 10  # of a sampler, that may be repetitions or break a constraint before random ones take their place


class Sampler(Protocol):
    def __call__(self, space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]: ...


class SamplerError(SpecError):
    """A sampler from another package cannot be used, or gave what is no trial of the space."""


class Exhausted(Exception):  # noqa: N818 - no error: there is nothing left to propose
    """No further trial was found; the message says why."""


def method_names() -> tuple[str, ...]:
    """Every method there is: ours, then those of installed packages."""
    return (*BUILT_IN, *sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)))


def checked_method(name: object) -> str:
    """The name itself where it is a method's; SamplerError with the nearest one elsewhere."""
    if name in BUILT_IN:
        return name
    known = method_names()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if str(name).startswith("bayes"):
            hint = "; what other sweeps call so is 'gp' or 'tpe'"
        raise SamplerError(f"method = {name!r} is not allowed; it must be one of {', '.join(known)}{hint}")
    _loaded(name)
    return name


def _loaded(name: str) -> Sampler:
    found = [entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == name]
    if not found:
        raise SamplerError(
            f"method = {name!r} came with a package that is no longer installed; install it again, "
            f"or use one of {', '.join(BUILT_IN)}"
        )
    return _sampler_of(found[0])


def _sampler_of(entry: EntryPoint) -> Sampler:
    try:
        sampler = entry.load()
    except Exception as error:  # foreign code: whatever it raises, the sweep file's reader is told which package it was
        raise SamplerError(
            f"method = {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}; "
            "correct or uninstall its package"
        ) from error
    if not callable(sampler):
        raise SamplerError(
            f"method = {entry.name!r} ({entry.value}) is no function ask(space, told, number, seed); "
            "correct or uninstall its package"
        )
    return sampler


def sampler_of(method: str, space: SearchSpace, *, objectives: int) -> Sampler:
    """The sampler of a sweep."""
    if method in LISTED:
        return _random
    if method == "cmaes":
        return CmaesSampler(space)
    if method == "gp":
        return _after_start(GaussianSampler(objectives=objectives))
    if method == "tpe":
        # Optuna takes half a second to import, and only the scheduler's process needs it.
        from scheduler.search.tpe import TpeSampler

        return _after_start(TpeSampler(space, objectives=objectives))
    return _named(method, _loaded(method))


def _random(space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
    return random_draw(space, seed)


def _after_start(sampler: Sampler) -> Sampler:
    def ask(space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
        known = sum(row.state != ToldState.RUNNING for row in told)
        return (sampler if known >= STARTUP_TRIALS else _random)(space, told, number, seed)

    return ask


def _named(method: str, sampler: Sampler) -> Sampler:
    def ask(space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
        try:
            return sampler(space, told, number, seed)
        except NotYet:
            raise
        except Exception as error:  # foreign code: the sweep is paused with what it raised
            raise SamplerError(f"method = {method!r} raised {type(error).__name__}: {error}") from error

    return ask


def draw_parameters(
    sampler: Sampler,
    space: SearchSpace,
    *,
    number: int,
    stage: int,
    told: Sequence[Told],
    chosen: Mapping[str, Value],
    is_taken: Callable[[Mapping[str, Value]], bool] = lambda parameters: False,
) -> dict[str, Value]:
    """A trial's parameters with those that begin at or before `stage` px completed; what is chosen stays.

    A pure function of the sweep's seed, the trial's number, the stage and what is told. A proposal that breaks a
    constraint or is taken is asked for again, ten times; then random ones are tried. Exhausted where a thousand of
    these do not help either; but a trial that exists (something is chosen) rather repeats another than ends.
    """
    due = space.due(chosen, stage)
    if not due.varying:
        return {**_checked(due, random_draw(due, 0)), **chosen}
    broken, repeated = 0, []
    for attempt in range(PROPOSALS + MAX_DRAWS):
        seed = seed_of(space.seed, number, stage, attempt)
        proposal = (sampler if attempt < PROPOSALS else _random)(due, told, number, seed)
        found = {**_checked(due, proposal), **chosen}
        if not space.fulfils(found):
            broken += 1
        elif is_taken(found):
            repeated.append(found)
        else:
            return found
    if repeated and chosen:
        return repeated[0]
    if repeated:
        raise Exhausted(f"every combination has been tried: {len(repeated):,} proposals in a row were repetitions")
    texts = "; ".join(constraint.text for constraint in space.constraints)
    raise Exhausted(f"none of {broken:,} proposals in a row keeps the constraints {texts}")


def _checked(space: SearchSpace, proposal: Mapping[str, Value]) -> dict[str, Value]:
    """The values of the active parameters, in the order of the space."""
    if not isinstance(proposal, Mapping):
        raise SamplerError(f"the sampler gave {proposal!r:.100}, which is no mapping from parameters to values")
    found: dict[str, Value] = {}
    for parameter in space.parameters:
        if not parameter.is_active(found):
            continue
        if parameter.name not in proposal or not contains(parameter, proposal[parameter.name]):
            given = f"{proposal[parameter.name]!r}" if parameter.name in proposal else "no value"
            raise SamplerError(f"the sampler gave {given} for {parameter.name}; it must be {describe(parameter)}")
        found[parameter.name] = proposal[parameter.name]
    return found


def identities(space: SearchSpace) -> Callable[[Mapping[str, Value]], tuple | None]:
    """What tells a trial from others: its parameters without those that have no effect beside the others.

    None while parameters of later stages are still to be drawn: until then trials may well look alike.
    """
    preset = Settings().with_values(PRESETS[space.preset]).flat()
    varying = [parameter for parameter in space.parameters if parameter.varies]

    def of(parameters: Mapping[str, Value]) -> tuple | None:
        if any(one.name not in parameters and one.is_active(parameters) for one in varying):
            return None
        values = {**preset, **parameters}
        names = (one.name for one in varying if one.name in parameters and has_effect(one.name, values))
        return tuple((name, parameters[name]) for name in names)

    return of
