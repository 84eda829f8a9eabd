"""Reading `parameters`: constants, lists, distributions, and the conditions under which they are tried."""

from collections.abc import Sequence
from typing import Any

from scheduler.search.ranges import contains, describe, draw, is_whole, multiples
from scheduler.space import DISTRIBUTIONS, Parameter
from t2f.errors import SpecError
from t2f.settings import Value, checked_value, require_setting
from t2f.spec import RESOLUTIONS
from t2f.trainfile import Section, StagesSection, parameter_section, read_per_stage

MAX_STEPS = 10**9


def read_parameters(file: Section, stages: StagesSection) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    for name, written in file.mapping("parameters").items():
        section = parameter_section(file, name, written)
        with section.naming():
            require_setting(name)
            found.append(_read_parameter(name, section, stages))
    check_conditions(file, found)
    return tuple(found)


def _read_parameter(name: str, section: Section, stages: StagesSection) -> Parameter:
    written = section.content
    section.only(("values", "value", "per_stage", "distribution", "min", "max", "q", "from_stage", "when"))
    ways = [way for way in ("values", "value", "per_stage", "distribution") if way in written]
    if len(ways) != 1:
        raise SpecError(
            f"{section.where}: give one of values, value, per_stage or distribution; given: {ways or 'none'}"
        )
    if ways[0] == "per_stage":
        first, *rest = read_per_stage(name, section, stages)
        later = tuple(zip(stages.resolutions[1:], rest, strict=True))
        return Parameter(name=name, values=(first,), later=later)
    from_stage = None
    if "from_stage" in written:
        from_stage = section.whole("from_stage", low=4, high=RESOLUTIONS[-1])
        if from_stage not in stages.resolutions:
            raise SpecError(
                f"{section.at('from_stage')} = {from_stage} is no stage of this sweep; "
                f"its stages are {', '.join(map(str, stages.resolutions))}"
            )
    when = {require_setting(other): _condition(other, value) for other, value in section.mapping("when").items()}
    common = {"name": name, "from_stage": from_stage, "when": when}
    if ways[0] == "distribution":
        return _read_distribution(section, common)
    values = written["values"] if ways[0] == "values" else [written["value"]]
    if not isinstance(values, list) or not values:
        raise SpecError(f"{section.at('values')} = {values!r} is not allowed; give a list with at least one value")
    checked = tuple(checked_value(name, value) for value in values)
    if len(set(checked)) != len(checked):
        raise SpecError(f"{section.at('values')} = {values!r} holds one twice; keep each once")
    return Parameter(values=checked, **common)


def _read_distribution(section: Section, common: dict[str, Any]) -> Parameter:
    distribution = section.choice("distribution", DISTRIBUTIONS, default="uniform")
    low = section.number("min", low=-1e12, high=1e12)
    high = section.number("max", low=-1e12, high=1e12)
    if not low < high:
        raise SpecError(f"{section.at('min')} = {low:g} must be below max = {high:g}")
    if "log" in distribution and low <= 0:
        raise SpecError(f"{section.at('min')} = {low:g} is not allowed for {distribution}; it must be above 0")
    step = section.number("q", low=1e-12, high=1e12) if "q" in section.content else None
    parameter = Parameter(distribution=distribution, low=low, high=high, step=step, **common)
    _check_steps(section, parameter)
    for bound in (low, high, draw(parameter, 0.0), draw(parameter, 1.0)):
        checked_value(parameter.name, bound)  # both ends must be allowed for the setting
    return parameter


def _check_steps(section: Section, parameter: Parameter) -> None:
    step, steps = parameter.step, multiples(parameter)
    if is_whole(parameter):
        for word, bound in (("min", parameter.low), ("max", parameter.high), ("q", step)):
            if bound is not None and bound != int(bound):
                raise SpecError(
                    f"{section.at(word)} = {bound!r} is not allowed for {parameter.distribution}; give a whole number"
                )
    if steps is not None and steps[0] > steps[1]:
        raise SpecError(
            f"{section.at('q')}: no multiple of q = {step:g} lies from min = {parameter.low:g} to "
            f"max = {parameter.high:g}; give a smaller q, or a wider range"
        )
    # As whole numbers they must fit where samplers keep them.
    if steps is not None and steps[1] - steps[0] > MAX_STEPS:
        raise SpecError(
            f"{section.at('q')} = {step:g} makes {steps[1] - steps[0] + 1:,} values; at most {MAX_STEPS:,} are tried. "
            "Give a larger q, or none"
        )


def _condition(other: str, written: Any) -> Value | tuple[Value, ...]:
    """The value, or the several values, of another parameter under which one is tried."""
    if not isinstance(written, list):
        return checked_value(other, written)
    values = tuple(checked_value(other, value) for value in written)
    if not values or len(set(values)) != len(values):
        raise SpecError(f"when: {other} = {written!r} is not allowed; give a value, or a list that holds each once")
    return values


def check_conditions(file: Section, parameters: Sequence[Parameter]) -> None:
    """Refuse a `when` that can never hold, or that names a parameter which is drawn only later."""
    known: dict[str, Parameter] = {}
    for parameter in parameters:
        where = parameter_section(file, parameter.name, file.mapping("parameters").get(parameter.name)).at("when")
        for other in parameter.when:
            if other not in known:
                raise SpecError(
                    f"{where} names {other}, which is no parameter above it; move that one up, or remove the condition"
                )
            for value in parameter.allowed(other):
                if not contains(known[other], value):
                    raise SpecError(f"{where}: {other} = {value!r} never holds; it must be {describe(known[other])}")
            begins = known[other].from_stage
            if begins is not None and (parameter.from_stage is None or parameter.from_stage < begins):
                raise SpecError(
                    f"{where} names {other}, which is drawn at {begins} px; give this one from_stage: {begins} too"
                )
        known[parameter.name] = parameter
