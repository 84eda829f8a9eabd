"""The command line as a user types it: what it prints, and how it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler import reads
from scheduler.home import Home
from t2f.spec import stage_keys
from tests.scheduler.conftest import DEMO_LIKE
from tests.t2f.data.sources import write_pictures, write_source
from tests.t2f.helpers import write_bundle

T2F = [sys.executable, "-m", "scheduler"]


def t2f(*words: object, home: Path | None = None, code: int = 0, path: Path | None = None) -> str:
    """What the command prints; its errors where it is to end with another code than 0.

    path: a folder of further packages.
    """
    place = ["--home", str(home)] if home else []
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*T2F, *map(str, words), *place], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def everything_below(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    (place / "data").symlink_to(home / "data")
    return place


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(DEMO_LIKE)
    return path


def test_a_sweep_is_submitted_listed_shown_paused_and_canceled(own_home, sweep_file):
    planned = json.loads(t2f("sweep", "submit", sweep_file, "--dry-run", "--json", home=own_home))
    assert (planned["trials"], planned["stage_runs"], planned["saved"]) == (6, {"4": 2, "8": 6, "16": 6}, 4)
    assert not (own_home / "t2f.sqlite").exists(), "a dry run writes nothing"
    assert "submitted demo-like: 6 trials" in t2f("sweep", "submit", sweep_file, home=own_home)
    for more in ([], ["--dry-run"]):
        said = t2f("sweep", "submit", sweep_file, *more, home=own_home, code=2)
        assert "'demo-like' exists already; give another name: --name" in said
    assert "would submit other" in t2f("sweep", "submit", sweep_file, "--name", "other", "--dry-run", home=own_home)
    (listed,) = json.loads(t2f("sweep", "ls", "--json", home=own_home))
    assert (listed["name"], listed["state"], listed["trials"]) == ("demo-like", "running", {"waiting": 6})
    assert "demo-like" in t2f("sweep", "ls", home=own_home)
    shown = t2f("sweep", "show", "demo-like", home=own_home)
    assert "logistic-r1" in shown
    assert "T5" in shown
    assert "loss.name = wgan-gp" in t2f("trial", "show", "T0", home=own_home)
    detail = json.loads(t2f("trial", "show", "demo-like/T5", "--json", home=own_home))
    assert detail["parameters"] == {"loss.name": "logistic-r1", "generator.learning_rate": 0.004}
    assert json.loads(t2f("worker", "ls", "--json", home=own_home)) == []
    assert "no best model yet" in t2f("best", "demo-like", home=own_home, code=2)
    assert "no trial is ranked yet" in t2f("rank", "demo-like", home=own_home)
    for word, state in (("pause", "paused"), ("resume", "running"), ("cancel", "canceled")):
        t2f("sweep", word, "demo-like", home=own_home)
        assert json.loads(t2f("sweep", "show", "demo-like", "--json", home=own_home))["state"] == state
    assert "is canceled already" in t2f("sweep", "cancel", "demo-like", home=own_home, code=2)


def test_of_a_large_sweep_the_first_trials_are_shown(own_home, tmp_path):
    file = tmp_path / "large.yaml"
    rates = ", ".join(f"0.001{number:03d}" for number in range(250))
    stages = "{resolutions: [4], images: [40], batch: 8}"
    file.write_text(
        f"name: large\ndata: {{dataset: tiny}}\npreset: small\nstages: {stages}\n"
        f"parameters: {{generator.learning_rate: {{values: [{rates}]}}}}\n"
    )
    t2f("sweep", "submit", file, home=own_home)
    shown = t2f("sweep", "show", "large", home=own_home)
    assert "T199" in shown
    assert "T200" not in shown
    assert "and 50 more trials; --all shows them" in shown
    assert "T249" in t2f("sweep", "show", "large", "--all", home=own_home)


def test_a_sweep_on_data_whose_source_changed_is_refused(tmp_path, sweep_file):
    source = write_source(tmp_path / "tiny")
    home = tmp_path / "home"
    t2f("data", "prepare", source, "--resolution", 16, "--judge-steps", 3, home=home)
    submit = ("sweep", "submit", sweep_file, "--dry-run")
    assert "would submit" in t2f(*submit, home=home)
    write_pictures(source, "faces/1.png", seed=9)
    before = everything_below(home)
    for words in (submit, submit[:-1]):
        said = t2f(*words, home=home, code=2)
        assert "tiny has changed since" in said
        assert "1 picture is changed, such as faces/1.png" in said
    assert everything_below(home) == before
    assert "would submit" in t2f(*submit, "--as-prepared", home=home)
    source.rename(tmp_path / "gone")
    assert "would submit" in t2f(*submit, home=home), "prepared data needs its source no more"


def test_data_without_captions_is_prepared(tmp_path):
    faces = write_pictures(tmp_path / "faces", *(f"a/{number}.png" for number in range(30)))
    home = tmp_path / "home"
    command = ("data", "prepare", faces, "--format", "folder", "--resolution", 8)
    assert "would prepare 30 images with no captions into" in t2f(*command, "--dry-run", home=home)
    assert not home.exists()
    said = t2f(*command, home=home)
    assert "images, no captions, key" in said
    assert "no judge" in said
    assert [path.name for path in (home / "data").iterdir()] == ["faces"]
    assert "it holds them already" in t2f(*command, "--dry-run", home=home)


def test_further_pictures_without_captions_are_prepared(tmp_path):
    source = write_source(tmp_path / "source")
    further = write_pictures(tmp_path / "further", "x.png", "Y/y.png", "0.png")
    (further / "copy.png").write_bytes((source / "faces" / "3.png").read_bytes())
    home = tmp_path / "home"
    command = ("data", "prepare", source, "--resolution", 8, "--judge-steps", 3, "--uncaptioned", further)
    counts = "2 of 4 pictures; left out: 1 that are images of the source, 1 that are named like one"
    planned = t2f(*command, "--dry-run", home=home)
    assert "would prepare 12 images with 24 captions into" in planned
    assert counts in planned
    assert not home.exists()
    said = t2f(*command, home=home)
    assert "source: 8 train, 3 validation, 3 test images" in said
    assert counts in said
    for words, reason in (
        (("--uncaptioned", tmp_path / "nowhere"), "nowhere is no folder; give a folder that holds pictures"),
        (("--uncaptioned", source / "faces"), "all 12 pictures in"),
        (("--uncaptioned", further, "--uncaptioned-crop", "round"), "crop 'round' is not allowed"),
        (("--uncaptioned-crop", "square"), "--uncaptioned-crop square is given without --uncaptioned"),
        (("--uncaptioned", further, "--uncaptioned-crop", "centre:16"), "holds other prepared data"),
    ):
        before = everything_below(home)
        for more in ([], ["--dry-run"]):
            assert reason in t2f("data", "prepare", source, "--resolution", 8, *words, *more, home=home, code=2)
        assert everything_below(home) == before


def test_a_sweep_on_data_without_captions_is_planned_like_others(own_home, sweep_file):
    text = DEMO_LIKE.replace("dataset: tiny", "dataset: bare")
    sweep_file.write_text(text)
    said = t2f("sweep", "submit", sweep_file, "--dry-run", home=own_home, code=2)
    assert "['long pink hair', 'dark skin'] is not allowed for data without captions" in said
    sweep_file.write_text(text.replace("captions: [long pink hair, dark skin], ", ""))
    assert "would submit demo-like: 6 trials" in t2f("sweep", "submit", sweep_file, "--dry-run", home=own_home)


def test_training_and_drawing_without_a_scheduler(own_home, tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text(
        "name: one\ndata: {dataset: tiny}\npreset: small\n"
        "stages: {resolutions: [4, 8], images: 48, batch: 8}\nprobe: {seeds: 2, images: 16}\n"
    )
    out = tmp_path / "out"
    t2f("train", file, "-o", out, "--dry-run", home=own_home)
    assert not out.exists()
    printed = t2f("train", file, "-o", out, "--set", "loss.name=wgan-gp", home=own_home)
    assert "8 px: score" in printed
    picture = tmp_path / "faces.png"
    model = out / "model.safetensors"
    printed = t2f("generate", model, "long pinkk hair", "dark skin", "--seeds", "0-2", "-o", picture)
    assert "never read 'pinkk'; the nearest word it knows is 'pink'" in printed
    assert "6 faces of 8 px" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (DEMO_LIKE.replace("preset: small", "preset: smal"), "did you mean 'small'"),
        (DEMO_LIKE.replace("tiny", "nope"), "prepared: bare, tiny. Run t2f data prepare SOURCE --name nope"),
        (
            DEMO_LIKE.replace("from_stage: 8", "").replace("early_terminate: {type: halving, eta: 3, min_stage: 8}", "")
            + "method: tpe\nbudget: {max_trials: 3}\nwarm_start: first\n",
            "warm_start: there is no sweep 'first'",
        ),
        (DEMO_LIKE.replace("[4, 8, 16]", "[4, 8, 16, 32]").replace("[40, 40, 40]", "40"), "prepared up to 16 px"),
        (DEMO_LIKE.replace("loss.name", "loss.nam"), "did you mean 'loss.name'"),
        (DEMO_LIKE.replace("0.004]", "9]"), "must be a number from"),
    ],
    ids=["empty", "preset", "data", "warm start", "resolution", "setting", "range"],
)
def test_bad_sweep_files_end_with_status_2_and_write_nothing(own_home, tmp_path, content, message):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    before = everything_below(own_home)
    for more in ([], ["--dry-run"]):
        error = t2f("sweep", "submit", file, *more, home=own_home, code=2)
        assert message in error
        assert "bad.yaml" in error, "it names the file"
        assert error.startswith("error: ")
    assert everything_below(own_home) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", "submit", "missing.yaml"), "missing.yaml cannot be read"),
        (("sweep", "show", "nope"), "holds no database"),
        (("data", "prepare", "nowhere"), "nowhere"),
        (("data", "prepare", ".", "--format", "face2txt"), "did you mean"),
        (("data", "prepare", ".", "--name", "../x"), "is not allowed"),
        (("generate", "missing.safetensors", "a face"), "does not exist"),
        (("generate", "missing.safetensors", "a face", "--seeds", "x"), "give numbers such as"),
        (("train", "missing.yaml", "-o", "out"), "missing.yaml cannot be read"),
        (("demo", "missing.yaml"), "missing.yaml cannot be read"),
        (("dashboard",), "holds no database"),
        (("sweep", "submt"), "submt"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_mistakes_are_said_in_a_line(tmp_path, words, message):
    needs_home = words[0] not in ("generate", "demo") and words != ("sweep", "submt")
    error = t2f(*words, home=tmp_path / "home" if needs_home else None, code=2)
    assert message in error
    assert everything_below(tmp_path) == {}


def test_a_damaged_image_is_named_and_nothing_is_written(demo_source, tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    lines = (demo_source / "metadata.jsonl").read_text().splitlines()[:20]
    (source / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    for line in lines:
        name = json.loads(line)["file_name"]
        (source / name).write_bytes((demo_source / name).read_bytes())
    damaged = source / json.loads(lines[3])["file_name"]
    damaged.write_bytes(damaged.read_bytes()[:60])
    error = t2f("data", "prepare", source, "--resolution", 8, home=tmp_path / "home", code=2)
    assert damaged.name in error
    assert "--on-bad-image skip" in error
    assert everything_below(tmp_path / "home") == {}
    printed = t2f(
        "data",
        "prepare",
        source,
        "--resolution",
        8,
        "--on-bad-image",
        "skip",
        "--judge-steps",
        5,
        home=tmp_path / "home",
    )
    assert "source: " in printed


def test_a_foreign_folder_is_never_emptied(tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    example = Path(__file__).parents[2] / "examples" / "demo.yaml"
    assert "no demo's folder" in t2f("demo", example, "--out", out, code=2)
    assert (out / "letter.txt").read_text() == "dear"


BUNDLE_SWEEP = """
name: from-model
data: {dataset: tiny}
preset: small
init_from: model.safetensors
stages: {resolutions: [4, 8], images: [64, 64], batch: 8}
parameters:
  text.word_embedding: 8
  text.hidden: 8
  text.embedding: 8
  text.word_bag: 4
  network.latent: 12
  network.conditioning: 6
  network.feature_base: 64
  network.feature_max: {values: [8]}
