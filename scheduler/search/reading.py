"""The words of a sweep file that say how trials are found: method, metric, constraints and what goes with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.objectives import Objective
from scheduler.search.constraints import Constraint, parse_constraint
from scheduler.search.evolution import evolved
from scheduler.search.listed import distinct, grid
from scheduler.search.methods import LEARNING, LISTED, OF_SEVERAL_OBJECTIVES, checked_method
from scheduler.search.ranges import contains, describe
from scheduler.space import Parameter, SearchSpace
from t2f.errors import SpecError
from t2f.settings import SETTINGS, Value, checked_value, require_setting
from t2f.trainfile import Section, naming

MAX_PARALLEL = 100_000


@dataclass(frozen=True, kw_only=True)
class Search:
    """How trials are found, beyond the method: what was asked for by hand, and from whose results it begins."""

    parallel: int | None = None  # trials with work at the same time; None: one more than there are workers
    enqueue: tuple[Mapping[str, Value], ...] = ()  # parameters of the first trials
    warm_start: str | None = None  # a sweep whose trials are told as well

    def to_json(self) -> dict[str, Any]:
        return {"parallel": self.parallel, "enqueue": list(map(dict, self.enqueue)), "warm_start": self.warm_start}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Search":
        return cls(**{**stored, "enqueue": tuple(stored["enqueue"])})


def read_method(file: Section, objectives: Sequence[Objective]) -> str:
    if "method" not in file.content:
        return "grid"
    with naming(file.source, file.beside("method")):
        method = checked_method(file.content["method"])
    if len(objectives) > 1 and method == "cmaes":
        raise SpecError(
            f"{file.at('method')} = {method!r} is not allowed with several objectives (metric is a list); "
            f"use one of {', '.join(OF_SEVERAL_OBJECTIVES)}, or give one metric"
        )
    return method


def read_objectives(file: Section, metrics: Mapping[str, str]) -> tuple[Objective, ...]:
    """What `metric` says: one {name, goal}, or a list of them. metrics: the allowed names, with what is better."""
    written = file.content.get("metric")
    if not isinstance(written, list):
        return (_read_objective(file.section("metric"), metrics),)
    if not 1 <= len(written) <= len(metrics) or not all(isinstance(one, dict) for one in written):
        raise SpecError(
            f"{file.at('metric')} = {written!r} is not allowed; give {{name: ...}}, or a list of such mappings"
        )
    found = tuple(
        _read_objective(file.below(one, f"metric, entry {place}"), metrics)
        for place, one in enumerate(written, start=1)
    )
    names = [objective.metric for objective in found]
    if len(set(names)) < len(names):
        raise SpecError(f"{file.at('metric')} names {', '.join(names)}; give each metric once")
    return found


def _read_objective(metric: Section, metrics: Mapping[str, str]) -> Objective:
    metric.only(("name", "goal"))
    name = metric.choice("name", tuple(metrics), default="score")
    goal = metric.choice("goal", ("maximize", "minimize"), default=metrics[name])
    if goal != metrics[name]:
        raise SpecError(f"{metric.at('goal')} = {goal!r} is not allowed for {name}; better means {metrics[name]}")
    return Objective(metric=name, goal=goal)


def read_search(
    file: Section, method: str, parameters: Sequence[Parameter], constraints: Sequence[Constraint]
) -> Search:
    """`parallel`, `enqueue` and `warm_start`, as far as they go with the method."""
    learns = method not in LISTED
    for word, why in (("parallel", "all its trials are there from the start"), ("warm_start", "it looks at no result")):
        if word in file.content and not learns:
            raise SpecError(
                f"{file.at(word)} does not go with method: {method}, since {why}; remove it, "
                f"or use one of {', '.join(LEARNING)}"
            )
    return Search(
        parallel=file.whole("parallel", low=1, high=MAX_PARALLEL) if "parallel" in file.content else None,
        enqueue=_read_enqueue(file, parameters, constraints),
        warm_start=file.text("warm_start") if "warm_start" in file.content else None,
    )


def _read_enqueue(
    file: Section, parameters: Sequence[Parameter], constraints: Sequence[Constraint]
) -> tuple[Mapping[str, Value], ...]:
    written = file.content.get("enqueue", [])
    if not isinstance(written, list) or not all(isinstance(one, dict) for one in written):
        raise SpecError(
            f"{file.at('enqueue')} = {written!r:.200} is not allowed; give a list of mappings such as "
            "[{generator.learning_rate: 0.001}]"
        )
    found = []
    for place, one in enumerate(written, start=1):
        with file.below(one, f"enqueue, entry {place}").naming():
            found.append(checked_trial(parameters, constraints, one))
    return tuple(found)


def checked_trial(
    parameters: Sequence[Parameter], constraints: Sequence[Constraint], given: Mapping[str, Any]
) -> dict[str, Value]:
    """Parameters of one trial that a person gives, in the order of the space; those left out are drawn.

    The value that a given one is tried under is given with it where it can only be one. SpecError for what is none of
    the space.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        require_setting(name)
        if name not in known:
            raise SpecError(f"{name} is no parameter of this sweep; its parameters are {', '.join(known) or 'none'}")
    found: dict[str, Value] = {}
    for name, parameter in known.items():
        if name not in given:
            continue
        value = checked_value(name, given[name])
        if not contains(parameter, value):
            raise SpecError(f"{name} = {value!r} is not in this sweep's space; it must be {describe(parameter)}")
        for other in parameter.when:
            allowed = parameter.allowed(other)
            if other in given and checked_value(other, given[other]) not in allowed:
                raise SpecError(
                    f"{name} is only tried where {other} is {' or '.join(map(str, allowed))}, and {given[other]!r} is "
                    "given; remove one of the two"
                )
            if other not in given:
                if len(allowed) > 1 and known[other].varies:
                    raise SpecError(
                        f"{name} is only tried where {other} is {' or '.join(map(str, allowed))}; give {other} too"
                    )
                found.setdefault(other, allowed[0])
        found[name] = value
    broken = [one.text for one in constraints if one.names <= found.keys() and not one.holds(found)]
    if broken:
        raise SpecError(f"the given values break the constraint {broken[0]!r}; change one of them")
    return {name: found[name] for name in known if name in found}


