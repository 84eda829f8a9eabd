"""What a sweep's ranking is worth: chances to win, ties, mean ranks, and how early stages foretell the last one.

K contenders, S bootstrap samples
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t2f.metrics.catalogue import BETTER, MEAN_RANK
from t2f.metrics.figures import CONFIDENCE, Figure, win_probability

CORRELATION_SAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A measured stage run of one or several trials, among others of its resolution."""

    stage_run_id: int
    figures: Mapping[str, Figure]


def turned(metric: str, value: float) -> float:
    """The value so that more is better."""
    return -value if BETTER.get(metric) == "lower" else value


def ranked_metrics(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """The metrics of a mean rank that all of these have."""
    return tuple(name for name in MEAN_RANK if contenders and all(name in one.figures for one in contenders))


def mean_ranks(contenders: Sequence[Contender]) -> list[float]:
    """Each contender's rank, averaged over the metrics; 1 is the best that can be."""
    metrics = ranked_metrics(contenders)
    if not metrics:
        return [math.nan] * len(contenders)
    ranks = [
        average_ranks(np.array([-turned(metric, one.figures[metric].value) for one in contenders]))
        for metric in metrics
    ]
    return [float(rank) for rank in np.mean(ranks, axis=0)]


def win_probabilities(contenders: Sequence[Contender], metrics: Sequence[str]) -> list[list[float | None]]:
    """[K, K]: how probable it is that one is better than another on other images of the same kind.

    Of several metrics the mean of their probabilities; None where nothing is known.
    """
    return [
        [None if one is other else _win_probability(one, other, metrics) for other in contenders] for one in contenders
    ]


def _win_probability(one: Contender, other: Contender, metrics: Sequence[str]) -> float | None:
    found = []
    for metric in metrics:
        probability = win_probability(one.figures[metric], other.figures[metric])
        if probability is None:
            return None
        found.append(1 - probability if BETTER.get(metric) == "lower" else probability)
    return sum(found) / len(found) if found else None


def is_tie(probability: float | None) -> bool:
    """Whether the difference may be chance: neither side wins with 97.5 %."""
    return probability is not None and abs(probability - 0.5) < CONFIDENCE / 2


# How early stages foretell the last one


def average_ranks(values_K: np.ndarray) -> np.ndarray:
    """Ranks from 1, the smallest first; equal values share the mean of their ranks."""
    _, place_K, count = np.unique(values_K, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place_K]


def spearman(ones_K: np.ndarray, others_K: np.ndarray) -> float:
    """The correlation of ranks; nan where one side does not vary."""
    ranks = [average_ranks(np.asarray(values)) for values in (ones_K, others_K)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / scale if scale > 0 else math.nan


def spearman_figure(ones_K: np.ndarray, others_K: np.ndarray) -> Figure | None:
    """Spearman's correlation with a bootstrap interval over the trials; None for fewer than 3, or without variation."""
    count = len(ones_K)
    value = spearman(ones_K, others_K) if count >= 3 else math.nan
    if math.isnan(value):
        return None
    random = np.random.default_rng([count, CORRELATION_SAMPLES])
    rows_SK = random.integers(0, count, (CORRELATION_SAMPLES, count))
    samples = np.array([spearman(ones_K[rows], others_K[rows]) for rows in rows_SK])
    samples = samples[np.isfinite(samples)]
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(value=value, low=float(low), high=float(high), note=f"{count} trials")
