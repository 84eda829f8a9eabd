"""Two sweeps that want different labels, and workers that have those of one: it is trained, the other says why not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler import commands, reads, submitting, waiting
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.states import SweepState
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.data import PreparedData
from t2f.judge import load_judge
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.drills.sweeps import new_home, outcomes
from tests.drills.test_faults import Scheduler, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = """
name: labels
data: {dataset: tiny}
preset: small
seed: %(seed)d
stages: {resolutions: [4], images: [80], batch: 8}
parameters:
  text.hidden: 16
  network.latent: 24
  network.conditioning: 12
  network.feature_base: 128
  network.feature_max: 16
resources: {labels: {pool: %(pool)s}, priority: %(priority)d}
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
"""


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Home:
    return new_home(home, tmp_path / "home")


@pytest.fixture
def scheduler(place: Home) -> Iterator[Scheduler]:
    started = Scheduler(place, workers=2, labels=("pool=a100", "zone=b"))
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.kill()
    started.log.close()


def submit(home: Home, pool: str, *, seed: int, priority: int) -> Sweep:
    text = SWEEP % {"seed": seed, "pool": pool, "priority": priority}
    data = PreparedData.open(home.data / "tiny")
    resolved = read_sweep(Section(parse_yaml(text, source="drill"), "drill"), Path()).resolve(data, load_judge(data)[1])
    database = home.create()
    submitting.submit_sweep(Store(database), resolved, name=pool, submitted=text, data_name="tiny")
    return reads.sweep(database, pool)


def test_the_sweep_whose_labels_the_workers_have_is_trained_and_the_other_tells_why_it_waits(place, request):
    h100 = submit(place, "h100", seed=0, priority=90)
    a100 = submit(place, "a100", seed=1, priority=10)
    scheduler = request.getfixturevalue("scheduler")  # after the sweeps: it ends once none is open
    database = place.open()
    until(lambda: reads.sweep(database, "a100").state == SweepState.COMPLETE)
    workers = reads.workers(database)
    assert {tuple(sorted(worker.labels.items())) for worker in workers} == {(("pool", "a100"), ("zone", "b"))}
    assert (outcomes(database, a100), outcomes(database, h100)) == (["done"], [])
    assert reads.sweep(database, "h100").state == SweepState.RUNNING
    assert waiting.reasons(database) == {
        h100.id: f"no worker has pool=h100; workers have pool=a100, zone=b ({len(workers)})"
    }
    commands.edit_sweep(Store(database), h100, {"resources.labels": {"zone": "b"}}, by="drill")
    scheduler.wait()
    assert outcomes(database, h100) == ["done"]
    assert reads.sweep(database, "h100").state == SweepState.COMPLETE
    assert waiting.reasons(database) == {}
