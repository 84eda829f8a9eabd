"""The method grow: a beam over the stage tree, of which population-based training is a preset. Pure functions.

At each stage's end the best stage runs are kept, and each goes on in several ways that differ only in settings of the
stages to come. So the children train nothing again: their early stages are their parent's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scheduler.rungs import Entry, read_min_stage
from scheduler.search.ranges import draw, nearest, step_of
from scheduler.space import Deviation, Parameter, SearchSpace
from scheduler.store.rows import NewTrial
from t2f.errors import SpecError
from t2f.settings import Value, scope_of
from t2f.spec import digest
from t2f.trainfile import Section, StagesSection

PRESETS = ("beam", "pbt")
TRIES = 20  # draws of a trial's settings before it is given up as one that differs in nothing


@dataclass(frozen=True, kw_only=True)
class Growing:
    """How a population grows from stage to stage."""

    population: int  # trials at first, drawn at random
    preset: str = "beam"  # beam: the best `keep` go on; pbt: the best of a share replace as many of the worst
    keep: int = 4  # beam: stage runs that are kept at a stage's end
    children: int = 3  # beam: ways in which each of them goes on, itself unchanged being the first
    truncate: float = 0.2  # pbt: the share that is replaced. arXiv:1711.09846, section 4.1.1: 20 %
    perturb: tuple[float, ...] = (0.8, 1.2)  # a number is multiplied by one of these. Ibid., section 4.1.1
    resample: float = 0.25  # the chance that a setting is drawn anew instead
    min_stage: int = 4  # px: no choice before the end of this stage

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "perturb": list(self.perturb)}

    def to_words(self) -> dict[str, Any]:
        """The section `grow` of a sweep file that means this."""
        foreign = ("keep", "children") if self.preset == "pbt" else ("truncate",)
        return {word: value for word, value in self.to_json().items() if word not in foreign}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Growing":
        return cls(**{**stored, "perturb": tuple(stored["perturb"])})


def read_growing(file: Section, stages: StagesSection, parameters: Sequence[Parameter], method: str) -> Growing | None:
    """The section `grow`, which method: grow needs and no other takes."""
    if method != "grow":
        if "grow" in file.content:
            raise SpecError(f"{file.at('grow')} is given, but method = {method!r}; remove it, or use method: grow")
        return None
    if file.section("early_terminate").content.get("type", "none") != "none":
        raise SpecError(
            f"{file.at('early_terminate')} is not allowed with method: grow, which chooses at each stage's end by "
            "itself; remove it, and give grow: min_stage where it is to begin later"
        )
    require_something_to_grow(file, parameters)
    section = file.section("grow", required=True)
    preset = section.choice("preset", PRESETS, default="beam")
    foreign = ("keep", "children") if preset == "pbt" else ("truncate",)
    common = ("preset", "population", "perturb", "resample", "min_stage")
    own = ("truncate",) if preset == "pbt" else ("keep", "children")
    section.only((*common, *own), later=dict.fromkeys(foreign, f"has no meaning for preset: {preset}; remove it"))
    found = Growing(
        preset=preset,
        population=section.whole("population", low=2, high=100_000),
        keep=section.whole("keep", default=Growing.keep, low=1, high=100_000),
        children=section.whole("children", default=Growing.children, low=1, high=1000),
        truncate=section.number("truncate", default=Growing.truncate, low=0.01, high=0.5),
        perturb=_read_factors(section),
        resample=section.number("resample", default=Growing.resample, low=0.0, high=1.0),
        min_stage=read_min_stage(section, stages),
    )
    budget = file.section("budget").content.get("max_trials")
    if isinstance(budget, int) and budget < found.population:
        raise SpecError(
            f"{section.at('population')} = {found.population} is more than budget.max_trials = {budget}; "
            "lower it, or raise the budget"
        )
    return found


def require_something_to_grow(file: Section, parameters: Sequence[Parameter]) -> None:
    if not late_parameters(parameters):
        varying = [parameter.name for parameter in parameters if parameter.varies]
        found = (
            f"of those that vary, {', '.join(varying)} decide the shape of the weights" if varying else "none varies"
        )
        raise SpecError(
            f"{file.at('method')}: grow needs a parameter that can change from one stage to the next, and {found}; "
            "give generator.learning_rate a distribution, for example, or use method: random"
        )


def _read_factors(section: Section) -> tuple[float, ...]:
    if "perturb" not in section.content:
        return Growing.perturb
    given = section.content["perturb"]
    is_list = isinstance(given, list) and bool(given)
    numbers = is_list and all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
    if not numbers or not all(0.01 <= one <= 100 and one != 1 for one in given):
        raise SpecError(
            f"{section.at('perturb')} = {given!r} is not allowed; give a list of factors from 0.01 to 100, none of "
            "them 1, such as [0.8, 1.2]"
        )
    return tuple(float(one) for one in given)


def late_parameters(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Those that children may differ in: they vary, and do not decide the shape of the weights."""
    return [one for one in parameters if one.varies and scope_of(one.name) != "architecture"]


