"""The trainer: it learns, it repeats, and it goes on to the same bits."""

from dataclasses import replace

import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors
from t2f.errors import CheckpointError
from t2f.stages import num_steps
from t2f.trainer import DivergedError, StageTrainer
from tests.t2f.helpers import tiny_stages

RECIPES = {
    "small": {},
    "article": {
        "loss.name": "wgan-gp",
        "loss.penalty_interval": 1,
        "text.pooling": "last",
        "text.normalise": "off",
        "text.trained_by": "generator",
        "text.layers": 2,
        "ema.ramp_up": 0.0,
    },
    "two D steps, Adam reset": {
        "discriminator.steps": 2,
        "optimizer.at_stage_start": "reset",
        "loss.penalty_interval": 3,
    },
}


def train(trainer: StageTrainer, steps: int | None = None) -> StageTrainer:
    while not trainer.position.is_finished and steps != 0:
        trainer.step()
        steps = None if steps is None else steps - 1
    return trainer


def snapshot(trainer: StageTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.state().items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_going_on_from_a_file_gives_the_same_bits(tiny_data, tmp_path, recipe):
    """A cut inside the fade and one after it, through a real file, into the next stage."""
    stages = tiny_stages(tiny_data, RECIPES[recipe])
    parent = snapshot(train(StageTrainer(stages[0], tiny_data)))
    whole = train(StageTrainer(stages[1], tiny_data, parent=parent))
    steps = num_steps(stages[1])
    for cut in (1, steps // 4, steps - 1):
        before = train(StageTrainer(stages[1], tiny_data, parent=parent), cut)
        save_tensors(tmp_path / f"{cut}.safetensors", before.state(), {})
        after = StageTrainer(stages[1], tiny_data, parent=parent)
        after.load(load_tensors(tmp_path / f"{cut}.safetensors")[0])
        assert after.position.step == cut
        assert train(after).weights_sha256() == whole.weights_sha256()
    next_stage = train(StageTrainer(stages[2], tiny_data, parent=snapshot(whole)), 2)
    assert next_stage.position.step == 2


def test_the_global_random_state_does_not_matter_and_is_not_touched(tiny_data):
    stage = tiny_stages(tiny_data)[0]
    hashes = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        hashes.add(train(StageTrainer(stage, tiny_data)).weights_sha256())
        assert torch.equal(torch.random.get_rng_state(), before)
    assert len(hashes) == 1


def test_another_seed_gives_other_weights(tiny_data):
    stage = tiny_stages(tiny_data)[0]
    one, two = (train(StageTrainer(s, tiny_data), 2).weights_sha256() for s in (stage, replace(stage, seed=1)))
    assert one != two


def test_golden_run(tiny_data):
    """Twenty steps at 8 px: the curves stay finite and D learns to tell right from fake."""
    stages = tiny_stages(tiny_data, {"generator.learning_rate": 1e-3}, images=160)
    parent = snapshot(train(StageTrainer(stages[0], tiny_data)))
    trainer = train(StageTrainer(stages[1], tiny_data, parent=parent))
    curves = trainer.take_curves()
    assert set(curves) == {"loss_d", "loss_g", "kl", "penalty", "score_right", "score_wrong", "score_fake"}
    assert curves["score_right"] > curves["score_fake"]
    assert curves["kl"] > 0
    assert trainer.take_curves() == {}


def test_every_weight_learns_and_the_average_follows(tiny_data):
    stage = tiny_stages(tiny_data)[0]
    trainer = StageTrainer(stage, tiny_data)
    start = snapshot(trainer)
    train(trainer)
    end = trainer.state()
    # Words that no caption of these batches holds have no gradient; all else must move.
    for name in start:
        if name.startswith(("face_model.", "discriminator.")):
            assert not torch.equal(start[name], end[name]), f"{name} did not change"
    for name in start:
        if name.startswith("ema.") and start[name].dtype == torch.float32:
            live = end[name.replace("ema.", "face_model.", 1)]
            assert not torch.equal(end[name], live)
            assert float((end[name] - live).norm()) < float((start[name] - live).norm()) + 1e-6


def test_carried_adam_state_is_that_of_the_parent(tiny_data):
    stages = tiny_stages(tiny_data)
    parent = snapshot(train(StageTrainer(stages[0], tiny_data)))
    child = StageTrainer(stages[1], tiny_data, parent=parent).state()
    shared = [name for name in parent if name.startswith("adam.") and name in child]
    assert len(shared) > 10
    assert all(torch.equal(parent[name], child[name]) for name in shared)
    reset = tiny_stages(tiny_data, {"optimizer.at_stage_start": "reset"})
    assert not any(n.startswith("adam.") for n in StageTrainer(reset[1], tiny_data, parent=parent).state())


def test_divergence_is_noticed_with_its_evidence(tiny_data):
    values = {"generator.learning_rate": 1.0, "discriminator.learning_rate": 1.0, "network.feature_max": 64}
    values["network.feature_base"] = 1024
    trainer = StageTrainer(tiny_stages(tiny_data, values, images=50 * 8)[0], tiny_data)
    train(trainer, 50)
    with pytest.raises(DivergedError) as caught:
        trainer.take_curves()
    assert caught.value.evidence["curve"]
    assert 0 < caught.value.evidence["images_seen"] <= 50 * 8


def test_a_checkpoint_of_another_stage_is_refused(tiny_data):
    stages = tiny_stages(tiny_data)
    first = train(StageTrainer(stages[0], tiny_data))
    second = StageTrainer(stages[1], tiny_data, parent=snapshot(first))
    with pytest.raises(CheckpointError, match="does not fit a stage of 8 px"):
        second.load(first.state())
    with pytest.raises(CheckpointError, match="starts from"):
        StageTrainer(stages[1], tiny_data)
