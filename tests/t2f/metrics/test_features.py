"""Frechet distance, precision and recall against what can be worked out by hand."""

import math

import numpy as np
import pytest
import torch

from t2f.metrics.features import frechet_distance, precision_recall


def test_frechet_distance_is_that_of_the_two_gaussians():
    random = np.random.default_rng(0)
    reals = random.normal(size=(200, 4)) @ random.normal(size=(4, 4))
    fakes = random.normal(size=(150, 4)) @ random.normal(size=(4, 4)) + 0.5
    ones, others = np.cov(reals.T), np.cov(fakes.T)
    roots = np.sqrt(np.linalg.eigvals(ones @ others).real)
    slow = ((reals.mean(0) - fakes.mean(0)) ** 2).sum() + np.trace(ones) + np.trace(others) - 2 * roots.sum()
    assert frechet_distance(torch.tensor(reals), torch.tensor(fakes)) == pytest.approx(slow, rel=1e-9)
    assert frechet_distance(torch.tensor(reals), torch.tensor(reals)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(frechet_distance(torch.ones(1, 3), torch.ones(5, 3)))


def test_more_features_than_images_are_no_error():
    ones, others = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)), torch.zeros(6, 50)
    assert frechet_distance(ones, others) > 0


def test_precision_and_recall_are_those_of_loops():
    random = torch.Generator().manual_seed(0)
    reals, fakes = torch.randn(12, 2, generator=random), torch.randn(9, 2, generator=random) * 1.5

    def radius(points, row):
        return sorted(float((points[row] - other).norm()) for other in points)[3]

    real = [any((f - reals[n]).norm() <= radius(reals, n) for n in range(12)) for f in fakes]
    covered = [any((r - fakes[m]).norm() <= radius(fakes, m) for m in range(9)) for r in reals]
    assert 0 < sum(real) < 9, "the case must tell both answers apart"
    found = precision_recall(reals, fakes)
    assert found[0].tolist() == real
    assert found[1].tolist() == covered


def test_one_repeated_face_is_precise_and_recalls_little():
    reals = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    precise, covered = precision_recall(reals, reals[:1].repeat(50, 1))
    assert precise.all()
    assert covered.sum() == 1
    assert [len(one) for one in precision_recall(reals[:3], reals)] == [0, 0]