def next_generation(policy: Growing, ranked: Sequence[Entry]) -> dict[int, int]:
    """Stage run -> in how many ways it goes on, of those that arrived at a stage's end, the best first; 0: it stops."""
    if policy.preset == "beam":
        return {one.stage_run_id: policy.children * (place < policy.keep) for place, one in enumerate(ranked)}
    # arXiv:1711.09846, truncation selection: whoever is in the worst share takes the weights and settings of one of the
    # best share, and explores from there. Here the best take them in order, not by chance.
    count = len(ranked)
    cut = min(count // 2, max(1, round(policy.truncate * count)))
    ways = [2] * cut + [1] * (count - 2 * cut) + [0] * cut
    return {one.stage_run_id: ways[place] for place, one in enumerate(ranked)}


def generations(policy: Growing, resolutions: Sequence[int], max_trials: int | None) -> list[tuple[int, int]]:
    """(trials that are trained, those of them that are born there) at each stage, if all differ and none breaks."""
    alive, left = policy.population, float("inf") if max_trials is None else max_trials - policy.population
    found = [(alive, 0)]
    for resolution in resolutions[:-1]:
        born = 0
        if resolution >= policy.min_stage:
            places = [Entry(stage_run_id=place, key="", value=0.0) for place in range(alive)]
            ways = next_generation(policy, places).values()
            wanted = sum(max(0, count - 1) for count in ways)
            born = int(min(wanted, left))
            alive = sum(count > 0 for count in ways) + born
            left -= born
        found.append((alive, born))
    return found


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A trial that goes on, from which others begin."""

    number: int
    parameters: Mapping[str, Value]
    deviation: Deviation

    @property
    def settings(self) -> dict[str, Value]:
        """Its parameters, as they are at its last stage."""
        found = dict(self.parameters)
        for _, values in sorted(self.deviation.late.items()):
            found |= values
        return found


def children(policy: Growing, space: SearchSpace, parent: Parent, *, after: int, count: int) -> list[NewTrial]:
    """So many children of a trial that has trained up to `after` px, which differ from it and from each other.

    Fewer where the space has no more to offer. They depend on nothing but the sweep's seed, the parent and the stage.
    """

    def child(random: np.random.Generator) -> tuple[NewTrial, dict[str, Value]]:
        settings = explored(policy, space.parameters, parent.settings, random)
        return _child(space, parent, settings, after), settings

    seeds = [[space.seed, "grow", parent.number, after, number] for number in range(count)]
    return differing(space, seeds, child, seen=parent.settings)


def differing(
    space: SearchSpace,
    seeds: Sequence[list[int | str]],
    draw_trial: Callable[[np.random.Generator], tuple[NewTrial, Any]],
    *,
    seen: Any,
) -> list[NewTrial]:
    """A trial for each seed, with settings unlike `seen` and each other's; none for one that finds nothing new."""
    known, found = [seen], []
    for seed in seeds:
        random = np.random.default_rng(int(digest(seed)[:16], 16))
        for _ in range(TRIES):
            trial, settings = draw_trial(random)
            if settings not in known and is_possible(space, trial):
                known.append(settings)
                found.append(trial)
                break
    return found


def explored(
    policy: Growing, parameters: Sequence[Parameter], settings: Mapping[str, Value], random: np.random.Generator
) -> dict[str, Value]:
    """Other settings near these: each that may change is perturbed, or drawn anew."""
    changing = {parameter.name for parameter in late_parameters(parameters)}
    found = dict(settings)
    for parameter in parameters:
        if parameter.name not in changing or not parameter.is_active(found):
            continue
        if parameter.name not in settings or random.random() < policy.resample:
            found[parameter.name] = draw(parameter, float(random.random()))
        else:
            found[parameter.name] = perturbed(parameter, settings[parameter.name], policy.perturb, random)
    return found


def perturbed(parameter: Parameter, value: Value, factors: Sequence[float], random: np.random.Generator) -> Value:
    """A number times one of the factors, within its range; of a list of numbers the next one; a word as it is."""
    factor = factors[int(random.integers(len(factors)))]
    if parameter.distribution is None:
        if any(isinstance(one, bool | str) for one in parameter.values) or value not in parameter.values:
            return value
        ordered = sorted(parameter.values)
        place = ordered.index(value) + (1 if factor > 1 else -1)
        return ordered[min(max(place, 0), len(ordered) - 1)]
    moved = nearest(parameter, value * factor)
    step = step_of(parameter)
    if moved == value and step is not None:  # the factor is less than half a step
        moved = nearest(parameter, value + (step if factor > 1 else -step))
    return moved


def _child(space: SearchSpace, parent: Parent, settings: Mapping[str, Value], after: int) -> NewTrial:
    resolutions = space.plan.resolutions
    following = resolutions[resolutions.index(after) + 1]
    late = {resolution: dict(values) for resolution, values in parent.deviation.late.items()}
    for parameter in late_parameters(space.parameters):
        if settings.get(parameter.name) != parent.settings.get(parameter.name):
            begins = max(following, parameter.from_stage or 0)
            late.setdefault(begins, {})[parameter.name] = settings[parameter.name]
    deviation = Deviation(seed=parent.deviation.seed, plan=parent.deviation.plan, late=late)
    attributes = {"parent": parent.number, "passes": after, "deviation": deviation.to_json()}
    return NewTrial(parameters=dict(parent.parameters), origin="grow", attributes=attributes)


def is_possible(space: SearchSpace, trial: NewTrial) -> bool:
    """Whether a trial that was made up from others' settings is one of the space, and can be trained.

    Some settings exclude each other, and others break a constraint.
    """
    deviation = Deviation.of(trial.attributes)
    latest = Parent(number=0, parameters=trial.parameters, deviation=deviation).settings
    if not space.fulfils(latest):
        return False
    try:
        space.stages(trial.parameters, deviation)
    except SpecError:
        return False
    return True
