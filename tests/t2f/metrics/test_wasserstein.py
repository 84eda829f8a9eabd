"""Sliced Wasserstein distances against a slow, independent implementation."""

import numpy as np
import pytest
import torch

from t2f.metrics import wasserstein as metrics
from tests.t2f.metrics.pictures import images, noise_images


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
    found = metrics.normalised(metrics.patches(pictures, places)).reshape(2, 128, 7, 7, 3)
    cut = np.stack(
        [
            [pictures[n, :, r : r + 7, c : c + 7].permute(1, 2, 0).numpy() for r, c in places[n].tolist()]
            for n in range(2)
        ]
    )
    expected = (cut - cut.mean(axis=(0, 1, 2, 3))) / cut.std(axis=(0, 1, 2, 3))
    assert np.allclose(found.numpy(), expected, atol=1e-4)


def slow_blur(channel: np.ndarray, gain: float) -> np.ndarray:
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256 * gain
    size = len(channel)
    blurred = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    # Mirrored about the outermost pixels, which are not repeated.
                    row, column = (size - 1 - abs(size - 1 - abs(place)) for place in (y + dy, x + dx))
                    blurred[y, x] += kernel[dy + 2, dx + 2] * channel[row, column]
    return blurred


def slow_pyramid(image_CHW: np.ndarray) -> list[np.ndarray]:
    levels, current = [], image_CHW.astype(np.float64)
    while current.shape[1] > 16:
        smaller = np.stack([slow_blur(channel, 1)[::2, ::2] for channel in current])
        enlarged = np.zeros_like(current)
        enlarged[:, ::2, ::2] = smaller
        levels.append(current - np.stack([slow_blur(channel, 4) for channel in enlarged]))
        current = smaller
    return [*levels, current]


def slow_descriptors(levels_NCHW: list[np.ndarray], places_NP2: np.ndarray) -> np.ndarray:
    patches = []
    for image, places in zip(levels_NCHW, places_NP2, strict=True):
        for row, column in places:
            patches.append(image[:, row : row + 7, column : column + 7].transpose(1, 2, 0))
    patches_PYXC = np.stack(patches)
    for channel in range(3):
        values = patches_PYXC[..., channel]
        patches_PYXC[..., channel] = (values - values.mean()) / values.std()
    return patches_PYXC.reshape(len(patches_PYXC), -1)


def test_swd_is_that_of_a_slow_implementation_of_the_definition():
    """ProGAN section 5 in loops; only the random places and directions are taken over."""
    reals, fakes = images(3, 32, 0), images(3, 32, 1)
    found = metrics.laplacian_swd(reals, fakes, directions=70, seed=5)
    pyramids = [[slow_pyramid(picture.numpy()) for picture in pictures] for pictures in (reals, fakes)]
    axes = torch.Generator().manual_seed(5)
    directions_LD = np.concatenate([torch.randn(147, width, generator=axes).numpy() for width in (64, 6)], axis=1)
    for level, resolution in enumerate((32, 16)):
        random = torch.Generator().manual_seed(5 + level)
        places = metrics.patch_places(3, resolution, random).numpy()
        assert places.min() == 0
        assert places.max() == resolution - 7
        sides = [slow_descriptors([pyramid[level] for pyramid in pyramids[side]], places) for side in (0, 1)]
        distances = []
        for direction in directions_LD.T.astype(np.float64):
            direction = direction / np.sqrt((direction**2).sum())
            ours, theirs = (sorted(side @ direction) for side in sides)
            distances.append(sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / len(ours))
        assert found[resolution] == pytest.approx(1e3 * sum(distances) / len(distances), rel=1e-4)
    assert set(found) == {32, 16}


@pytest.mark.parametrize("resolution", [16, 32])
def test_swd_is_zero_for_equal_sets_and_grows(resolution):
    reals, others, noise = images(32, resolution, 0), images(32, resolution, 1), noise_images(32, resolution)
    same, near, far = (metrics.laplacian_swd(reals, fakes, directions=64) for fakes in (reals, others, noise))
    for level in same:
        assert same[level] == 0 < near[level] < far[level]


@pytest.mark.parametrize("resolution", [4, 8])
def test_pixel_distance_is_zero_for_equal_sets_and_grows(resolution):
    reals, others, noise = images(32, resolution, 0), images(32, resolution, 1), noise_images(32, resolution)
    assert metrics.pixel_distance(reals, reals) == 0
    assert 0 < metrics.pixel_distance(reals, others) < metrics.pixel_distance(reals, noise)


def test_threads_do_not_change_what_is_sorted(monkeypatch):
    values = np.random.default_rng(0).normal(size=(7, 100)).astype(np.float32)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert np.array_equal(metrics.sorted_rows(values.copy()), np.sort(values, axis=1))
