"""Gates: what keeps a model from winning, however good its other figures are. No torch in here.

    text       its words change nothing: the judge's caption-shuffle gap may be under 5 % of the real pairs' own
    copies     more than 5 % of its faces are copies of training images
    collapse   its faces repeat each other: the distance to the nearest other face is under a quarter of the reals'

A figure that was not measured closes no gate. Intervals count: `text` must be passed for sure, the others must be
failed for sure, so that a good model is not kept out by chance.
"""

from collections.abc import Mapping
from typing import Any

TEXT_SHARE = 0.05
COPIED_SHARE = 0.05
NEAREST_FACE = 0.25

MEANING = {
    "text": "it draws the same whatever the words are",
    "copies": "it returns training images",
    "collapse": "its faces are all alike",
}


def closed_gates(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the gates that these figures (`Figure.to_json`) do not pass."""
    closed = {
        "text": _bound(metrics, "text", "low", default=1.0) <= TEXT_SHARE,
        "copies": _bound(metrics, "copied_share", "low", default=0.0) > COPIED_SHARE,
        "collapse": _bound(metrics, "nearest_face", "high", default=1.0) < NEAREST_FACE,
    }
    return tuple(name for name, is_closed in closed.items() if is_closed)


def _bound(metrics: Mapping[str, Mapping[str, Any]], name: str, end: str, *, default: float) -> float:
    value = metrics.get(name, {}).get(end)
    return default if value is None else value
