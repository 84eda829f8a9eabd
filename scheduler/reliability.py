"""Whether a rung foretells the final stage: the correlation of ranks, from finishers and random controls.

Those that a rung let on are alike, so among them alone its values foretell little. A control was chosen by chance from
those that would have been stopped, and stands for as many of them as there are to each control: its weight.

P pairs
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2f.metrics.figures import Figure

RELIABLE = 0.5  # a rung whose correlation is below it, with 97.5 %, is not used
SPREAD = 1.06  # of atanh(Spearman's) times sqrt(n - 3): Fieller, Hartley and Pearson, Biometrika 44 (1957)
NORMAL = 1.959964  # of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A stage run at a rung, and what came of it at the final stage; more is better in both."""

    at_rung: float
    at_end: float
    weight: float = 1.0
    is_control: bool = False


def weighted_ranks(values_P: np.ndarray, weights_P: np.ndarray) -> np.ndarray:
    """The weight of what is below each value, and half of what equals it."""
    order_P = np.argsort(values_P, kind="stable")
    _, first = np.unique(values_P[order_P], return_index=True)
    groups = np.split(order_P, first[1:])
    ranks_P, below = np.empty(len(values_P)), 0.0
    for group in groups:
        weight = float(weights_P[group].sum())
        ranks_P[group] = below + weight / 2
        below += weight
    return ranks_P


def weighted_spearman(ones_P: np.ndarray, others_P: np.ndarray, weights_P: np.ndarray) -> float:
    """Pearson's weighted correlation of the weighted ranks; Spearman's for equal ones; nan without variation."""
    ranks = [weighted_ranks(values, weights_P) for values in (ones_P, others_P)]
    centred = [rank - np.average(rank, weights=weights_P) for rank in ranks]
    products = [(weights_P * a * b).sum() for a, b in ((centred[0], centred[1]), *zip(centred, centred, strict=True))]
    scale = math.sqrt(products[1] * products[2])
    return float(products[0]) / scale if scale > 0 else math.nan


def reliability(pairs: Sequence[Pair]) -> Figure | None:
    """The rank correlation of a rung with the final stage; None for fewer than three pairs, or without variation.

    Its 95 % interval is Fisher's (atanh), for as many pairs as equal weights would need to say as much (Kish:
    (sum w)^2 / sum w^2); from -1 to 1 where these are not more than 3.
    """
    if len(pairs) < 3:
        return None
    ones, others, weights = (
        np.array([getattr(pair, name) for pair in pairs]) for name in ("at_rung", "at_end", "weight")
    )
    value = weighted_spearman(ones, others, weights)
    if math.isnan(value):
        return None
    count = float(weights.sum() ** 2 / (weights**2).sum())
    low, high = -1.0, 1.0
    if count > 3:
        # A perfect order of a few pairs is no certainty: it counts as if one more pair stood half against it.
        turned = math.atanh(max(-1 + 1 / len(pairs), min(1 - 1 / len(pairs), value)))
        half = NORMAL * SPREAD / math.sqrt(count - 3)
        low, high = math.tanh(turned - half), max(value, math.tanh(turned + half))
        low = min(value, low)
    num_controls = sum(pair.is_control for pair in pairs)
    note = f"{len(pairs) - num_controls} finishers, {num_controls} random controls"
    return Figure(value=value, low=low, high=high, note=note)


def foretells(figure: Figure | None, pairs: Sequence[Pair]) -> bool:
    """Whether the rung may still be used: it takes two controls and an interval to find that it may not."""
    if figure is None or sum(pair.is_control for pair in pairs) < 2:
        return True
    return figure.high >= RELIABLE
