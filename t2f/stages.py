"""Where a training is inside its stage: pure functions of the number of steps."""

from dataclasses import dataclass

from t2f.spec import StageSpec


@dataclass(frozen=True, kw_only=True)
class Position:
    """One moment of a stage."""

    step: int  # G steps done
    images_seen: int  # real images shown to D in this stage
    alpha: float  # share of the new layers in the picture, 1 once the fade is over
    is_finished: bool


def images_per_step(stage: StageSpec) -> int:
    """Real images that one G step and its D steps take."""
    return stage.batch * stage.settings.discriminator.steps


def num_steps(stage: StageSpec) -> int:
    """G steps of the whole stage; the last one may go a little beyond `stage.images`."""
    return -(-stage.images // images_per_step(stage))


def position(stage: StageSpec, step: int) -> Position:
    """Where the stage is after so many G steps.

    alpha grows linearly from 1 / fade steps to 1 over `fade_images` (ProGAN figure 2); at the first resolution there is
    nothing to fade.
    """
    images_seen = step * images_per_step(stage)
    fading = stage.index > 0 and images_seen < stage.fade_images
    alpha = min(1.0, (images_seen + images_per_step(stage)) / stage.fade_images) if fading else 1.0
    return Position(step=step, images_seen=images_seen, alpha=alpha, is_finished=step >= num_steps(stage))
