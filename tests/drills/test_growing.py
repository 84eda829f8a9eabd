"""A sweep that grows, on a real Ray: children go on from their parents' weights, and no stage is trained twice."""

from collections import Counter
from pathlib import Path

import pytest

from scheduler import model_reads, reads, submitting
from scheduler.states import SweepState
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.data import PreparedData
from t2f.judge import load_judge
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.drills.sweeps import new_home, outcomes
from tests.drills.test_faults import Scheduler

pytestmark = [pytest.mark.ray, pytest.mark.slow]

GROWN = """
name: grown
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [80, 80, 80], batch: 8}
method: grow
grow: {population: 3, keep: 1, children: 3}
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 0.001, max: 0.01}
  text.hidden: 16
  network.latent: 24
  network.conditioning: 12
  network.feature_base: 128
  network.feature_max: 16
replicate: {top: 1, seeds: 2}
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
"""


def test_a_sweep_grows_and_its_finalist_runs_again(home: Path, tmp_path: Path):
    place = new_home(home, tmp_path / "home")
    data = PreparedData.open(place.data / "tiny")
    spec = read_sweep(Section(parse_yaml(GROWN, source="grown"), "grown"), Path())
    database = place.create()
    submitting.submit_sweep(
        Store(database), spec.resolve(data, load_judge(data)[1]), name="grown", submitted=GROWN, data_name="tiny"
    )
    scheduler = Scheduler(place)
    scheduler.wait()
    scheduler.log.close()
    sweep = reads.sweep(database, "grown")
    assert sweep.state == SweepState.COMPLETE
    trials = {one.number: one for one in reads.trials(database, sweep.id)}
    ranking = reads.ranking(database, sweep)
    # An untrained-looking model may close a gate; then nobody is a finalist.
    fresh = 2 if ranking[0].fresh else 0
    assert Counter(one.origin for one in trials.values() if one.origin != "replicate") == {"sobol": 3, "grow": 4}
    assert len(trials) == 7 + fresh
    runs = reads.progress(database, sweep).stage_runs
    assert Counter(run.resolution for run in runs) == dict.fromkeys((4, 8, 16), 3 + fresh)
    assert outcomes(database, sweep) == ["done"] * len(runs), "no stage is trained twice"
    assert len({run.weights_sha256 for run in runs}) == len(runs)
    paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
    for one in trials.values():
        if one.origin == "grow":
            assert paths[one.id][0].id in [run.id for run in paths[trials[one.role.parent].id]]
    model = model_reads.find_model(database, "grown", "best")
    expected = ranking[0].fresh.best("maximize") if fresh else ranking[0].standing
    assert model.stage_run_id == expected.stage_run_id
    assert (place.files / model.uri).exists()
