"""A sweep of low priority makes room for one of high priority, goes on later, and comes to the same weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler import reads, submitting
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.states import SweepState
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.data import PreparedData
from t2f.judge import load_judge
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.drills.sweeps import new_home, outcomes, undisturbed_weights, weights
from tests.drills.test_faults import Scheduler, busy_worker, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = """
name: preemption
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
resources: {priority: %(priority)d}
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
checkpoint: {seconds: 0.3}
"""


def submit(home: Home, name: str, *, seed: int, images: int, priority: int) -> Sweep:
    text = SWEEP % {"seed": seed, "images": images, "priority": priority}
    data = PreparedData.open(home.data / "tiny")
    resolved = read_sweep(Section(parse_yaml(text, source="drill"), "drill"), Path()).resolve(data, load_judge(data)[1])
    database = home.create()
    submitting.submit_sweep(Store(database), resolved, name=name, submitted=text, data_name="tiny")
    return reads.sweep(database, name)


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Home:
    return new_home(home, tmp_path / "home")


@pytest.fixture
def scheduler(place: Home) -> Iterator[list[Scheduler]]:
    started: list[Scheduler] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.kill()
        one.log.close()


def test_a_preempted_sweep_goes_on_later_to_the_same_weights(place, scheduler):
    low = submit(place, "low", seed=0, images=8000, priority=10)
    scheduler.append(Scheduler(place, workers=1))
    database = place.open()
    until(lambda: busy_worker(database, after_images=400))
    high = submit(place, "high", seed=1, images=400, priority=90)
    scheduler[0].wait()
    assert outcomes(database, high) == ["done"]
    assert outcomes(database, low) == ["preempted", "done"]
    (run,) = reads.progress(database, low).stage_runs
    first, second = reads.attempts(database, run.id)
    (urgent,) = reads.attempts(database, reads.progress(database, high).stage_runs[0].id)
    assert first.ended <= urgent.started < urgent.ended <= second.started, "the urgent one was trained in between"
    assert second.start_images > 0, "it went on from its checkpoint"
    for sweep in (low, high):
        assert weights(database, sweep) == undisturbed_weights(place, sweep)
        assert reads.sweep(database, sweep.name).state == SweepState.COMPLETE
