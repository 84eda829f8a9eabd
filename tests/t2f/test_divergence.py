"""Divergence: noticed soon where it is, and never where it is not."""

import pytest
import torch

from t2f.run import REPORT_STEPS
from t2f.settings import PRESETS, Settings
from t2f.spec import StagePlan, TrainingSpec
from t2f.trainer import DIVERSITY_BOUND, DivergedError, StageTrainer, divergence

ARTICLE = {"loss.name": "wgan-gp", "loss.penalty_interval": 1, "text.trained_by": "generator", "text.pooling": "last"}
ARTICLE |= {"generator.learning_rate": 1e-3, "discriminator.learning_rate": 1e-3, "loss.kl_weight": 1.0}
LOSSES = {
    "small": {},
    "article": ARTICLE,
    "relativistic": {"loss.name": "relativistic"},
    "hinge": {"loss.name": "hinge"},
}


def train(data, values, *, seed: int, steps: int) -> list[dict[str, float]]:
    """The curves of so many steps at 4 px and then at 8 px, at the widths of `small`."""
    plan = StagePlan(resolutions=(4, 8), images=(16 * steps,) * 2, fade=(0.0, 0.5), batch=(16, 16))
    settings = Settings().with_values({**PRESETS["small"], **values})
    parent, curves = None, []
    for stage in TrainingSpec(data_key=data.key, seed=seed, plan=plan, settings=settings).stages():
        trainer = StageTrainer(stage, data, parent=parent)
        while not trainer.position.is_finished:
            trainer.step()
            if trainer.position.step % REPORT_STEPS == 0:
                curves.append(trainer.take_curves())
        parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
    return curves


@pytest.mark.slow
def test_twenty_healthy_seeds_give_no_alarm(tiny_data):
    lowest = []
    for seed in range(20):
        curves = train(tiny_data, list(LOSSES.values())[seed % 4], seed=seed, steps=2 * REPORT_STEPS)
        lowest.append(min(curve["diversity"] for curve in curves))
    assert min(lowest) > 2 * DIVERSITY_BOUND, "the bound must be far from what healthy trainings do"


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_rate_a_thousand_times_too_high_is_noticed_within_fifty_steps(tiny_data, loss):
    settings = Settings().with_values({**PRESETS["small"], **LOSSES[loss]})
    rates = {
        "generator.learning_rate": min(1.0, settings.generator.learning_rate * 1000),
        "discriminator.learning_rate": min(1.0, settings.discriminator.learning_rate * 1000),
    }
    with pytest.raises(DivergedError) as caught:
        train(tiny_data, {**LOSSES[loss], **rates}, seed=0, steps=50)
    assert caught.value.evidence["images_seen"] <= 50 * 16
    assert {"curve", "value", "allowed"} <= set(caught.value.evidence)


def test_a_generator_that_draws_one_face_is_noticed(tiny_data):
    """The last layer's weights at 0: whatever the noise and the words, one colour."""
    plan = StagePlan(resolutions=(4,), images=(1600,), fade=(0.0,), batch=(16,))
    settings = Settings().with_values({**PRESETS["small"], "generator.learning_rate": 1e-8})
    (stage,) = TrainingSpec(data_key=tiny_data.key, seed=0, plan=plan, settings=settings).stages()
    trainer = StageTrainer(stage, tiny_data)
    with torch.no_grad():
        trainer.face_model.generator.to_rgb["4"].weight.zero_()
    trainer.step()
    with pytest.raises(DivergedError, match="diversity"):
        trainer.take_curves()


@pytest.mark.parametrize(
    ("curve", "value", "is_sane"),
    [
        ("loss_d", float("nan"), False),
        ("loss_g", float("-inf"), False),
        ("loss_g", -5000.0, True),
        ("score_right", 999.0, True),
        ("score_fake", -1001.0, False),
        ("diversity", 0.0, False),
        ("diversity", 0.5, True),
    ],
)
def test_what_makes_no_sense(curve, value, is_sane):
    assert (divergence(curve, value) is None) == is_sane
