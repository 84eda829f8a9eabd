"""A trial that was really trained gives the same weights again, and what differs is said."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
import torch

from scheduler import cli, reads, reproducing, settling
from scheduler import tables as t
from scheduler.home import Home
from scheduler.store import Store
from t2f.data import PreparedData
from t2f.device import numerics_class
from t2f.spec import StageSpec
from t2f.trainer import StageTrainer
from tests.drills.sweeps import submit
from tests.scheduler.acting import claim, finish
from workers.attempt import save_checkpoint
from workers.files import Files, checkpoint_uri


def train_all(place: Home, data: PreparedData) -> None:
    """Train the drill's four trials as a worker does, in this process."""
    database = place.open()
    store, files = Store(database), Files(place.path)
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    states: dict[int, dict] = {}
    sweep = reads.sweeps(database)[0]
    while not settling.settle(store, sweep):
        while (job := claim(store, worker, lease=1000)) is not None:
            if job.kind == "evaluate":
                store.start_evaluation(job.evaluation_id, job.attempt)
                finish(store, job)
                continue
            own = numerics_class(torch.device("cpu"))
            store.start(job.stage_run_id, job.attempt, numerics_class=own, start_images=0)
            parent = states.get(int(Path(job.parent.uri).parts[1])) if job.parent else None
            trainer = StageTrainer(StageSpec.from_json(job.spec), data, parent=parent)
            while not trainer.position.is_finished:
                trainer.step()
            saved, images = save_checkpoint(files, job, trainer), trainer.position.images_seen
            states[job.stage_run_id] = {name: tensor.clone() for name, tensor in trainer.state().items()}
            store.seal(
                job.stage_run_id,
                job.attempt,
                images=images,
                uri=checkpoint_uri(job.stage_run_id, job.attempt, images),
                sha256=saved.sha256,
                num_bytes=saved.num_bytes,
                weights_sha256=trainer.weights_sha256(),
                seconds=1.0,
            )
    settling.end_sweep(store, sweep)
    database.close()


@pytest.fixture(scope="module")
def trained(home: Path, tmp_path_factory) -> Path:
    place = Home(path=tmp_path_factory.mktemp("trained"))
    place.data.mkdir()
    shutil.copytree(home / "data" / "tiny", place.data / "tiny")
    place.create().close()
    submit(place, first=24, second=24)
    train_all(place, PreparedData.open(place.data / "tiny"))
    return place.path


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Home:
    """A copy, so that its rows can be changed."""
    return Home(path=shutil.copytree(trained, tmp_path / "home"))


@pytest.fixture
def t2f(place: Home, monkeypatch, capsys):
    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["t2f", "trial", "reproduce", *words, "--home", str(place.path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.out + printed.err
        return printed.err if code == 2 else printed.out

    return run


def change(place: Home, statement: sa.Update) -> None:
    database = place.open()
    with database.write.begin() as connection:
        connection.execute(statement)
    database.close()


def test_every_stage_has_the_same_weights_again(t2f, place, tmp_path):
    assert "8 px" in t2f("T3", "--dry-run")
    found = json.loads(t2f("T3", "--json", "--scratch", str(tmp_path / "scratch")))
    assert [(one["resolution"], one["same"], one["must_be_same"]) for one in found["stages"]] == [
        (4, True, True),
        (8, True, True),
    ]
    assert (tmp_path / "scratch" / "8px" / "state.safetensors").exists()
    said = t2f("T3", "--through", "4")
    assert ("4 px  same" in said, "8 px" in said) == (True, False)


def test_other_weights_in_the_same_class_are_status_1(t2f, place):
    change(place, t.stage_runs.update().where(t.stage_runs.c.resolution == 8).values(weights_sha256="f" * 64))
    said = t2f("T0", code=1)
    assert "4 px  same" in said
    assert "8 px  different" in said
    assert "recorded ffffffffffff" in said
    assert "in the same class of numerics" in said


def test_other_weights_of_another_class_are_expected(t2f, place):
    change(place, t.stage_runs.update().values(weights_sha256="f" * 64))
    change(place, t.attempts.update().values(numerics_class="another machine | 3 threads"))
    said = t2f("T0", "--through", "4")
    assert "trained in another machine" in said
    assert "other bits are expected" in said


def test_what_cannot_be_compared_is_refused(t2f, place, monkeypatch):
    assert "--through 16 is not allowed; the sealed stages of drill/T0 are 4 px, 8 px" in t2f(
        "T0", "--through", "16", code=2
    )
    monkeypatch.setattr("t2f.spec.TRAINING_VERSION", 99)
    assert "take the commit it was submitted with" in t2f("T0", code=2)
    monkeypatch.undo()


def test_changed_data_is_refused(t2f, place):
    change(place, t.sweeps.update().values(data_key="0" * 64))
    assert "changed since 'drill' was submitted" in t2f("T0", code=2)


def test_threads_are_those_of_the_class():
    assert reproducing.recorded_threads(("cpu | AVX2 | torch 2 | 3 threads | fp32",)) == 3
    assert reproducing.recorded_threads(("a | 3 threads", "b | 4 threads")) == 1
    assert reproducing.recorded_threads(()) == 1
