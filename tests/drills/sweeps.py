"""A sweep that trains for a few seconds, and what its weights are when nothing disturbs it."""

import shutil
from pathlib import Path

import torch

from scheduler import reads, submitting
from scheduler.database import Database
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.data import PreparedData
from t2f.judge import load_judge
from t2f.spec import stage_keys
from t2f.trainer import StageTrainer
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml

SWEEP = """
name: drill
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: [%(first)d, %(second)d], batch: 8, fade: 0.5}
parameters:
  generator.learning_rate: {values: [0.001, 0.004]}
  discriminator.learning_rate: {values: [0.001, 0.002], from_stage: 8}
  text.hidden: 16
  network.latent: 24
  network.conditioning: 12
  network.feature_base: 128
  network.feature_max: 16
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
checkpoint: {seconds: 0.3}
"""
ONE = """
name: one
data: {dataset: tiny}
preset: small
seed: %(seed)d
stages: {resolutions: [4], images: [%(images)d], batch: 8}
parameters:
  text.hidden: 16
  network.latent: 24
  network.conditioning: 12
  network.feature_base: 128
  network.feature_max: 16
resources: {%(resources)s}
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
checkpoint: {seconds: 0.3}
"""


def new_home(source: Path, path: Path) -> Home:
    """A home with the tiny data set and an empty database."""
    shutil.copytree(source / "data", path / "data")
    home = Home(path=path)
    home.create().close()
    return home


def submit(home: Home, *, first: int = 160, second: int = 160) -> Sweep:
    return _submit(home, SWEEP % {"first": first, "second": second}, "drill")


def submit_one(home: Home, name: str, *, seed: int, images: int, resources: str) -> Sweep:
    """A sweep of one trial of one stage. resources: what stands in the braces of the sweep file."""
    return _submit(home, ONE % {"seed": seed, "images": images, "resources": resources}, name)


def _submit(home: Home, text: str, name: str) -> Sweep:
    data = PreparedData.open(home.data / "tiny")
    resolved = read_sweep(Section(parse_yaml(text, source="drill"), "drill"), Path()).resolve(data, load_judge(data)[1])
    database = home.create()
    submitting.submit_sweep(Store(database), resolved, name=name, submitted=text, data_name="tiny")
    sweep = reads.sweep(database, name)
    database.close()
    return sweep


def undisturbed_weights(home: Home, sweep: Sweep) -> dict[str, str]:
    """Stage run key -> weights, each trial trained alone from 4 px on, in this process, with nothing shared."""
    torch.set_num_threads(1)
    data = PreparedData.open(home.data / "tiny")
    found: dict[str, str] = {}
    for parameters in (trial.parameters for trial in submitting.new_trials(sweep.resolved)):
        stages, parent = sweep.resolved.space.stages(parameters), None
        for stage, key in zip(stages, stage_keys(stages), strict=True):
            trainer = StageTrainer(stage, data, parent=parent)
            while not trainer.position.is_finished:
                trainer.step()
            parent = {name: tensor.clone() for name, tensor in trainer.state().items()}
            weights = trainer.weights_sha256()
            assert found.setdefault(key, weights) == weights, "the same key twice, with other bits"
    return found


def weights(database: Database, sweep: Sweep) -> dict[str, str]:
    """Stage run key -> weights, as the workers sealed them."""
    return {run.key: run.weights_sha256 for run in reads.progress(database, sweep).stage_runs}


def outcomes(database: Database, sweep: Sweep) -> list[str]:
    """How every attempt of the sweep ended, stage run by stage run."""
    runs = reads.progress(database, sweep).stage_runs
    return [attempt.outcome for run in runs for attempt in reads.attempts(database, run.id)]