def read_constraints(file: Section, parameters: Sequence[Parameter]) -> tuple[Constraint, ...]:
    """The `constraints`: a list of texts of the grammar in `constraints.py`, about numbers of this sweep."""
    written = file.content.get("constraints", [])
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise SpecError(
            f"{file.at('constraints')} = {written!r:.200} is not allowed; give a list of texts such as "
            '["generator.learning_rate <= discriminator.learning_rate * 4"]'
        )
    found = []
    for place, text in enumerate(written, start=1):
        with naming(file.source, f"{file.at('constraints')}, entry {place}"):
            constraint = parse_constraint(text)
            _check_names(constraint, {parameter.name: parameter for parameter in parameters})
            found.append(constraint)
    return tuple(found)


def _check_names(constraint: Constraint, known: Mapping[str, Parameter]) -> None:
    conditions: dict[str, tuple[str, set[Value]]] = {}
    for name in sorted(constraint.names):
        require_setting(name)
        if name not in known:
            raise SpecError(
                f"{constraint.text!r}: {name} is no parameter of this sweep; add it to parameters (a constant will "
                "do), or write its value"
            )
        if SETTINGS[name].type is str:
            raise SpecError(
                f"{constraint.text!r}: {name} is a word, and constraints compare numbers; use when: instead"
            )
        for other in known[name].when:
            allowed = set(known[name].allowed(other))
            before, values = conditions.setdefault(other, (name, allowed))
            if not values & allowed:
                raise SpecError(
                    f"{constraint.text!r}: {before} and {name} are never tried together, since they need different "
                    f"values of {other}; remove it"
                )
            conditions[other] = (name, values & allowed)


def check_space(method: str, space: SearchSpace) -> None:
    """Refuse a space that the method cannot search, and constraints that no trial keeps."""
    if method == "cmaes":
        evolved(space)
    if method == "grid":
        if next(grid(space), None) is None:
            texts = "; ".join(constraint.text for constraint in space.constraints)
            raise SpecError(f"constraints: no combination of the grid keeps {texts}; loosen them, or list other values")
        return
    if method not in LISTED and not space.varying:
        raise SpecError(
            f"parameters: none varies, and method = {method!r} needs one that does; give it values: [...], "
            "or min: and max:, or use method: grid"
        )
    distinct(space, "random", 1)
