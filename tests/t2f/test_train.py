"""A whole training without a scheduler."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t2f.data import Vocabulary
from t2f.errors import CheckpointError, DataError, SpecError
from t2f.generate import init_weights, open_bundle
from t2f.judge import load_judge
from t2f.ranks import Ranks
from t2f.run import REPORT_STEPS, Ending, Order, run_stage
from t2f.train import TrainingRequest, train
from t2f.trainer import StageTrainer
from t2f.trainfile import ProbeSection
from tests.t2f.helpers import tiny_stages, tiny_training


def run(data, out, *, seed: int = 0, images: int = 64, stop_after: int | None = None, values=None, **request):
    """Train into `out`; raises KeyboardInterrupt after so many progress reports."""
    reports, stages = [], []

    def progress(stage, position, speed):
        reports.append((stage.resolution, position.images_seen))
        if stop_after is not None and len(reports) >= stop_after:
            raise KeyboardInterrupt

    given = TrainingRequest(
        spec=replace(tiny_training(data, values or {}, seed=seed, images=images), **request.pop("spec", {})),
        data=data.path,
        out=out,
        threads=1,
        probe=request.pop("probe", ProbeSection(seeds=2, images=16)).evaluation(data, load_judge(data)[1]),
        checkpoint_seconds=0.0,
        **request,
    )
    train(given, ranks=Ranks(), progress=progress, stage_done=stages.append)
    return stages


def test_every_stage_leaves_its_files_and_the_model_draws(tiny_data, tmp_path):
    stages = run(tiny_data, tmp_path)
    assert [stage.resolution for stage in stages] == [4, 8, 16]
    for stage in stages:
        folder = tmp_path / f"{stage.resolution}px"
        assert json.loads((folder / "spec.json").read_text())["key"] == stage.key
        assert json.loads((folder / "metrics.json").read_text())["score"]["value"] == stage.metrics["score"].value
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


def test_a_finished_stage_is_measured_once_for_a_probe(tiny_data, tmp_path):
    first = run(tiny_data, tmp_path)
    files = [tmp_path / f"{stage.resolution}px" / "metrics.json" for stage in first]
    written = [file.stat().st_mtime_ns for file in files]
    again = run(tiny_data, tmp_path)
    assert [dict(stage.metrics) for stage in again] == [
        {name: replace(figure, by=None, parts=()) for name, figure in stage.metrics.items()} for stage in first
    ]
    assert [file.stat().st_mtime_ns for file in files] == written
    files[0].write_text("[]")
    files[1].with_name("samples.png").unlink()
    repaired = run(tiny_data, tmp_path)
    assert json.loads(files[0].read_text())["score"]["value"] == repaired[0].metrics["score"].value
    assert files[1].with_name("samples.png").is_file()
    assert files[2].stat().st_mtime_ns == written[2]
    other = run(tiny_data, tmp_path, probe=ProbeSection(seeds=3, images=16))
    assert other[2].metrics["score"].value == first[2].metrics["score"].value
    with Image.open(files[2].with_name("samples.png")) as samples:
        assert samples.width == 3 * 16


def test_a_model_to_start_from_gives_its_layers_and_its_words(tiny_data, tmp_path):
    """With nothing to learn (a rate of almost 0) the new model draws the old one's faces."""
    run(tiny_data, tmp_path / "first", images=80)
    path, still = tmp_path / "first" / "model.safetensors", {"generator.learning_rate": 1e-8}
    first = open_bundle(path)
    stages = run(
        tiny_data, tmp_path / "second", images=8, values=still, init_from=path, spec={"init_sha256": first.sha256}
    )
    second = open_bundle(tmp_path / "second" / "model.safetensors")
    for name, tensor in first.model.state_dict().items():
        assert torch.allclose(second.model.state_dict()[name], tensor, atol=1e-5), name
    plain = run(tiny_data, tmp_path / "third", images=8, values=still)
    assert not {stage.key for stage in stages} & {stage.key for stage in plain}


def test_words_that_the_model_never_read_start_as_its_unknown_word(tiny_data, tmp_path):
    run(tiny_data, tmp_path, images=8)
    bundle = open_bundle(tmp_path / "model.safetensors")
    vocabulary = Vocabulary((*tiny_data.vocabulary.words[:2], "xyzzy", *tiny_data.vocabulary.words[5:1:-1]))
    words = init_weights(bundle, vocabulary, bundle.stage.settings)["encoder.words.weight"]
    theirs = bundle.model.state_dict()["encoder.words.weight"]
    assert torch.equal(words, theirs[[0, 1, 1, 5, 4, 3, 2]])


def test_a_model_of_other_shapes_is_no_start(tiny_data, tmp_path):
    run(tiny_data, tmp_path, images=8)
    bundle = open_bundle(tmp_path / "model.safetensors")
    other = bundle.stage.settings.with_values({"network.latent": 20, "network.feature_max": 4})
    with pytest.raises(SpecError, match=r"network.latent = 20 \(the bundle: 12\); 4 feature maps at 4 px"):
        init_weights(bundle, tiny_data.vocabulary, other)


def test_curves_open_in_tensorboard_over_all_stages(tiny_data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tiny_data, tmp_path, images=8 * 60, stop_after=9, tensorboard=True)
    run(tiny_data, tmp_path, images=8 * 60, tensorboard=True)
    accumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    events = accumulator.Scalars("loss_d")
    window = 8 * REPORT_STEPS
    expected = [stage * 480 + images for stage in range(3) for images in (window, 2 * window, 480)]
    assert [event.step for event in events] == expected
    lines = [json.loads(line) for line in (tmp_path / "16px" / "curves.jsonl").read_text().splitlines()]
    assert [line["loss_d"] for line in lines] == pytest.approx([event.value for event in events[-3:]], rel=1e-6)
    assert all(line["peak_memory_mib"] > 50 for line in lines)


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


def test_an_output_that_cannot_be_written_is_said_before_anything_is_trained(tiny_data, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="out cannot be written"):
        run(tiny_data, tmp_path / "file" / "out", stop_after=1)
