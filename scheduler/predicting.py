"""Which of several children of one stage run is likely to do best, by those that were measured: a pure function."""

import math
from collections.abc import Mapping, Sequence

from t2f.settings import Value

NEAR = 0.05  # of a setting's range: closer than that tells no more


def predict(wanted: Mapping[str, Value], known: Sequence[tuple[Mapping[str, Value], float]]) -> float | None:
    """The mean of the known values, nearer ones weighing more (inverse distance, Shepard 1968); None without any.

    known: (settings, value) of stage runs of the same resolution. Settings that do not differ among all of these tell
    nothing. A number's distance is its share of the range, of the logarithms where all are above 0; a word's is 0 or 1.
    """
    if not known:
        return None
    everybody = [wanted, *(settings for settings, _ in known)]
    spans = {name: _places([one.get(name) for one in everybody]) for name in wanted}
    weights = []
    for index in range(1, len(everybody)):
        squares = [(places[index] - places[0]) ** 2 for places in spans.values()]
        weights.append(1 / (NEAR + math.sqrt(sum(squares))))
    return sum(weight * value for weight, (_, value) in zip(weights, known, strict=True)) / sum(weights)


def _places(values: Sequence[Value | None]) -> list[float]:
    """Where each value lies between the smallest and the largest, 0 to 1; for words 0 or 1: the first one's, or not."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return [float(value != values[0]) for value in values]
    if min(numbers) > 0:
        numbers = [math.log(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    return [0.0 if high == low else (number - low) / (high - low) for number in numbers]
