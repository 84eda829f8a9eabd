"""Whatever the recipe and wherever the cut: a training that went on has the bits of one that never stopped."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2f.checkpoint import load_tensors, save_tensors
from t2f.errors import SpecError
from t2f.losses import LOSSES
from t2f.settings import SETTINGS, Settings, Value
from t2f.spec import StagePlan, StageSpec, TrainingSpec
from t2f.stages import num_steps
from t2f.trainer import StageTrainer
from tests.t2f.helpers import TINY

# What a stage may be asked for, within sizes that train in a blink.
CHOICES = {name: st.sampled_from(field.metadata["choices"]) for name, field in SETTINGS.items() if field.type is str}
CHOICES["text.encoder"] = st.sampled_from(["lstm", "none"])  # a frozen encoder has a test of its own
SMALL = {
    "network.stddev_group": st.sampled_from([1, 2, 4]),
    "compute.micro_batch": st.sampled_from([0, 4, 8]),
    "discriminator.steps": st.integers(1, 3),
    "generator.learning_rate": st.floats(1e-5, 5e-3),
    "discriminator.learning_rate": st.floats(1e-5, 5e-3),
    "optimizer.beta1": st.sampled_from([0.0, 0.5, 0.9]),
    "optimizer.beta2": st.sampled_from([0.9, 0.99, 0.999]),
    "loss.penalty_interval": st.integers(1, 5),
    "loss.gradient_penalty": st.floats(0, 20),
    "loss.drift": st.floats(0, 0.1),
    "loss.r1_gamma": st.floats(0, 2),
    "loss.r2_gamma": st.floats(0, 2),
    "loss.mismatched_weight": st.floats(0, 1),
    "loss.kl_weight": st.floats(0, 2),
    "augment.strength": st.floats(0, 1),
    "augment.target": st.floats(-1, 1),
    "augment.images": st.integers(8, 1000),
    "text.caption_dropout": st.floats(0, 1),
    "text.layers": st.integers(1, 2),
    "text.word_bag": st.sampled_from([0, 4]),
    "data.uncaptioned_share": st.floats(0, 1),
    "ema.half_life": st.floats(0, 1000),
    "ema.ramp_up": st.floats(0, 1),
}
SIZES = {"text.word_embedding", "text.hidden", "text.embedding"}
SIZES |= {"network.latent", "network.conditioning", "network.feature_base", "network.feature_max", "optimizer.epsilon"}


@st.composite
def trainings(draw: st.DrawFn, data_key: str) -> TrainingSpec:
    """Two stages with any settings, those of the second partly others."""
    names = draw(st.lists(st.sampled_from(sorted(CHOICES | SMALL)), unique=True))
    values: dict[str, Value] = {name: draw((CHOICES | SMALL)[name]) for name in names}
    values["loss.name"] = draw(st.sampled_from(sorted(LOSSES)))
    images, fade = draw(st.integers(8, 60)), draw(st.floats(0, 1))
    plan = StagePlan(resolutions=(4, 8), images=(8, images), fade=(0.0, fade), batch=(8, 8))
    try:
        return TrainingSpec(
            data_key=data_key,
            seed=draw(st.integers(0, 9)),
            plan=plan,
            settings=Settings().with_values({**TINY, **values}),
            late={8: {"generator.learning_rate": draw(st.floats(1e-5, 5e-3))}},
        )
    except SpecError:
        values["augment.method"] = "none"  # ADA under wgan-gp; or a group that the micro-batch does not hold
        values["compute.micro_batch"] = 0
        return TrainingSpec(data_key=data_key, seed=0, plan=plan, settings=Settings().with_values({**TINY, **values}))


def trained(stage: StageSpec, data, parent, *, steps: int, state=None) -> StageTrainer:
    trainer = StageTrainer(stage, data, parent=parent)
    if state is not None:
        trainer.load(state)
    while trainer.position.step < steps:
        trainer.step()
    return trainer


def test_every_setting_is_tried_or_is_a_size():
    assert set(SETTINGS) == set(CHOICES) | set(SMALL) | SIZES


@pytest.mark.slow
@given(draw=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_anywhere_changes_no_bit(mixed_data, tmp_path, draw):
    """Through a real file, cuts inside the fade included; the data has images with and without captions."""
    torch.set_num_threads(1)
    first, second = draw.draw(trainings(mixed_data.key)).stages()
    parent = trained(first, mixed_data, None, steps=num_steps(first)).state()
    parent = {name: tensor.clone() for name, tensor in parent.items()}
    steps = num_steps(second)
    cut = draw.draw(st.integers(0, steps))
    whole = trained(second, mixed_data, parent, steps=steps)
    save_tensors(tmp_path / "cut.safetensors", trained(second, mixed_data, parent, steps=cut).state(), {})
    state, _ = load_tensors(tmp_path / "cut.safetensors")
    assert trained(second, mixed_data, parent, steps=steps, state=state).weights_sha256() == whole.weights_sha256()
