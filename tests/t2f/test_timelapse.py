"""A training seen again: exact where it kept something, without a jump from stage to stage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from t2f.checkpoint import save_tensors
from t2f.errors import CheckpointError, UserError
from t2f.judge import load_judge
from t2f.ranks import Ranks
from t2f.timelapse import GrowingStage, Moment, alpha_after, frame_picture, frames_of, growth_of_folder, some_of
from t2f.train import TrainingRequest, train
from t2f.trainer import StageTrainer
from t2f.trainfile import ProbeSection
from tests.t2f.helpers import tiny_stages, tiny_training


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    """The folder of a training of three stages."""
    out = tmp_path_factory.mktemp("trained")
    probe = ProbeSection(captions=("long pink hair", "dark skin"), seeds=3, images=16)
    request = TrainingRequest(
        spec=tiny_training(tiny_data, {}),
        data=tiny_data.path,
        out=out,
        threads=1,
        probe=probe.evaluation(tiny_data, load_judge(tiny_data)[1]),
        checkpoint_seconds=100.0,
    )
    train(request, ranks=Ranks(), progress=lambda *_: None, stage_done=lambda _: None)
    return out


def tiles(path, resolution: int, columns: int) -> np.ndarray:
    wall = np.asarray(Image.open(path)).reshape(-1, resolution, columns, resolution, 3)
    return wall.transpose(0, 2, 4, 1, 3).reshape(-1, 3, resolution, resolution)


def test_every_stage_ends_with_its_samples_and_begins_with_those_of_the_one_before(trained):
    frames = list(frames_of(growth_of_folder(trained), frames_a_stage=4))
    assert [frame.stage.resolution for frame in frames] == [4] * 4 + [8] * 4 + [16] * 4
    assert frames[4].alpha == frames[8].alpha == 0
    for end, start in ((3, 4), (7, 8), (11, None)):
        resolution = frames[end].stage.resolution
        samples = tiles(trained / f"{resolution}px" / "samples.png", resolution, 3)
        assert np.abs(frames[end].faces.astype(int) - samples).max() <= 1
        if start is not None:
            larger = frames[end].faces.repeat(2, axis=2).repeat(2, axis=3)
            assert np.abs(frames[start].faces.astype(int) - larger).max() <= 1, "no jump"


def test_alpha_grows_over_the_fade(tiny_data):
    first, second, _ = tiny_stages(tiny_data)
    assert [alpha_after(first, images) for images in (0, 64)] == [1, 1]
    assert [alpha_after(second, images) for images in (0, 8, 16, 32, 64)] == [0, 0.25, 0.5, 1, 1]


def test_checkpoints_between_are_passed_through(tiny_data, trained, tmp_path):
    """A frame at a checkpoint's place has the weights of the checkpoint, whatever the stage's end has."""
    growth = growth_of_folder(trained)
    stage = growth.stages[0].stage
    trainer = StageTrainer(stage, tiny_data)
    trainer.step()
    save_tensors(tmp_path / "between", {**trainer.state()}, {})
    moments = (Moment(path=tmp_path / "between", images=32), *growth.stages[0].moments)
    with_one = replace(growth, stages=(GrowingStage(stage=stage, moments=moments),))
    frames = list(frames_of(with_one, frames_a_stage=5))
    assert [frame.images for frame in frames] == [0, 16, 32, 48, 64]
    alone = replace(growth, stages=(GrowingStage(stage=stage, moments=moments[:1]),))
    at_checkpoint = list(frames_of(alone, frames_a_stage=2))[-1]
    assert np.array_equal(frames[2].faces, at_checkpoint.faces)


def test_frames_for_people_are_all_of_one_size(trained):
    growth = some_of(growth_of_folder(trained), captions=2, seeds=1)
    pictures = [frame_picture(frame, growth, columns=4) for frame in frames_of(growth, frames_a_stage=2)]
    assert len({picture.size for picture in pictures}) == 1
    assert (len(growth.captions), growth.seeds) == (2, 1)
    with pytest.raises(UserError, match="--captions 0"):
        some_of(growth, captions=0, seeds=1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: (out / "model.safetensors").unlink(), "no finished training"),
        (lambda out: (out / "8px" / "state.safetensors").unlink(), "8px"),
        (lambda out: (out / "probe.json").unlink(), "probe.json"),
        (lambda out: (out / "probe.json").write_text("[]"), "does not hold what"),
        (lambda out: (out / "probe.json").write_text(json.dumps({"captions": 1})), "does not hold what"),
    ],
)
def test_folders_that_lack_something_are_refused(trained, tmp_path, damage, said):
    out = shutil.copytree(trained, tmp_path / "out")
    damage(out)
    with pytest.raises(UserError, match=said):
        growth_of_folder(out)


def test_states_of_another_model_are_refused(trained, tmp_path):
    out = shutil.copytree(trained, tmp_path / "out")
    shutil.copy(out / "4px" / "state.safetensors", tmp_path / "small")
    growth = growth_of_folder(out)
    shutil.copy(tmp_path / "small", out / "8px" / "state.safetensors")
    with pytest.raises(CheckpointError, match="does not hold the model"):
        list(frames_of(growth, frames_a_stage=2))
