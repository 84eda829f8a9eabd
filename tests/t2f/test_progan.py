"""ProGAN alone: planned, trained, gone on with, drawn from, refused."""

import doctest
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from scheduler.cli import app
from t2f import progan
from t2f.data import prepare
from t2f.errors import CheckpointError, DataError, SpecError, UserError
from t2f.generate import save_bundle
from t2f.networks import FaceModel
from t2f.progan import ProGAN, check_compute, stage_images
from t2f.settings import Settings
from t2f.trainer import StageTrainer
from tests.t2f.data.sources import write_pictures
from tests.t2f.helpers import tiny_stages

TINY = ProGAN(depth=2, features=8, kimg=(0.064, 0.128), batch=8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    names = [f"{number}.png" for number in range(10)]
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures", *names, "below/a.png", "below/b.jpg")


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "out"
    TINY.train(pictures, out=out)
    return out


def everything_below(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


# The recipe


def test_depth_and_features_are_all_it_takes():
    spec = ProGAN(depth=9, features=512).training(data_key="", training_pictures=30_000)
    assert spec.plan.resolutions == (4, 8, 16, 32, 64, 128, 256, 512, 1024)
    # ProGAN's table 2 and section A.1.
    assert spec.stages()[-1].features == (512, 512, 512, 512, 256, 128, 64, 32, 16)
    assert spec.plan.images == (800_000, *[1_600_000] * 8)
    assert [stage.fade_images for stage in spec.stages()] == [0, *[800_000] * 8]
    assert spec.plan.batch == (16, 16, 16, 16, 16, 16, 8, 4, 4)
    settings = spec.settings
    assert (settings.loss.name, settings.loss.drift, settings.discriminator.steps) == ("wgan-gp", 1e-3, 1)
    assert (settings.network.latent, settings.data.mirror, settings.text.encoder) == (512, "on", "none")


@pytest.mark.parametrize(
    ("training_pictures", "expected"),
    [(2, (50_000, 100_000)), (500, (50_000, 100_000)), (3000, (300_000, 600_000)), (10**6, (800_000, 1_600_000))],
)
def test_the_length_of_stages_follows_the_number_of_pictures(training_pictures, expected):
    assert stage_images(2, training_pictures) == expected


def test_one_value_stands_for_all_stages_and_settings_win():
    gan = ProGAN(depth=3, features=8, kimg=1.5, batch=4, settings={"network.feature_max": 6, "data.mirror": "off"})
    spec = gan.training(data_key="", training_pictures=100)
    assert (spec.plan.images, spec.plan.batch) == ((1500,) * 3, (4,) * 3)
    assert (spec.stages()[-1].features, spec.settings.data.mirror) == ((6, 6, 6), "off")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "depth = 0 is not allowed; it must be a whole number from 1 to 9"),
        ({"depth": 10}, "depth = 10 is not allowed"),
        ({"depth": True}, "depth = True is not allowed"),
        ({"features": 0}, "features = 0 is not allowed; it must be a whole number from 2 to 4096"),
        ({"kimg": 0}, "kimg = 0 is not allowed"),
        ({"kimg": float("nan")}, "kimg = nan is not allowed"),
        ({"kimg": "many"}, "kimg = 'many' is not allowed"),
        ({"kimg": (1, 2, 3)}, "kimg has 3 values; give one, or one for each of 4, 8 px"),
        ({"batch": 5000}, "batch = 5000 is not allowed; it must be a whole number from 2 to 4096"),
        ({"batch": (8, 1)}, "batch = 1 is not allowed"),
        ({"seed": -1}, "seed = -1 is not allowed"),
        ({"crop": "round"}, "crop 'round' is not"),
        ({"on_bad_image": "cry"}, "on_bad_image = 'cry' is not allowed"),
        ({"settings": {"loss.nam": "hinge"}}, "unknown setting 'loss.nam'; did you mean 'loss.name'"),
        ({"settings": {"loss.drift": -1}}, "loss.drift = -1 is not allowed"),
        ({"settings": {"text.encoder": "lstm"}}, "a ProGAN draws without words"),
    ],
)
def test_what_cannot_be_a_recipe_is_said_before_any_picture_is_read(wrong, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as caught:
        replace(TINY, **wrong)
    assert "\n" not in str(caught.value)


# Training and drawing


def test_a_training_leaves_its_stages_and_a_model_that_draws(trained):
    for resolution in (4, 8):
        metrics = json.loads((trained / f"{resolution}px" / "metrics.json").read_text())
        assert metrics["score"] == metrics["fidelity"]
        with Image.open(trained / f"{resolution}px" / "samples.png") as samples:
            assert samples.size == (8 * resolution, 4 * resolution)
    model = ProGAN.load(trained / "model.safetensors")
    faces = model.sample(5, seed=3)
    assert (faces.shape, faces.dtype, model.resolution) == ((5, 3, 8, 8), np.uint8, 8)
    assert np.array_equal(faces, model.sample(5, seed=3))
    # Another batch is summed in another order, so a grey level may differ.
    assert np.abs(model.sample(2, seed=4).astype(int) - faces[1:3]).max() <= 1
    average = model.sample(2, truncation=0.0)
    assert np.array_equal(average[0], average[1])


def test_an_interrupted_training_goes_on_to_the_same_bits(pictures, tmp_path, monkeypatch):
    gan = replace(TINY, kimg=0.48)  # 60 steps a stage, so that a checkpoint falls inside the second
    whole = gan.train(pictures, out=tmp_path / "whole")
    step, done = StageTrainer.step, []

    def interrupted(trainer):
        done.append(trainer.stage.resolution)
        if len(done) == 60 + 40:
            raise KeyboardInterrupt
        step(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(StageTrainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gan.train(pictures, out=tmp_path / "cut", checkpoint_seconds=0.0)
    assert done[-1] == 8
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    taken = []
    monkeypatch.setattr(StageTrainer, "step", lambda trainer: taken.append(trainer.position.step) or step(trainer))
    again = gan.train(pictures, out=tmp_path / "cut")
    assert taken == list(range(25, 60)), "the first stage is not trained again, the second goes on"
    assert again.bundle.sha256 == whole.bundle.sha256
    for resolution in (4, 8):
        states = [(tmp_path / out / f"{resolution}px" / "state.safetensors").read_bytes() for out in ("whole", "cut")]
        assert states[0] == states[1]


def test_what_is_done_already_is_done_in_no_step(pictures, trained, monkeypatch):
    monkeypatch.setattr(StageTrainer, "step", lambda trainer: pytest.fail("trained again"))
    before = ProGAN.load(trained / "model.safetensors").bundle.sha256
    assert TINY.train(pictures, out=trained).bundle.sha256 == before


def test_a_model_with_words_is_no_progan(tmp_path, tiny_data):
    stage = tiny_stages(tiny_data)[0]
    model = FaceModel(stage, len(tiny_data.vocabulary))
    path = tmp_path / "model.safetensors"
    save_bundle(path, model=model, vocabulary=tiny_data.vocabulary, stage=stage, max_tokens=10, lineage={})
    with pytest.raises(CheckpointError, match="was trained with words"):
        ProGAN.load(path)


def test_the_networks_are_those_of_a_training():
    generator, discriminator = ProGAN(depth=3, features=8, seed=5).networks()
    stage = ProGAN(depth=3, features=8, seed=5).training(data_key="other", training_pictures=9).stages()[2]
    for name, tensor in FaceModel(stage, 0).generator.state_dict().items():
        assert torch.equal(generator.state_dict()[name], tensor)
    assert discriminator(torch.zeros(4, 3, 16, 16), None, 1.0).shape == (4,)
    with pytest.raises(SpecError, match="resolution = 32 is not allowed; it must be one of 4, 8, 16"):
        ProGAN(depth=3, features=8).networks(32)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(progan, raise_on_error=True).attempted >= 10


def test_a_batch_that_devices_cannot_share_is_refused():
    stages = replace(TINY, batch=6).training(data_key="", training_pictures=2).stages()
    with pytest.raises(SpecError, match="a batch of 6 at 4 px cannot be shared by 2 devices"):
        check_compute(stages, threads=1, devices=2)


# Refusing, with nothing written


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path):
    out = tmp_path / "new" / "out"
    (tmp_path / "empty").mkdir()
    one = write_pictures(tmp_path / "one", "a.png")
    broken = write_pictures(tmp_path / "broken", *(f"{number}.png" for number in range(5)))
    (broken / "text.jpg").write_text("no picture")
    small = write_pictures(tmp_path / "small", *(f"{number}.png" for number in range(5)))
    before = everything_below(tmp_path)
    for folder, gan, message in (
        (tmp_path / "missing", TINY, "is no folder"),
        (tmp_path / "empty", TINY, "holds no pictures"),
        (one, TINY, "holds 1 picture, 1 of them for training; a GAN needs at least two"),
        (broken, TINY, "text.jpg is no JPEG, PNG or WebP"),
        (small, ProGAN(depth=9, features=8), "5 of 5 images cannot be used"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            gan.train(folder, out=out)
        assert message.startswith("5 of 5") or "\n" not in str(caught.value)
        assert everything_below(tmp_path) == before
    skipping = replace(TINY, on_bad_image="skip")
    assert skipping.train(broken, out=out).sample(1).shape == (1, 3, 8, 8)
    assert skipping.train(broken, out=out).sample(1).shape == (1, 3, 8, 8)
    assert skipping.plan(broken, out=out).pictures == 6, "bad ones are found only when they are decoded"


def test_output_folders_of_something_else_are_refused(pictures, trained, tmp_path):
    others = write_pictures(tmp_path / "others", *(f"{number}.png" for number in range(5)), seed=2)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    before = everything_below(trained) | everything_below(tmp_path)
    for gan, folder, out, message in (
        (replace(TINY, seed=1), pictures, trained, "holds another training: at 4 px its settings or seed differ"),
        (replace(TINY, kimg=(0.064, 0.2)), pictures, trained, "holds another training: at 8 px"),
        (TINY, others, trained, "holds the training of other pictures"),
        (replace(TINY, depth=3, kimg=None), pictures, trained, "or crop or depth have"),
        (TINY, pictures, mine, "is not empty and holds no training of a ProGAN"),
        (TINY, pictures, mine / "letter.txt", "is a file"),
        (TINY, others, others / "out", "so its samples would count as pictures"),
    ):
        for act in (gan.plan, gan.train):
            with pytest.raises(UserError, match=message) as caught:
                act(folder, out=out)
            assert "\n" not in str(caught.value)
    assert everything_below(trained) | everything_below(tmp_path) == before


def test_pictures_that_changed_are_noticed(pictures, trained, tmp_path):
    copy = shutil.copytree(pictures, tmp_path / "copy")
    assert TINY.plan(copy, out=trained).pictures == 12, "wherever the same pictures lie"
    write_pictures(copy, "further.png", seed=3)
    with pytest.raises(CheckpointError, match="have changed"):
        TINY.plan(copy, out=trained)


# The command


def t2f(*words: object, code: int = 0) -> str:
    """What the command prints; its error where it is to be refused."""
    result = CliRunner().invoke(app, ["progan", "train", *map(str, words)], env={"COLUMNS": "200"})
    if code == 0:
        assert result.exit_code == 0, result.output
        return result.output
    # The entry point prints these and ends with status 2.
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


TINY_WORDS = ("--depth", 2, "--features", 8, "--kimg", "0.064,0.128", "--batch", 8)


def test_the_command_plans_trains_and_says_how_to_draw(pictures, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = t2f(pictures, *TINY_WORDS, "--dry-run")
    assert "12 pictures" not in planned
    assert "held out to measure with" in planned
    assert "8 px        128 images, 64 fading in, 8 a step, 8 feature maps" in planned
    assert list(tmp_path.iterdir()) == []
    said = t2f(pictures, *TINY_WORDS)
    model = Path("progan") / "pictures" / "model.safetensors"
    assert f"t2f generate {model} --seeds 0-15" in said
    assert ProGAN.load(model).bundle.sha256 == ProGAN.load(trained / "model.safetensors").bundle.sha256
    drawn = CliRunner().invoke(app, ["generate", str(model), "--seeds", "0-15", "--enlarge", "1", "-o", "faces.png"])
    assert drawn.exit_code == 0, drawn.output
    with Image.open("faces.png") as faces:
        assert faces.size == (64, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kimg", "1,x"), "--kimg '1,x' is not allowed; give one number, or a comma list"),
        (("--batch", "8.5"), "--batch '8.5' is not allowed"),
        (("--set", "loss.name"), "write --set NAME=VALUE"),
        (("--set", "los.name=hinge"), "unknown setting 'los.name'"),
        (("--set", "loss.name=hing"), "did you mean 'hinge'"),
        (("--threads", "0"), "threads = 0 is not allowed"),
    ],
)
def test_the_command_refuses_in_a_line_and_writes_nothing(pictures, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    told = t2f(pictures, *TINY_WORDS, *words, code=2)
    assert message in told
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_command_reach_the_training(pictures, tmp_path):
    out = tmp_path / "out"
    words = ("--set", "loss.name=hinge", "--set", "generator.learning_rate=2e-3", "--seed", 7, "-o", out)
    t2f(pictures, *TINY_WORDS, *words)
    spec = json.loads((out / "8px" / "spec.json").read_text())["spec"]
    assert (spec["settings"]["loss.name"], spec["settings"]["generator.learning_rate"]) == ("hinge", 2e-3)
    assert (spec["seed"], spec["batch"], spec["images"]) == (7, 8, 128)
    assert Settings().with_values(spec["settings"]).network.latent == 8


def test_prepared_data_is_that_of_the_folder_format(pictures, trained, tmp_path):
    data = prepare(pictures, format="folder", out=tmp_path / "data", options=TINY.options())
    assert data.key == json.loads((trained / "data" / "manifest.json").read_text())["key"]
