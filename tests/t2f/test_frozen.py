"""The generator for drawing alone draws what the trained one does."""

import numpy as np
import pytest
import torch

from t2f.frozen import FrozenGenerator, faces_at_once
from t2f.networks import FaceModel
from t2f.settings import PRESETS, Settings
from t2f.spec import StageSpec


@pytest.mark.parametrize("resolution", [4, 8, 32])
def test_it_draws_the_same_pictures(resolution):
    settings = Settings().with_values(
        {**PRESETS["small"], "text.encoder": "none", "network.feature_base": 256, "network.feature_max": 24}
    )
    stage = StageSpec(resolution=resolution, images=1, fade_images=0, batch=2, seed=3, data_key="d", settings=settings)
    model = FaceModel(stage, 10).eval().requires_grad_(False)
    latent_BZ = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    given = latent_BZ.clone()
    pictures = FrozenGenerator(model.generator).draw(latent_BZ).numpy()
    assert torch.equal(latent_BZ, given), "what is given stays as it is"
    expected = model.draw(None, latent_BZ).numpy()
    assert pictures.dtype == np.uint8
    assert np.abs(pictures.astype(int) - expected).max() <= 1
    assert (pictures != expected).mean() < 0.001
    assert {0, 255} <= set(np.unique(pictures)), "values beyond the range are cut off"


def test_passes_side_by_side_draw_the_same_faces_in_their_order():
    values = {**PRESETS["small"], "text.encoder": "none", "network.feature_base": 64, "network.feature_max": 16}
    settings = Settings().with_values(values)
    stage = StageSpec(resolution=32, images=1, fade_images=0, batch=2, seed=3, data_key="d", settings=settings)
    frozen = FrozenGenerator(FaceModel(stage, 10).eval().requires_grad_(False).generator)
    latent_NZ = torch.randn(300, 96, generator=torch.Generator().manual_seed(0))
    alone = frozen.draw_many(latent_NZ)
    torch.set_num_threads(3)
    try:
        together = frozen.draw_many(latent_NZ)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone, together)
    assert torch.equal(alone[:128], frozen.draw(latent_NZ[:128]))


def test_batches_hold_about_as_many_pixels():
    assert [faces_at_once(resolution) for resolution in (4, 32, 64, 128, 1024)] == [256, 128, 32, 8, 1]
