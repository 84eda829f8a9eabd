"""The generator for drawing alone draws what the trained one does."""

import pytest
import torch

from t2f.frozen import FrozenGenerator, faces_at_once, to_pixels
from t2f.networks import FaceModel
from t2f.settings import PRESETS, Settings
from t2f.spec import StageSpec


@pytest.mark.parametrize("resolution", [4, 8, 32])
def test_it_is_the_same_function(resolution):
    settings = Settings().with_values({**PRESETS["small"], "network.feature_base": 256, "network.feature_max": 24})
    stage = StageSpec(resolution=resolution, images=1, fade_images=0, batch=2, seed=3, data_key="d", settings=settings)
    model = FaceModel(stage, 10).eval().requires_grad_(False)
    latent_BZ = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    given = latent_BZ.clone()
    images = FrozenGenerator(model.generator)(latent_BZ)
    assert torch.equal(latent_BZ, given), "what is given stays as it is"
    assert torch.allclose(images, model.generator(latent_BZ, 1.0), atol=1e-4)


def test_pixels_are_rounded_and_cut_off():
    images = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0])
    assert to_pixels(images).tolist() == [0, 0, 128, 255, 255]


def test_batches_hold_about_as_many_pixels():
    assert [faces_at_once(resolution) for resolution in (4, 32, 64, 128, 1024)] == [256, 64, 16, 4, 1]
