"""A home with a sweep of six trials that are trained and measured, made once and copied for each test."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scheduler import promoting, reads, settling, submitting
from scheduler.home import Home
from scheduler.model_reads import Model
from scheduler.models import sealed_run
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.metrics.figures import block_figure, mean_figure, parts_json
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.scheduler.acting import claim, finish, start

SIX = """
name: six
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters:
  generator.learning_rate: {values: [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""


def figures(quality: float, *, gates: str | None = None) -> dict:
    """What an evaluation of this quality might give."""
    noise = 0.01 * np.cos(np.arange(8) * (1 + 10 * quality))
    found = {
        "score": block_figure(quality, quality + noise),
        "pixel_distance": block_figure(1 - quality, 1 - quality + noise),
        "colour_distance": block_figure(1 - quality / 2, 1 - quality / 2 + noise),
        "shuffle_gap": mean_figure(quality + 0.01 * np.cos(np.arange(16) * (1 + 10 * quality))),
        "judge_r_precision": mean_figure(np.array([1.0, 1.0, 1.0, 0.0]), note="1 against 19, chance 5%"),
    }
    return {
        "figures": found,
        "metrics": {name: figure.to_json() for name, figure in found.items()}
        | {"closed_gates": {"value": 1.0 if gates else 0.0, "low": None, "high": None, "note": gates}},
    }


def finish_evaluation(store: Store, job, files: Path, *, quality: float, gates: str | None = None) -> None:
    found = figures(quality, gates=gates)
    content = json.dumps(parts_json(found["figures"])).encode()
    uri = f"evaluations/{job.evaluation_id}/{job.attempt}/parts.json"
    (files / uri).parent.mkdir(parents=True)
    (files / uri).write_bytes(content)
    samples = {"parts": {"uri": uri, "sha256": hashlib.sha256(content).hexdigest()}}
    store.finish_evaluation(
        job.evaluation_id, job.attempt, metrics=found["metrics"], score=quality, samples=samples, seconds=1.0
    )


QUALITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.9)


def make_bundle(sweep, trial, run, checkpoint) -> tuple[str, str]:
    return f"models/{trial.name}-{run.resolution}", "h" * 64


def submit(store: Store, tiny_data, *, name: str, text: str = SIX) -> None:
    resolved = read_sweep(Section(parse_yaml(text, source="test"), "test"), Path()).resolve(tiny_data, "j" * 64)
    submitting.submit_sweep(store, resolved, name=name, submitted=text, data_name="tiny")


def measure(store: Store, files: Path, name: str, quality: Callable[[int], float]) -> None:
    """Train and measure all of a sweep, each trial with the quality of its number; T5 is behind a gate."""
    sweep = reads.sweep(store.database, name)
    worker = store.register_worker(name=f"w-{name}", node="n", pid=1, device="cpu", share=1.0)
    settling.settle(store, sweep)
    numbers = {trial.id: trial.number for trial in reads.trials(store.database, sweep.id)}
    while job := claim(store, worker, lease=1000):
        start(store, job)
        if job.kind == "train":
            finish(store, job)
        else:
            paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
            number = next(numbers[t] for t, path in paths.items() if any(run.id == job.stage_run_id for run in path))
            gates = "copies" if number == 5 else None
            finish_evaluation(store, job, files, quality=quality(number), gates=gates)
        settling.settle(store, sweep)


@pytest.fixture(scope="session")
def six_template(tmp_path_factory: pytest.TempPathFactory, tiny_data) -> Path:
    """Better with the number at every stage; T4 is the best model, T5 behind a gate. The sweep is still open."""
    place = Home(path=tmp_path_factory.mktemp("six"))
    store = Store(place.create())
    submit(store, tiny_data, name="six")
    measure(store, place.files, "six", QUALITIES.__getitem__)
    promoting.promote_best(store, reads.sweep(store.database, "six"), make_bundle)
    store.database.close()
    return place.path


@pytest.fixture
def six(six_template: Path, tmp_path: Path) -> Home:
    """A copy of it, for one test to change."""
    place = Home(path=tmp_path / "six")
    shutil.copytree(six_template, place.path)
    return place


@pytest.fixture
def six_store(six: Home) -> Iterator[Store]:
    store = Store(six.open())
    yield store
    store.database.close()


@pytest.fixture
def promote(six_store: Store) -> Callable[..., Model]:
    """Makes a version of a trial's sealed stage."""

    def do(target: str, alias: str = "champion", **more) -> Model:
        named = sealed_run(six_store.database, target)
        return promoting.promote_run(six_store, *named, alias, make_bundle=make_bundle, by="ann", **more)

    return do
