"""The trainer: it learns, it repeats, and it goes on to the same bits."""

from dataclasses import replace

import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors
from t2f.errors import CheckpointError
from t2f.losses import LOSSES
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
    "relativistic, adaptive augmentation, projection": {
        "loss.name": "relativistic",
        "loss.penalty_interval": 2,
        "augment.method": "ada",
        "augment.strength": 0.3,
        "augment.images": 100,
        "augment.color": "on",
        "discriminator.conditioning": "projection",
        "text.caption_dropout": 0.3,
        "data.mirror": "on",
        "data.uncaptioned_share": 0.25,
    },
    "hinge, bf16, micro-batches": {
        "loss.name": "hinge",
        "augment.method": "diffaugment",
        "compute.precision": "bf16",
        "compute.micro_batch": 4,
    },
    "without words, one-sided": {"text.encoder": "none", "loss.name": "wgan-gp", "loss.sided": "one"},
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


@pytest.mark.parametrize("loss", LOSSES)
def test_micro_batches_give_the_gradients_of_the_whole_batch(tiny_data, loss):
    """One step, with and without: D's and G's Adam means are gradients, up to the order of sums."""
    values = {"loss.name": loss, "optimizer.beta1": 0.5, "augment.method": "diffaugment", "text.caption_dropout": 0.3}
    whole, parts = (
        train(StageTrainer(tiny_stages(tiny_data, {**values, "compute.micro_batch": size})[0], tiny_data), 1).state()
        for size in (0, 4)
    )
    means = [name for name in whole if name.endswith("exp_avg")]
    assert len(means) > 20
    for name in means:
        scale = float(whole[name].abs().max())
        assert torch.allclose(whole[name], parts[name], atol=1e-5 * max(scale, 0.1)), name


def test_precision_changes_the_numbers_a_little(tiny_data):
    """bf16 has 8 bits of precision: the first step's gradients point the same way."""
    states = {
        precision: train(
            StageTrainer(tiny_stages(tiny_data, {"compute.precision": precision})[0], tiny_data), 1
        ).state()
        for precision in ("fp32", "bf16")
    }
    assert all(tensor.dtype != torch.bfloat16 for tensor in states["bf16"].values())
    for part in ("discriminator", "face_model"):
        names = [n for n in states["fp32"] if n.startswith(f"adam.{part}") and n.endswith("exp_avg")]
        exact, rounded = (torch.cat([states[p][n].flatten() for n in names]) for p in ("fp32", "bf16"))
        assert not torch.equal(exact, rounded)
        # On a processor that knows no bfloat16, PyTorch's own kernels round sums too.
        assert float(torch.nn.functional.cosine_similarity(exact, rounded, dim=0)) > 0.9


def test_the_strength_of_ada_follows_the_sign_of_real_scores(tiny_data):
    """Each step moves it by batch / images, up where the mean sign is above the target and down where it is below."""
    values = {"augment.method": "ada", "augment.strength": 0.5, "augment.target": 0.1, "augment.images": 160}
    trainer, strength, seen = StageTrainer(tiny_stages(tiny_data, values)[0], tiny_data), 0.5, set()
    for _ in range(8):
        train(trainer, 1)
        curves = trainer.take_curves()
        assert curves["augment_strength"] == pytest.approx(strength)
        strength += 8 / 160 * (1 if curves["sign_right"] > 0.1 else -1)
        seen.add(curves["sign_right"] > 0.1)
        assert trainer.augment_strength == pytest.approx(strength)
    assert seen == {True, False}, "both directions were tried"


def test_a_lazy_penalty_rescales_the_critics_adam(tiny_data):
    """StyleGAN2 appendix B with k = 4: c = 4/5."""
    values = {"loss.penalty_interval": 4, "discriminator.learning_rate": 0.01, "optimizer.beta2": 0.99}
    trainer = StageTrainer(tiny_stages(tiny_data, values)[0], tiny_data)
    group = trainer._optimizers["discriminator"].param_groups[0]
    assert group["lr"] == pytest.approx(0.008)
    assert group["betas"] == pytest.approx((0.0, 0.99**0.8))
    assert trainer._optimizers["face_model"].param_groups[0]["betas"] == (0.0, 0.99)


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
    scores = {"score_right", "score_wrong", "score_fake"}
    assert set(curves) == {"loss_d", "loss_g", "kl", "penalty", "diversity"} | scores
    assert curves["score_right"] > curves["score_fake"]
    assert curves["kl"] > 0
    assert trainer.take_curves() == {}


def test_every_weight_learns_and_the_average_follows(tiny_data):
    stage = tiny_stages(tiny_data)[0]
    trainer = StageTrainer(stage, tiny_data)
    start = snapshot(trainer)
    train(trainer)
    end = trainer.state()
    # Words that no caption of these batches holds have no gradient; all else must move, but for the bag of words.
    fixed = [name for name in start if name.endswith("word_bag_VF")]
    assert len(fixed) == 2
    for name in start:
        if name in fixed:
            assert torch.equal(start[name], end[name]), f"{name} changed"
        elif name.startswith(("face_model.", "discriminator.")):
            assert not torch.equal(start[name], end[name]), f"{name} did not change"
    for name in start:
        if name.startswith("ema.") and name not in fixed:
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


def test_new_blocks_start_as_the_identity_if_asked_for(tiny_data):
    stages = tiny_stages(tiny_data, {"network.new_blocks": "identity"})
    parent = snapshot(train(StageTrainer(stages[0], tiny_data)))
    child = StageTrainer(stages[1], tiny_data, parent=parent).state()
    for part, rgb in (
        ("face_model.generator.", "to_rgb"),
        ("ema.generator.", "to_rgb"),
        ("discriminator.", "from_rgb"),
    ):
        assert torch.equal(child[f"{part}{rgb}.8.weight"], parent[f"{part}{rgb}.4.weight"])
        kernels = child[f"{part}blocks.8.conv2.weight"][:, :, 1, 1]
        assert torch.equal(kernels.argmax(dim=1), torch.arange(len(kernels)))


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
