"""Portions: as many pixels at once whatever the resolution, and figures that do not depend on them."""

import pytest
import torch

from t2f import portions
from t2f.metrics.colour import colour_histogram
from t2f.metrics.similarity import ms_ssim
from t2f.metrics.wasserstein import laplacian_swd
from t2f.portions import portion
from tests.t2f.metrics.pictures import images


@pytest.mark.parametrize(("resolution", "most", "count"), [(4, 64, 64), (64, 64, 64), (128, 256, 64), (512, 64, 1)])
def test_a_portion_has_as_many_pixels_as_most_pictures_of_64_px(resolution, most, count):
    assert portion(resolution, most) == count


def test_a_portion_of_very_large_pictures_is_one():
    assert portion(1024) == 1


def test_figures_do_not_depend_on_portions(monkeypatch):
    reals, fakes = images(40, 32, 0), images(40, 32, 1)
    whole = laplacian_swd(reals, fakes, directions=64), colour_histogram(reals), ms_ssim(reals, fakes)
    monkeypatch.setattr(portions, "FULL", 16)
    assert portion(32) == 16
    assert laplacian_swd(reals, fakes, directions=64) == whole[0]
    assert torch.allclose(colour_histogram(reals), whole[1], rtol=1e-12, atol=0)
    assert torch.allclose(ms_ssim(reals, fakes), whole[2], rtol=1e-6, atol=0)
