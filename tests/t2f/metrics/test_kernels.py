"""Kernel distances against double loops."""

import math

import numpy as np
import pytest
import torch

from t2f.metrics.kernels import gaussian_mmd, kernel_inception_distance


def vectors(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + shift


def slow_mmd(reals: np.ndarray, fakes: np.ndarray, kernel) -> float:
    def mean(ones, others, *, same):
        values = [kernel(a, b) for i, a in enumerate(ones) for j, b in enumerate(others) if not (same and i == j)]
        return sum(values) / len(values)

    within = mean(reals, reals, same=True) + mean(fakes, fakes, same=True)
    return 1e3 * (within - 2 * mean(reals, fakes, same=False))


def test_kid_is_the_unbiased_estimate_under_the_cubic_kernel():
    reals, fakes = vectors(9, 0), vectors(7, 1, 0.5)
    slow = slow_mmd(reals.double().numpy(), fakes.double().numpy(), lambda a, b: (a @ b / 5 + 1) ** 3)
    assert kernel_inception_distance(reals, fakes) == pytest.approx(slow, rel=1e-9)


def test_gaussian_mmd_takes_its_width_from_the_reals():
    reals, fakes = vectors(9, 0), vectors(7, 1, 0.5)
    distances = sorted(float((reals[i] - reals[j]).norm()) for i in range(9) for j in range(i))
    width = distances[(len(distances) - 1) // 2]  # torch's median is the lower one

    def kernel(a, b):
        return math.exp(-((a - b) ** 2).sum() / (2 * width**2))

    slow = slow_mmd(reals.double().numpy(), fakes.double().numpy(), kernel)
    assert gaussian_mmd(reals, fakes) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("distance", [gaussian_mmd, kernel_inception_distance])
def test_it_is_about_zero_for_the_same_distribution_and_grows(distance):
    near = [distance(vectors(40, 2 * seed), vectors(40, 2 * seed + 1)) for seed in range(20)]
    assert abs(np.mean(near)) < 2 * np.std(near) / math.sqrt(20) * 2, "it is unbiased, so it may be below 0"
    assert distance(vectors(40, 0), vectors(40, 1, 1.0)) > 5 * max(near)


def test_too_few_or_equal_pictures_have_no_distance():
    assert math.isnan(kernel_inception_distance(vectors(1, 0), vectors(9, 1)))
    assert math.isnan(gaussian_mmd(torch.ones(5, 3), vectors(5, 1)[:, :3]))
