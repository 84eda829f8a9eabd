"""The networks: shapes, fade-in, and what a new stage takes over."""

import dataclasses

import pytest
import torch

from t2f.layers import downsample, upsample
from t2f.networks import Discriminator, FaceModel, fade_reals, start_as_identity, take_over
from t2f.settings import Settings, Value
from t2f.spec import StageSpec
from tests.t2f.helpers import TEXT_SIZE, TINY


def stage(resolution: int, values: dict[str, Value] | None = None) -> StageSpec:
    settings = Settings().with_values({**TINY, **(values or {})})
    return StageSpec(resolution=resolution, images=8, fade_images=4, batch=4, seed=0, data_key="", settings=settings)


@pytest.mark.parametrize("resolution", [4, 8, 16, 32])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_shapes(resolution, alpha):
    model, critic = FaceModel(stage(resolution), 20), Discriminator(stage(resolution))
    images = model.generator(torch.randn(4, 12), alpha)
    assert images.shape == (4, 3, resolution, resolution)
    assert critic(images, torch.randn(4, TEXT_SIZE), alpha).shape == (4,)


def test_without_words_the_latent_is_noise_and_d_sees_the_image_alone():
    spec = stage(8, {"text.encoder": "none"})
    model, critic = FaceModel(spec, 20), Discriminator(spec)
    assert model.embed(None) is None
    noise = torch.randn(4, 12)
    latent, divergence = model.latent(None, noise)
    assert torch.equal(latent, noise)
    assert divergence is None
    assert critic(model.generator(latent, 1.0), None, 1.0).shape == (4,)
    assert not [name for name in model.state_dict() if not name.startswith("generator.")]
    assert not [name for name in critic.state_dict() if name.startswith(("text.", "join."))]


def test_projection_adds_the_product_of_words_and_features():
    critic = Discriminator(stage(8, {"discriminator.conditioning": "projection"}))
    images, text = torch.randn(4, 3, 8, 8), torch.randn(4, TEXT_SIZE)
    trunk = critic.trunk(images, 1.0)
    features = torch.nn.functional.leaky_relu(critic.dense(trunk.flatten(1)), 0.2)
    words = text @ (critic.text.weight * critic.text.scale).T
    for row in range(4):
        product = sum(a * b for a, b in zip(words[row], features[row], strict=True)) / len(words[row]) ** 0.5
        expected = critic.out(features[row : row + 1]).squeeze() + product
        assert torch.allclose(critic.judge(trunk, text)[row], expected, atol=1e-5)


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_the_score_depends_on_the_words(conditioning):
    critic = Discriminator(stage(8, {"discriminator.conditioning": conditioning}))
    trunk = critic.trunk(torch.randn(4, 3, 8, 8), 1.0)
    assert not torch.allclose(
        critic.judge(trunk, torch.randn(4, TEXT_SIZE)), critic.judge(trunk, torch.randn(4, TEXT_SIZE))
    )


def test_fade_in_mixes_the_enlarged_old_picture_with_the_new_one():
    model = FaceModel(stage(16), 20)
    latent = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    old_model = FaceModel(stage(8), 20)
    take_over(old_model, model.state_dict())
    old = upsample(old_model.generator(latent, 1.0))
    new = model.generator(latent, 1.0)
    for alpha in (0.25, 0.5):
        expected = (1 - alpha) * old + alpha * new
        assert torch.allclose(model.generator(latent, alpha), expected, atol=1e-5)


def test_the_critic_fades_in_the_same_way():
    critic, old_critic = Discriminator(stage(16)), Discriminator(stage(8))
    take_over(old_critic, critic.state_dict())
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    # At alpha 0 the new block counts for nothing.
    assert torch.allclose(critic.trunk(images, 0.0), old_critic.trunk(downsample(images), 1.0), atol=1e-5)


def test_a_new_stage_keeps_old_layers_and_draws_new_ones_by_name():
    old, new = FaceModel(stage(8), 20), FaceModel(stage(16), 20)
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(1)
    fresh = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    take_over(new, old.state_dict())
    for name, tensor in new.state_dict().items():
        expected = old.state_dict()[name] if name in old.state_dict() else fresh[name]
        assert torch.equal(tensor, expected), name
    assert any("16" in name for name in fresh.keys() - old.state_dict().keys())


@pytest.mark.parametrize("widest", [8, 16], ids=["equal widths", "half as wide"])
def test_a_block_that_starts_as_the_identity_passes_on_what_is_learned(widest):
    small, large = (stage(resolution, {"network.feature_max": widest}) for resolution in (4, 8))
    assert large.features == (widest, 8)
    latent = torch.randn(32, 12, generator=torch.Generator().manual_seed(0))
    text = torch.randn(32, TEXT_SIZE, generator=torch.Generator().manual_seed(1))
    old, new = FaceModel(small, 20), FaceModel(large, 20)
    old_critic, new_critic = Discriminator(small), Discriminator(large)
    images = upsample(old.generator(latent, 1.0)).detach()
    for parent, child, expected, found in (
        (old, new, images, lambda: new.generator(latent, 1.0)),
        (old_critic, new_critic, old_critic(downsample(images), text, 1.0), lambda: new_critic(images, text, 1.0)),
    ):
        take_over(child, parent.state_dict())
        drawn = agreement(expected, found())
        start_as_identity(child)
        assert agreement(expected, found()) > max(0.8, drawn)


def agreement(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.detach().flatten(), other.detach().flatten()]))[0, 1])


def test_a_block_too_narrow_for_colours_stays_as_it_was_drawn():
    model = FaceModel(stage(16), 20)
    drawn = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_as_identity(model)
    assert all(torch.equal(drawn[name], tensor) for name, tensor in model.state_dict().items())


def test_layers_of_equal_name_start_equal_at_every_resolution():
    small, large = Discriminator(stage(8)).state_dict(), Discriminator(stage(32)).state_dict()
    for name in small.keys() & large.keys():
        assert torch.equal(small[name], large[name])
    assert len(small.keys() & large.keys()) > 6


def test_features_of_later_stages_do_not_touch_earlier_ones():
    wide = dataclasses.replace(stage(16), settings=Settings().with_values({**TINY, "network.feature_base": 64}))
    assert wide.features == (8, 8, 4)


def test_reals_fade_like_the_generator():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    blurred = fade_reals(images, 0.25)
    for row in range(0, 8, 2):
        for column in range(0, 8, 2):
            block = images[:, :, row : row + 2, column : column + 2]
            mean = block.mean(dim=(2, 3), keepdim=True)
            expected = 0.25 * block + 0.75 * mean
            assert torch.allclose(blurred[:, :, row : row + 2, column : column + 2], expected, atol=1e-5)
    assert fade_reals(images, 1.0) is images


def test_draw_gives_pixels():
    model = FaceModel(stage(8), 20)
    pixels = model.draw(torch.randn(3, TEXT_SIZE), torch.randn(3, 12))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 3, 8, 8)
    assert int(pixels.max()) > int(pixels.min())
