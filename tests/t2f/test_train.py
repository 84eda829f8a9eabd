"""A whole training without a scheduler."""

import json

import pytest
import torch
from PIL import Image

from t2f.errors import CheckpointError
from t2f.generate import open_bundle
from t2f.judge import load_judge
from t2f.run import REPORT_STEPS, Ending, Order, run_stage
from t2f.train import train
from t2f.trainer import StageTrainer
from t2f.trainfile import ProbeSection
from tests.t2f.helpers import tiny_stages, tiny_training


def run(data, out, *, seed: int = 0, images: int = 64, stop_after: int | None = None):
    """Train into `out`; raises KeyboardInterrupt after so many progress reports."""
    reports = []

    def progress(stage, position, speed):
        reports.append((stage.resolution, position.images_seen))
        if stop_after is not None and len(reports) >= stop_after:
            raise KeyboardInterrupt

    return train(
        tiny_training(data, {}, seed=seed, images=images),
        data,
        out=out,
        device=torch.device("cpu"),
        threads=1,
        probe=ProbeSection(seeds=2, images=16).evaluation(data, load_judge(data)[1]),
        checkpoint_seconds=0.0,
        progress=progress,
        stage_done=lambda done: None,
    )


def test_every_stage_leaves_its_files_and_the_model_draws(tiny_data, tmp_path):
    stages = run(tiny_data, tmp_path)
    assert [stage.resolution for stage in stages] == [4, 8, 16]
    for stage in stages:
        folder = tmp_path / f"{stage.resolution}px"
        assert json.loads((folder / "spec.json").read_text())["key"] == stage.key
        assert json.loads((folder / "metrics.json").read_text())["score"]["value"] == stage.evaluation.score
        with Image.open(folder / "samples.png") as samples:
            assert samples.width == 2 * stage.resolution
        assert (folder / "curves.jsonl").read_text().count("\n") >= 1
    bundle = open_bundle(tmp_path / "model.safetensors")
    assert bundle.lineage["stage_keys"] == [stage.key for stage in stages]
    assert bundle.draw(["long pink hair"], seeds=[0]).shape == (1, 3, 16, 16)


def test_an_interrupted_training_goes_on_to_the_same_weights(tiny_data, tmp_path):
    whole = run(tiny_data, tmp_path / "whole", images=8 * 60)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_data, tmp_path / "cut", images=8 * 60, stop_after=9)
    again = run(tiny_data, tmp_path / "cut", images=8 * 60)
    assert [stage.weights_sha256 for stage in again] == [stage.weights_sha256 for stage in whole]


def test_a_folder_of_another_training_is_refused(tiny_data, tmp_path):
    run(tiny_data, tmp_path)
    with pytest.raises(CheckpointError, match="belongs to another training"):
        run(tiny_data, tmp_path, seed=1)


class Listener:
    """Gives one order at its n-th asking, and keeps what it hears."""

    def __init__(self, order: Order, at: int) -> None:
        self.left, self.wanted = at, order
        self.heard, self.saved = [], []

    def stepped(self, position):
        pass

    def curves(self, images_seen, values):
        self.heard.append(images_seen)

    def order(self):
        self.left -= 1
        return self.wanted if self.left == 0 else Order.CONTINUE

    def checkpoint(self, trainer):
        self.saved.append(trainer.position.step)


@pytest.mark.parametrize(
    ("order", "ending", "saved"),
    [(Order.PREEMPT, Ending.PREEMPTED, [2 * REPORT_STEPS]), (Order.CANCEL, Ending.CANCELED, [])],
)
def test_orders_are_followed_at_the_next_report(tiny_data, order, ending, saved):
    stage = tiny_stages(tiny_data, images=8 * 4 * REPORT_STEPS)[0]
    listener = Listener(order, at=2)
    assert run_stage(StageTrainer(stage, tiny_data), listener, checkpoint_seconds=1e9) is ending
    assert listener.saved == saved
    assert listener.heard == [8 * REPORT_STEPS, 16 * REPORT_STEPS]


def test_without_orders_a_stage_ends_and_reports_its_last_steps(tiny_data):
    stage = tiny_stages(tiny_data, images=8 * (REPORT_STEPS + 3))[0]
    listener = Listener(Order.CONTINUE, at=0)
    assert run_stage(StageTrainer(stage, tiny_data), listener, checkpoint_seconds=0) is Ending.DONE
    assert listener.heard == [8 * REPORT_STEPS, 8 * (REPORT_STEPS + 3)]
    assert listener.saved == [REPORT_STEPS]