probe: {seeds: 2, images: 16}
"""


def test_a_sweep_that_starts_from_a_model_keeps_it_for_its_workers(own_home, tiny_data, tmp_path):
    sha256 = write_bundle(tmp_path / "model.safetensors", tiny_data)
    file = tmp_path / "sweep.yaml"
    file.write_text(BUNDLE_SWEEP)
    t2f("sweep", "submit", file, home=own_home)
    assert (own_home / "files" / "init" / f"{sha256}.safetensors").read_bytes() == (
        tmp_path / "model.safetensors"
    ).read_bytes()
    plain = file.with_name("plain.yaml")
    plain.write_text(BUNDLE_SWEEP.replace("init_from: model.safetensors\n", ""))
    t2f("sweep", "submit", plain, "--name", "plain", home=own_home)
    keys = []
    database = Home(path=own_home).open()
    for name in ("from-model", "plain"):
        space = reads.sweep(database, name).resolved.space
        (trial,) = reads.trials(database, reads.sweep(database, name).id)
        keys += stage_keys(space.stages(trial.parameters))
    assert len(set(keys)) == 4, "no stage run is shared with a sweep that starts from nothing"


def test_a_model_of_other_shapes_is_refused_before_anything_is_written(own_home, tiny_data, tmp_path):
    write_bundle(tmp_path / "model.safetensors", tiny_data)
    file = tmp_path / "sweep.yaml"
    file.write_text(BUNDLE_SWEEP.replace("[8]}", "[8, 4]}"))
    said = t2f("sweep", "submit", file, home=own_home, code=2)
    assert "4 feature maps at 4 px (the bundle: 8)" in said
    assert not (own_home / "t2f.sqlite").exists()
    file.write_text(BUNDLE_SWEEP.replace("model.safetensors", "missing.safetensors"))
    assert "missing.safetensors does not exist" in t2f("sweep", "submit", file, home=own_home, code=2)


SEARCH = """
name: search
data: {dataset: tiny}
preset: small
method: tpe
metric: [{name: score}, {name: swd}]
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 1e-4, max: 1e-2}
  loss.name: {values: [wgan-gp, hinge]}
  loss.r1_gamma: {values: [0.1, 1], when: {loss.name: hinge}}
