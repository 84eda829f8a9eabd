"""The distance of two sets' colours.

N images, R resolution in px, P pixels
"""

import torch
from torch import Tensor

from t2f.portions import portion

COLOUR_BINS = 8  # a channel


def colour_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor) -> float:
    """Hellinger distance of the joint RGB histograms, 0 (equal) to 1 (no colour in common).

    SWD normalises each set by its own mean and cannot see that all colours are off; this can.
    """
    overlap = (colour_histogram(reals_N3RR).sqrt() * colour_histogram(fakes_N3RR).sqrt()).sum()
    return float((1 - overlap).clamp(min=0).sqrt())


def colour_histogram(images_N3RR: Tensor) -> Tensor:
    """Shares of 8x8x8 colours that sum to 1; a value between two bin centres counts for both, so bins have no edges."""
    histogram = torch.zeros(COLOUR_BINS**3, dtype=torch.float64)
    for images in images_N3RR.split(portion(images_N3RR.shape[-1])):
        _count(histogram, images)
    return histogram / histogram.sum()


def _count(histogram: Tensor, images_N3RR: Tensor) -> None:
    places_3P = images_N3RR.permute(1, 0, 2, 3).flatten(1).float() / 255 * (COLOUR_BINS - 1)
    low_3P = places_3P.floor().clamp(max=COLOUR_BINS - 2)
    part_3P = places_3P - low_3P
    low_3P = low_3P.long()
    for corner in range(8):
        index, weight = 0, torch.ones(places_3P.shape[1])
        for channel in range(3):
            high = corner >> channel & 1
            index = index * COLOUR_BINS + low_3P[channel] + high
            weight = weight * (part_3P[channel] if high else 1 - part_3P[channel])
        histogram.index_add_(0, index, weight.double())
