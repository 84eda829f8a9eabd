"""One parameter's values: the one at a share of its range or list, the share of a value, and what lies inside."""

import math
from decimal import Decimal

from scheduler.space import Parameter
from t2f.settings import Value, checked_value

TOLERANCE = 1e-9  # relative: decimal fractions such as .1 are no binary ones


def is_whole(parameter: Parameter) -> bool:
    return parameter.distribution is not None and parameter.distribution.startswith("int")


def is_log(parameter: Parameter) -> bool:
    return parameter.distribution is not None and "log" in parameter.distribution


def multiples(parameter: Parameter) -> tuple[int, int] | None:
    """First and last k for which k * step lies in the range; None where every number of the range is a value.

    The first is above the last where no multiple lies inside.
    """
    step = step_of(parameter)
    if step is None:
        return None
    return math.ceil(parameter.low / step - TOLERANCE), math.floor(parameter.high / step + TOLERANCE)


def step_of(parameter: Parameter) -> float | None:
    """What values are multiples of: `q`, or 1 for whole numbers."""
    return parameter.step if parameter.step is not None else 1 if is_whole(parameter) else None


def num_values(parameter: Parameter) -> int | None:
    """How many values there are; None for a continuous range."""
    if parameter.distribution is None:
        return len(parameter.values)
    found = multiples(parameter)
    return None if found is None else found[1] - found[0] + 1


def draw(parameter: Parameter, share: float) -> Value:
    """The value at this share (0 to 1) of the parameter's range or list.

    Of a list and of a linear range with steps each value has an equal part, the first and the last included. Of a
    logarithmic range with steps each multiple k has the part from k - 1/2 to k + 1/2.
    """
    if parameter.distribution is None:
        return parameter.values[min(int(share * len(parameter.values)), len(parameter.values) - 1)]
    steps = multiples(parameter)
    if steps is None:
        low, high = _scaled(parameter, parameter.low), _scaled(parameter, parameter.high)
        value = low + share * (high - low)
        if is_log(parameter):
            value = math.exp(value)
        return checked_value(parameter.name, min(max(value, parameter.low), parameter.high))
    first, last = steps
    if is_log(parameter):
        low, high = math.log(first - 0.5), math.log(last + 0.5)
        place = round(math.exp(low + share * (high - low)))
    else:
        place = first + int(share * (last - first + 1))
    return at_multiple(parameter, min(max(place, first), last))


def at_multiple(parameter: Parameter, place: int) -> Value:
    """The value place * step, written as the decimal fraction that a person would write."""
    value = Decimal(repr(step_of(parameter))) * place
    return checked_value(parameter.name, int(value) if is_whole(parameter) else float(value))


def nearest(parameter: Parameter, number: float) -> Value:
    """The value of the parameter's range that is nearest to a number."""
    steps = multiples(parameter)
    if steps is None:
        return checked_value(parameter.name, min(max(number, parameter.low), parameter.high))
    return at_multiple(parameter, min(max(round(number / step_of(parameter)), steps[0]), steps[1]))


def share_of(parameter: Parameter, value: Value) -> float:
    """Where in the parameter's range or list a value of it lies, 0 to 1; `draw` gives it back."""
    if parameter.distribution is None:
        return (parameter.values.index(value) + 0.5) / len(parameter.values)
    steps = multiples(parameter)
    if steps is None:
        low, high = _scaled(parameter, parameter.low), _scaled(parameter, parameter.high)
        return (_scaled(parameter, value) - low) / (high - low)
    first, last = steps
    place = round(value / step_of(parameter))
    if is_log(parameter):
        low, high = math.log(first - 0.5), math.log(last + 0.5)
        return (math.log(place) - low) / (high - low)
    return (place - first + 0.5) / (last - first + 1)


def contains(parameter: Parameter, value: Value) -> bool:
    """Whether it is one of the parameter's values."""
    if parameter.distribution is None:
        return value in parameter.values
    if isinstance(value, str | bool) or not parameter.low <= value <= parameter.high:
        return False
    step = step_of(parameter)
    return step is None or abs(value / step - round(value / step)) <= TOLERANCE * max(1, abs(value / step))


def describe(parameter: Parameter) -> str:
    """What may be given for it, in words for an error."""
    if parameter.distribution is None:
        return "one of " + ", ".join(map(str, parameter.values))
    step = step_of(parameter)
    steps = "" if step is None or (is_whole(parameter) and step == 1) else f", a multiple of {step:g}"
    kind = "a whole number" if is_whole(parameter) else "a number"
    return f"{kind} from {parameter.low:g} to {parameter.high:g}{steps}"


def _scaled(parameter: Parameter, value: float) -> float:
    return math.log(value) if is_log(parameter) else value
