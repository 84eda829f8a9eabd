"""Real faces: whose the variance is, that photographs are compared with others, and that a training goes on."""

import pytest
import torch

from benchmarks import demo, real_faces
from benchmarks.demo import recipe_of
from t2f.settings import PRESETS
from t2f.trainer import StageTrainer


def test_the_captions_share_of_the_variance():
    random = torch.Generator().manual_seed(0)
    captions, noises = (torch.randn(2, 16, 300, generator=random) * torch.tensor([3.0, 1.0]).view(2, 1, 1)).unbind()
    pixels = captions[:, None] + noises[None]
    assert real_faces.caption_share(pixels) == pytest.approx(0.9, abs=0.02)
    assert real_faces.caption_share(captions[:, None].expand(16, 16, 300)) == pytest.approx(1)
    assert real_faces.caption_share(noises[None].expand(16, 16, 300)) == pytest.approx(0, abs=1e-9)


def test_the_two_sets_of_photographs_share_none(tiny_data):
    one, other = real_faces.photographs(tiny_data, 4, 1000)
    assert len(one) == len(other) == len(tiny_data.split("train").images(4)) // 2
    seen = {bytes(image.numpy().tobytes()) for image in one}
    assert len([image for image in other if bytes(image.numpy().tobytes()) in seen]) < len(other) // 4  # 4 px: alike


def test_a_training_that_was_broken_off_goes_on_to_the_same_weights(tiny_data, tmp_path, monkeypatch):
    recipe = recipe_of({**PRESETS["small"], "network.feature_base": 64, "network.feature_max": 16}, 8)
    spec = recipe.spec(tiny_data, images=(160, 160), seed=0)
    whole = [model.state_dict() for _, model, _ in demo.stages_trained(spec, tiny_data, tmp_path / "whole")]
    monkeypatch.setattr(demo, "CHECKPOINT_SECONDS", 0.0)
    step = StageTrainer.step

    def step_and_stop(trainer):
        step(trainer)
        if trainer.stage.resolution == 8 and trainer.position.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(StageTrainer, "step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        list(demo.stages_trained(spec, tiny_data, tmp_path / "broken"))
    begun = []

    def counted_step(trainer):
        begun.append((trainer.stage.resolution, trainer.position.step))
        step(trainer)

    monkeypatch.setattr(StageTrainer, "step", counted_step)
    again = [model.state_dict() for _, model, _ in demo.stages_trained(spec, tiny_data, tmp_path / "broken")]
    assert begun[0] == (8, 4), "neither the first stage nor what was saved of the second is trained again"
    for one, other in zip(whole, again, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
