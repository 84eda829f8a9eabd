"""Values with 95 % intervals, and what one says against another. No torch in here.

A mean over images has an interval by bootstrap over images. A distance of sets has none such: it is measured again on
disjoint blocks of the images, and their spread says how far the whole may be off. Evaluations of one resolution look at
the same reference images, captions and noise, so two of them are compared image by image, or block by block.

N images, B blocks
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

BLOCKS = 10
BOOTSTRAP = 1000
CONFIDENCE = 0.95
DIGITS = 6  # significant ones of a stored part


def decimals(value: float) -> str:
    """Three decimals; four digits where it is large, two where it is small."""
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def interval_text(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{decimals(low)} to {decimals(high)}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its 95 % interval, which is None where there can be none."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str | None = None  # what a reader must know beside the number
    by: Literal["images", "blocks"] | None = None
    parts: tuple[float, ...] = ()  # the values of single images, or of blocks of them

    @cached_property
    def resampled(self) -> np.ndarray:
        """Means of bootstrap samples of the images; the samples are the same for figures of as many images."""
        return resampled_means(np.array(self.parts))

    def to_json(self) -> dict[str, Any]:
        """Value, interval and note; the parts are kept apart (`parts_json`)."""
        found = {"value": self.value, "low": self.low, "high": self.high}
        return found if self.note is None else {**found, "note": self.note}


def parts_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """What comparing these figures with those of another evaluation takes."""
    return {
        name: {"by": figure.by, "parts": [float(f"{part:.{DIGITS}g}") for part in figure.parts]}
        for name, figure in figures.items()
        if figure.by is not None
    }


def num_blocks(count: int) -> int:
    """Blocks of so many images: ten, fewer where they would hold a single image."""
    return max(1, min(BLOCKS, count // 2))


def block_rows(ordinal_N: np.ndarray) -> list[np.ndarray]:
    """int64 rows of each block; together all of them. Rows of the same image (its number from 0 on) stay together."""
    blocks = num_blocks(int(ordinal_N.max()) + 1)
    return [np.flatnonzero(ordinal_N % blocks == block) for block in range(blocks)]


def by_image(values_N: np.ndarray, ordinal_N: np.ndarray) -> np.ndarray:
    """The mean of each image's values: faces for the same image say less than as many for different ones."""
    return np.bincount(ordinal_N, weights=values_N) / np.bincount(ordinal_N)


def mean_figure(values_N: np.ndarray, *, note: str | None = None) -> Figure:
    """The mean with its bootstrap interval over images; the same images are drawn for every metric and model."""
    means = resampled_means(np.asarray(values_N, dtype=np.float64))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    parts = tuple(float(value) for value in values_N)
    value = float(np.mean(values_N, dtype=np.float64))
    return Figure(value=value, low=float(low), high=float(high), note=note, by="images", parts=parts)


def resampled_means(values_N: np.ndarray) -> np.ndarray:
    """Means of BOOTSTRAP samples with replacement; equal for equal N, so that differences are paired."""
    count = len(values_N)
    random = np.random.default_rng([count, BOOTSTRAP])
    chunk = max(1, 2_000_000 // count)  # bounds the memory
    means = []
    for start in range(0, BOOTSTRAP, chunk):
        rows = random.integers(0, count, (min(chunk, BOOTSTRAP - start), count))
        means.append(values_N[rows].mean(axis=1))
    return np.concatenate(means)


def block_figure(
    value: float, parts_B: np.ndarray, *, bounds: tuple[float, float] = (-math.inf, math.inf), note: str | None = None
) -> Figure:
    """The value of the whole, give or take what the spread of its blocks says (Student's t).

    bounds: beyond which there is no value, so no interval reaches there.
    """
    spread = standard_error(parts_B)
    if spread is None:
        return Figure(value=value, note=note)
    half = student_t_quantile((1 + CONFIDENCE) / 2, len(parts_B) - 1) * spread
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    parts = tuple(float(part) for part in parts_B)
    return Figure(value=value, low=low, high=high, note=note, by="blocks", parts=parts)


def standard_error(parts_B: np.ndarray) -> float | None:
    """Of the mean of the blocks; None where there are too few, or where a block has no value."""
    if len(parts_B) < 3 or not np.isfinite(parts_B).all():
        return None
    return float(np.std(parts_B, ddof=1) / math.sqrt(len(parts_B)))


def win_probability(one: Figure, other: Figure) -> float | None:
    """How probable it is that the first figure is the larger one, on other images of the same kind.

    None where too little is known of their parts. It says nothing of other seeds of the training.
    """
    if one.by is None or one.by != other.by or len(one.parts) != len(other.parts):
        return None
    if one.by == "images":
        # The same images in both: the difference of the means is the mean of the differences.
        differences = one.resampled - other.resampled
        return float(((differences > 0) + 0.5 * (differences == 0)).mean())
    differences = np.array(one.parts) - np.array(other.parts)
    spread = standard_error(differences)
    if spread is None:
        return None
    if spread == 0:
        return 0.5 if one.value == other.value else float(one.value > other.value)
    return student_t_cdf((one.value - other.value) / spread, len(differences) - 1)


@lru_cache
def student_t_cdf(t: float, degrees: int) -> float:
    """P(T <= t), by Simpson's rule over the angle: t = sqrt(degrees) * tan(angle)."""
    # The density in the angle is cos(angle)^(degrees - 1), which is smooth and ends at +-90 degrees.
    angle = math.atan(t / math.sqrt(degrees))

    def integral(until: float) -> float:
        angles = np.linspace(-math.pi / 2, until, 2001)
        heights = np.maximum(np.cos(angles), 0) ** (degrees - 1)
        weights = np.ones(2001)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return float((heights * weights).sum() * (angles[1] - angles[0]) / 3)

    return integral(angle) / integral(math.pi / 2)


@lru_cache
def student_t_quantile(probability: float, degrees: int) -> float:
    low, high = 0.0, 1000.0  # for probabilities over a half
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2
