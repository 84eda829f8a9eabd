"""MS-SSIM against loops over windows."""

import numpy as np
import pytest
import torch

from t2f.metrics.similarity import WEIGHTS, ms_ssim
from tests.t2f.metrics.pictures import images


def slow_ssim(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """SSIM and its contrast part, window by window (Wang et al. 2004, equations 12 to 16)."""
    side = one.shape[1]
    size = min(11, side)
    sigma = 1.5 * size / 11
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * sigma**2))
    window /= window.sum()
    similarities, contrasts = [], []
    for channel in range(3):
        for y in range(side - size + 1):
            for x in range(side - size + 1):
                a, b = (image[channel, y : y + size, x : x + size] for image in (one, other))
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                variance = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                contrast = (2 * covariance + 7.65**2) / (variance + 7.65**2)
                luminance = (2 * mean_a * mean_b + 2.55**2) / (mean_a**2 + mean_b**2 + 2.55**2)
                similarities.append(luminance * contrast)
                contrasts.append(contrast)
    return float(np.mean(similarities)), float(np.mean(contrasts))


def slow_ms_ssim(one: np.ndarray, other: np.ndarray) -> float:
    product = 1.0
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = slow_ssim(one, other)
        product *= max(0.0, similarity if scale == 4 else contrast) ** weight
        one, other = ((i[:, ::2, ::2] + i[:, 1::2, ::2] + i[:, ::2, 1::2] + i[:, 1::2, 1::2]) / 4 for i in (one, other))
    return product


@pytest.mark.parametrize("resolution", [16, 32])
def test_it_is_that_of_a_slow_implementation(resolution):
    ones, others = images(3, resolution, 0), images(3, resolution, 1)
    others[0] = (ones[0].float() * 0.7 + others[0].float() * 0.3).to(torch.uint8)
    found = ms_ssim(ones, others)
    for row in range(3):
        slow = slow_ms_ssim(ones[row].double().numpy(), others[row].double().numpy())
        assert float(found[row]) == pytest.approx(slow, abs=2e-4)


def test_equal_pictures_have_one():
    pictures = images(4, 16, 0)
    assert torch.allclose(ms_ssim(pictures, pictures), torch.ones(4, dtype=torch.float64))
