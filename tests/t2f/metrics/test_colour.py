"""The colour distance: what it sees, and how a value is shared between bins."""

import math

import pytest
import torch

from t2f.metrics.colour import colour_distance, colour_histogram
from t2f.metrics.wasserstein import laplacian_swd
from tests.t2f.metrics.pictures import images


def test_colour_distance_sees_the_shift_that_swd_cannot():
    reals, shifted = images(32, 16, 0), images(32, 16, 0, shift=40)
    assert max(laplacian_swd(reals, shifted).values()) < 5
    assert colour_distance(reals, reals) == pytest.approx(0, abs=1e-6)
    assert colour_distance(reals, shifted) > 0.3
    black, white = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert colour_distance(black, white) == pytest.approx(1)


def test_the_histogram_shares_a_value_between_its_two_bins():
    grey = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    histogram = colour_histogram(grey).reshape(8, 8, 8)
    place = 100 / 255 * 7
    low, part = math.floor(place), place - math.floor(place)
    assert float(histogram.sum()) == pytest.approx(1)
    assert float(histogram[low, low, low]) == pytest.approx((1 - part) ** 3, rel=1e-4)
    assert float(histogram[low + 1, low, low + 1]) == pytest.approx(part * part * (1 - part), rel=1e-4)
