"""A sweep of low priority makes room for one of high priority, goes on later, and comes to the same weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler import reads
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.states import SweepState
from tests.drills.sweeps import new_home, outcomes, submit_one, undisturbed_weights, weights
from tests.drills.test_faults import Scheduler, busy_worker, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def submit(home: Home, name: str, *, seed: int, images: int, priority: int) -> Sweep:
    return submit_one(home, name, seed=seed, images=images, resources=f"priority: {priority}")


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Home:
    return new_home(home, tmp_path / "home")


@pytest.fixture
def scheduler(place: Home) -> Iterator[list[Scheduler]]:
    started: list[Scheduler] = []
    yield started
    for one in started:
        one.close()


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
