"""The score of a stage, from its figures and those of reals and an untrained generator. No torch in here.

    score    = sqrt(fidelity * text)
    fidelity = mean over {image distance, colour distance} of clip(log(ceiling / d) / log(ceiling / floor), 0, 1)
               floor: reals against reals; ceiling: an untrained generator
    text     = clip(shuffle gap / shuffle gap of real held-out pairs, 0, 1)

Where the reals' own gap cannot be told from 0, or there are no captions, there is no text part: the score is the
fidelity. Intervals come from blocks of images, in each of which the whole score is made again.

N images, B blocks
"""

import math
from collections.abc import Mapping

import numpy as np

from t2f.metrics.figures import Figure, block_figure, block_rows

DISTANCES = ("swd", "pixel_distance", "colour_distance")  # a resolution has one of the first two
UNIT = (0.0, 1.0)


def score_figures(
    figures: Mapping[str, Figure], *, floor: Mapping[str, Figure], ceiling: Mapping[str, Figure]
) -> dict[str, Figure]:
    """`fidelity`, `text` where it is measurable, and `score`."""
    distances = {name: figures[name] for name in DISTANCES if name in figures}
    at = {name: figure.value for name, figure in distances.items()}
    fidelity_B = np.array([fidelity(part, floor, ceiling) for part in _distances_in_blocks(distances)])
    found = {"fidelity": block_figure(fidelity(at, floor, ceiling), fidelity_B, bounds=UNIT)}
    gap, real = figures.get("shuffle_gap"), floor.get("shuffle_gap")
    if gap is None or real is None or real.low is None or real.low <= 0:
        return {**found, "score": found["fidelity"]}
    found["text"] = text_figure(gap, real)
    gap_N = np.array(gap.parts)
    text_B = np.array([text(gap_N[rows].mean(), real.value) for rows in block_rows(np.arange(len(gap_N)))])
    score = math.sqrt(found["fidelity"].value * found["text"].value)
    score_B = np.sqrt(fidelity_B * text_B) if len(fidelity_B) == len(text_B) else np.empty(0)
    return {**found, "score": block_figure(score, score_B, bounds=UNIT)}


def fidelity(distances: Mapping[str, float], floor: Mapping[str, Figure], ceiling: Mapping[str, Figure]) -> float:
    """Where the distances lie between ceiling (0) and floor (1), on a log scale, averaged."""
    parts = []
    for name, distance in distances.items():
        # Equal sets have distance 0, of which there is no logarithm.
        lowest = max(floor[name].value, 1e-9)
        highest = max(ceiling[name].value, lowest * 1.001)
        parts.append(min(1.0, max(0.0, math.log(highest / max(distance, 1e-9)) / math.log(highest / lowest))))
    return sum(parts) / len(parts)


def _distances_in_blocks(distances: Mapping[str, Figure]) -> list[dict[str, float]]:
    """The distances of each block, moved so that their mean is the distance of the whole.

    A distance between few images is larger than one between many; only the spread of the blocks is of use. None where
    there were too few images for blocks.
    """
    if not all(figure.parts for figure in distances.values()):
        return []
    moved = {name: np.array(figure.parts) - np.mean(figure.parts) + figure.value for name, figure in distances.items()}
    return [dict(zip(moved, block, strict=True)) for block in zip(*moved.values(), strict=True)]


def text(gap: float, real: float) -> float:
    return min(1.0, max(0.0, gap / real))


def text_figure(gap: Figure, real: Figure) -> Figure:
    low, high = text(gap.low, real.value), text(gap.high, real.value)
    return Figure(value=text(gap.value, real.value), low=low, high=high)
