"""A disk that is full: nothing new is begun, nobody dies, and all goes on by itself once there is room."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler import reads, room, waiting
from scheduler.home import Home
from scheduler.states import SweepState
from tests.drills.sweeps import new_home, outcomes, submit, undisturbed_weights, weights
from tests.drills.test_faults import Scheduler, busy_worker, until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted, which takes root"),
]

DISK_BYTES = room.LEAST_BYTES + 40 * 2**20


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Iterator[Home]:
    """A home on a small disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk], check=True)
    yield new_home(home, disk / "home")
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def scheduler(place: Home, tmp_path: Path) -> Iterator[list[Scheduler]]:
    """The one that a test starts."""
    started: list[Scheduler] = []
    yield started
    for one in started:
        one.close()


def fill(file: Path, *, left: int) -> None:
    """Write the disk full, but for so many bytes."""
    with file.open("wb", buffering=0) as out:
        while (free := shutil.disk_usage(file.parent).free) > left:
            try:
                out.write(bytes(min(free - left, 2**20)))
            except OSError:
                return


def test_nothing_is_begun_without_room_and_all_goes_on_once_there_is(place, scheduler, tmp_path):
    sweep = submit(place)
    filler = place.path.parent / "filler"
    fill(filler, left=room.LEAST_BYTES - 2**20)
    scheduler.append(Scheduler(place, logs=tmp_path))
    database = place.open()
    why = until(lambda: waiting.reasons(database).get(sweep.id))
    assert "left, less than the 67.1 MB that what is trained next may need; make room" in why
    until(lambda: len(reads.workers(database)) == 2)
    time.sleep(3)
    assert outcomes(database, sweep) == []
    filler.unlink()
    scheduler[0].wait()
    assert reads.sweep(database, sweep.name).state == SweepState.COMPLETE
    assert set(outcomes(database, sweep)) == {"done"}
    assert waiting.reasons(database) == {}


def test_a_disk_that_others_fill_costs_nothing_but_time(place, scheduler, tmp_path):
    sweep = submit(place, first=1600, second=1600)
    database = place.open()
    scheduler.append(Scheduler(place, logs=tmp_path))
    until(lambda: busy_worker(database, after_images=200))
    filler = place.path.parent / "filler"
    fill(filler, left=0)
    time.sleep(15)  # five leases
    assert scheduler[0].process.poll() is None, Path(scheduler[0].log.name).read_text()
    assert "done" not in outcomes(database, sweep)[4:], "there was no room for it"
    filler.unlink()
    scheduler[0].wait()
    assert reads.sweep(database, sweep.name).state == SweepState.COMPLETE
    assert weights(database, sweep) == undisturbed_weights(place, sweep)
