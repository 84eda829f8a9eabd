"""Noise in the background: found where it was put, and nowhere else."""

import pytest
import torch

from benchmarks.noise import QUIET, background_noise, finest_detail


def test_noise_is_found_where_it_was_put():
    random = torch.Generator().manual_seed(0)
    faces = torch.full((40, 3, 32, 32), 100.0)
    faces[:, :, 10:22, 10:22] += 50 * torch.randn(40, 3, 12, 12, generator=random)  # every face differs
    faces[:3, :, :6, :6] += 50 * torch.randn(3, 3, 6, 6, generator=random)  # hair of a few reaches the corner
    background = finest_detail(faces) < QUIET
    assert background[:6, :6].all()
    assert not background[12:20, 12:20].any()
    assert background_noise(faces, background) == pytest.approx(0, abs=0.1)
    noisy = faces.clone()
    noisy[:, :, :6, :6] += 4 * torch.randn(40, 3, 6, 6, generator=random)
    assert background_noise(noisy, background) > 1.5 * background_noise(faces, background) + 0.05
