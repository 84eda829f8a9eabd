"""Where a training is inside its stage."""

import pytest

from t2f.settings import Settings
from t2f.spec import StageSpec
from t2f.stages import images_per_step, num_steps, position


def stage(*, resolution: int = 8, images: int = 100, fade_images: int = 50, steps: int = 1) -> StageSpec:
    settings = Settings().with_values({"discriminator.steps": steps})
    return StageSpec(
        resolution=resolution,
        images=images,
        fade_images=fade_images,
        batch=10,
        seed=0,
        data_key="",
        settings=settings,
    )


@pytest.mark.parametrize(
    ("step", "alpha"), [(0, 0.2), (1, 0.4), (3, 0.8), (4, 1.0), (5, 1.0), (9, 1.0)], ids=lambda value: str(value)
)
def test_alpha_grows_linearly_over_the_fade_and_stays(step, alpha):
    assert position(stage(), step).alpha == pytest.approx(alpha)


def test_the_first_stage_has_nothing_to_fade():
    assert position(stage(resolution=4), 0).alpha == 1.0
    assert position(stage(fade_images=0), 0).alpha == 1.0


def test_a_fade_longer_than_the_stage_never_ends():
    assert position(stage(fade_images=200), 9).alpha == pytest.approx(0.5)


@pytest.mark.parametrize(("images", "steps", "expected"), [(100, 1, 10), (101, 1, 11), (9, 1, 1), (100, 3, 4)])
def test_a_stage_ends_once_its_images_were_shown(images, steps, expected):
    spec = stage(images=images, steps=steps)
    assert num_steps(spec) == expected
    assert not position(spec, expected - 1).is_finished
    assert position(spec, expected).is_finished
    assert position(spec, expected).images_seen == expected * images_per_step(spec) >= images
