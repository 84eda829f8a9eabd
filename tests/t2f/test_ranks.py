"""Several processes that train one stage together, joined by gloo: the same as one, up to the order of sums."""

import os
import signal
from pathlib import Path

import pytest
import torch

from t2f.data import PreparedData
from t2f.errors import SpecError
from t2f.ranks import Ranks, run_on_ranks
from t2f.spec import StageSpec
from t2f.trainer import StageTrainer
from tests.t2f.helpers import tiny_stages

RECIPES = {
    "small": {},
    "relativistic, augmented": {
        "loss.name": "relativistic",
        "augment.method": "ada",
        "augment.strength": 0.5,
        "augment.images": 200,
        "text.caption_dropout": 0.3,
        "data.mirror": "on",
    },
    "captions that one process alone has": {"text.caption_dropout": 0.85},
    "article": {"loss.name": "wgan-gp", "text.trained_by": "generator"},
}


def train_some(ranks: Ranks, data: Path, stages: tuple[StageSpec, ...], steps: int, out: Path) -> None:
    torch.set_num_threads(1)
    trainer = StageTrainer(stages[0], PreparedData.open(data), ranks=ranks)
    for _ in range(steps):
        trainer.step()
    curves = trainer.take_curves()
    torch.save({"state": trainer.state(), "curves": curves}, out / f"{ranks.size}-{ranks.rank}.pt")


def results(data, tmp_path, stages, steps: int) -> dict[str, dict]:
    train_some(Ranks(), data.path, stages, steps, tmp_path)
    run_on_ranks(train_some, 2, data.path, stages, steps, tmp_path)
    names = {"one": "1-0", "first": "2-0", "second": "2-1"}
    return {name: torch.load(tmp_path / f"{file}.pt", weights_only=True) for name, file in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_take_the_step_of_one(tiny_data, tmp_path, recipe):
    """Adam's means after one step are the gradients (beta1 = 0.5: half of them)."""
    values = {**RECIPES[recipe], "optimizer.beta1": 0.5, "network.stddev_group": 2}
    found = results(tiny_data, tmp_path, tiny_stages(tiny_data, values), steps=1)
    gradients = [name for name in found["one"]["state"] if name.endswith("exp_avg")]
    assert len(gradients) > 20
    for name in gradients:
        one, two = found["one"]["state"][name], found["first"]["state"][name]
        assert torch.allclose(one, two, atol=1e-5 * max(float(one.abs().max()), 0.1)), name


@pytest.mark.slow
def test_all_processes_keep_the_same_bits_and_report_the_same_curves(tiny_data, tmp_path):
    values = {**RECIPES["relativistic, augmented"], "network.stddev_group": 2}
    found = results(tiny_data, tmp_path, tiny_stages(tiny_data, values), steps=4)
    for name, tensor in found["first"]["state"].items():
        assert torch.equal(tensor, found["second"]["state"][name]), name
    assert found["first"]["curves"] == found["second"]["curves"]
    for name, value in found["one"]["curves"].items():
        if name != "diversity":  # of each process's own images
            assert found["first"]["curves"][name] == pytest.approx(value, rel=0.03, abs=0.01), name


def fail_on_the_second(ranks: Ranks) -> None:
    if ranks.rank == 1:
        raise ValueError("the second one broke")
    torch.distributed.barrier()  # waits for one that never comes


@pytest.mark.slow
def test_one_that_breaks_ends_all():
    with pytest.raises(RuntimeError, match=r"(?s)device 2 of 2 failed:.*the second one broke"):
        run_on_ranks(fail_on_the_second, 2)


def end_the_second(ranks: Ranks) -> None:
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_one_that_is_killed_ends_all():
    with pytest.raises(RuntimeError, match="device 2 of 2 failed: its process was ended by SIGKILL"):
        run_on_ranks(end_the_second, 2)


def test_groups_of_the_deviation_never_cross_devices(tiny_data):
    stage = tiny_stages(tiny_data, {"network.stddev_group": 4})[0]
    assert Ranks(rank=1, size=2).rows(stage) == slice(4, 8)
    with pytest.raises(SpecError, match="a multiple of 16"):
        Ranks(rank=0, size=4).rows(stage)