budget: {max_trials: 8}
enqueue: [{generator.learning_rate: 0.002}]
"""


def test_a_search_is_submitted_and_trials_are_enqueued_by_hand(own_home, tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    planned = json.loads(t2f("sweep", "submit", file, "--dry-run", "--json", home=own_home))
    assert planned["trials"] == 8
    assert planned["notes"] == [
        "tpe asks for up to 8 trials as results come in; in this tree random ones stand for them"
    ]
    assert "tpe asks for up to 8 trials" in t2f("sweep", "submit", file, home=own_home)
    setting = ("--set", "loss.r1_gamma=1", "--set", "loss.name=hinge")
    said = t2f("sweep", "enqueue", "search", *setting, "--dry-run", home=own_home)
    assert said == "would enqueue loss.name hinge, loss.r1_gamma 1 in search\n"
    done = json.loads(t2f("sweep", "enqueue", "search", *setting, "--json", home=own_home))
    assert (done["trial"], done["parameters"]) == ("search/T1", {"loss.name": "hinge", "loss.r1_gamma": 1.0})
    for given, message in (("loss.r1_gamma=5", "it must be one of 0.1, 1.0"), ("loss.drift=1", "is no parameter of")):
        assert message in t2f("sweep", "enqueue", "search", "--set", given, home=own_home, code=2)
    shown = t2f("sweep", "show", "search", home=own_home)
    assert "rank is the number of the Pareto front of score, swd" in shown
    found = json.loads(t2f("sweep", "show", "search", "--json", home=own_home))
    assert found["parameters"] == {
        "search/T0": {"generator.learning_rate": 0.002},
        "search/T1": {"loss.name": "hinge", "loss.r1_gamma": 1.0},
    }
    assert found["search_ended"] is None


def test_a_start_that_does_not_fit_is_refused_before_anything_is_written(own_home, tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    t2f("sweep", "submit", file, home=own_home)
    file.write_text(SEARCH.replace("name: search", "name: later") + "warm_start: search\n")
    planned = json.loads(t2f("sweep", "submit", file, "--dry-run", "--json", home=own_home))
    assert planned["notes"][1] == "0 of 0 results of search are inside this space and used"
    file.write_text(SEARCH.replace("name: search", "name: later") + "warm_start: nobody\n")
    assert "there is no sweep 'nobody'" in t2f("sweep", "submit", file, home=own_home, code=2)
    assert [sweep["name"] for sweep in json.loads(t2f("sweep", "ls", "--json", home=own_home))] == ["search"]
