"""Sweeps that want labels, and real workers that have them, or do not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduler import commands, reads, waiting
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.states import SweepState
from scheduler.store import Store
from tests.drills.sweeps import new_home, outcomes, submit_one
from tests.drills.test_faults import Scheduler, busy_worker, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Home:
    return new_home(home, tmp_path / "home")


@pytest.fixture
def scheduler(place: Home) -> Iterator[Callable[..., Scheduler]]:
    """Starts one, to be called after the first sweep is there: it ends once none is open."""
    started: list[Scheduler] = []

    def do(*labels: str) -> Scheduler:
        started.append(Scheduler(place, workers=2, labels=labels))
        return started[0]

    yield do
    for one in started:
        one.close()


def submit(home: Home, name: str, *, pool: str, seed: int, priority: int = 50, images: int = 80) -> Sweep:
    return submit_one(home, name, seed=seed, images=images, resources=f"labels: {{pool: {pool}}}, priority: {priority}")


def test_the_sweep_whose_labels_the_workers_have_is_trained_and_the_other_tells_why_it_waits(
    place, scheduler, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # another Ray that is about is none to join
    h100 = submit(place, "h100", pool="h100", seed=0, priority=90)
    a100 = submit(place, "a100", pool="a100", seed=1, priority=10)
    running = scheduler("pool=a100,zone=b")
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
    running.wait()
    assert outcomes(database, h100) == ["done"]
    assert reads.sweep(database, "h100").state == SweepState.COMPLETE
    assert waiting.reasons(database) == {}


def test_a_worker_is_freed_for_whom_it_can_serve_while_one_of_another_pool_has_nothing_to_do(place, scheduler):
    low = submit(place, "low", pool="a100", seed=0, priority=10, images=8000)
    running = scheduler("pool=h100", "pool=a100")
    database = place.open()
    until(lambda: len(reads.workers(database)) == 2 and busy_worker(database, after_images=400))
    urgent = submit(place, "urgent", pool="a100", seed=1, priority=90)
    until(lambda: not reads.sweep(database, "urgent").is_open)
    other = submit(place, "other", pool="h100", seed=2, priority=5)
    running.wait()
    assert (outcomes(database, urgent), outcomes(database, low)) == (["done"], ["preempted", "done"])
    pools = {worker.name: worker.labels["pool"] for worker in reads.workers(database, with_ended=True)}
    for sweep, pool in ((low, "a100"), (urgent, "a100"), (other, "h100")):
        (run,) = reads.progress(database, sweep).stage_runs
        assert {pools[attempt.worker] for attempt in reads.attempts(database, run.id)} == {pool}
        assert reads.sweep(database, sweep.name).state == SweepState.COMPLETE
