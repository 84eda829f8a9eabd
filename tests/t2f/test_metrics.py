"""Metrics against slow, independent references."""

import math

import numpy as np
import pytest
import torch

from t2f import metrics


def images(count: int, resolution: int, seed: int, *, shift: int = 0) -> torch.Tensor:
    """Smooth random pictures, so that patches have structure."""
    random = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 4, 4, generator=random)
    large = torch.nn.functional.interpolate(small, size=(resolution, resolution), mode="bilinear")
    return (large * 200 + shift).clamp(0, 255).to(torch.uint8)


def test_one_direction_is_the_textbook_wasserstein_distance():
    a, b = np.array([0.0, 3.0, 1.0]), np.array([5.0, 6.0, 8.0])
    found = metrics.sliced_wasserstein(
        torch.tensor(a)[:, None].float(), torch.tensor(b)[:, None].float(), directions=1, seed=0
    )
    assert found == pytest.approx(1000 * np.abs(np.sort(a) - np.sort(b)).mean(), rel=1e-5)


def test_pyramid_adds_up_and_matches_a_slow_blur():
    picture = images(1, 32, 0).float()
    pyramid = metrics.laplacian_pyramid(picture)
    assert [level.shape[-1] for level in pyramid] == [32, 16]
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    channel = np.pad(picture[0, 1].numpy(), 2, mode="reflect")
    slow = np.array([[(channel[y : y + 5, x : x + 5] * kernel).sum() for x in range(32)] for y in range(32)])
    assert np.allclose(pyramid[1][0, 1].numpy(), slow[::2, ::2], atol=1e-3)
    zeros = np.zeros((32, 32))
    zeros[::2, ::2] = slow[::2, ::2]
    padded = np.pad(zeros, 2, mode="reflect")
    enlarged = np.array([[4 * (padded[y : y + 5, x : x + 5] * kernel).sum() for x in range(32)] for y in range(32)])
    assert np.allclose(pyramid[0][0, 1].numpy(), picture[0, 1].numpy() - enlarged, atol=1e-2)


def test_patches_are_where_they_should_be_and_normalised():
    pictures = images(2, 16, 1).float()
    places = metrics.patch_places(2, 16, torch.Generator().manual_seed(0))
    found = metrics.normalised_patches(pictures, places).reshape(2, 128, 7, 7, 3)
    cut = np.stack(
        [
            [pictures[n, :, r : r + 7, c : c + 7].permute(1, 2, 0).numpy() for r, c in places[n].tolist()]
            for n in range(2)
        ]
    )
    expected = (cut - cut.mean(axis=(0, 1, 2, 3))) / cut.std(axis=(0, 1, 2, 3))
    assert np.allclose(found.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("resolution", [4, 8, 16, 32])
def test_distances_are_zero_for_equal_sets_and_grow(resolution):
    reals, others = images(32, resolution, 0), images(32, resolution, 1)
    noise = torch.randint(0, 256, reals.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    assert metrics.image_distance(reals, reals) == 0
    assert 0 < metrics.image_distance(reals, others) < metrics.image_distance(reals, noise)


def test_colour_distance_sees_the_shift_that_swd_cannot():
    reals, shifted = images(32, 16, 0), images(32, 16, 0, shift=40)
    assert metrics.laplacian_swd(reals, shifted) < 5
    assert metrics.colour_distance(reals, reals) == pytest.approx(0, abs=1e-6)
    assert metrics.colour_distance(reals, shifted) > 0.3
    black, white = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert metrics.colour_distance(black, white) == pytest.approx(1)


def test_the_histogram_shares_a_value_between_its_two_bins():
    grey = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    histogram = metrics.colour_histogram(grey).reshape(8, 8, 8)
    place = 100 / 255 * 7
    low, part = math.floor(place), place - math.floor(place)
    assert float(histogram.sum()) == pytest.approx(1)
    assert float(histogram[low, low, low]) == pytest.approx((1 - part) ** 3, rel=1e-4)
    assert float(histogram[low + 1, low, low + 1]) == pytest.approx(part * part * (1 - part), rel=1e-4)
