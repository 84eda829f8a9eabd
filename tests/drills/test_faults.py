"""Faults on a real Ray: processes are killed and stopped, and the weights must come out as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from scheduler import commands, model_reads, reads
from scheduler.cli import app
from scheduler.home import Home
from scheduler.judgement import judge_sweep
from scheduler.states import SweepState, TrialState
from scheduler.store import Store
from t2f.checkpoint import file_sha256
from t2f.generate import open_bundle
from tests.drills.sweeps import new_home, outcomes, submit, submit_one, undisturbed_weights, weights

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SWEEPS = {"blocked": 80, "other": 160}  # images


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Home:
    return new_home(home, tmp_path / "home")


class Scheduler:
    """A scheduler process and its Ray."""

    def __init__(
        self,
        home: Home,
        *,
        workers: int = 2,
        lease_seconds: float = 3.0,
        labels: tuple[str, ...] = (),
        logs: Path | None = None,
    ) -> None:
        """labels: of its Ray's node, or of several: pool=a100,zone=b. logs: a folder; default: the home."""
        environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(home.path.resolve() / "ray.token")}
        self.log = ((logs or home.path) / f"scheduler-{time.monotonic_ns()}.log").open("w")
        command = [sys.executable, "-m", "tests.drills.scheduler_process", home.path, str(workers), str(lease_seconds)]
        self.process = subprocess.Popen(
            [*command, *labels], cwd=ROOT, env=environment, stdout=self.log, stderr=self.log
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, however far it is."""
        if self.process.poll() is None:
            self.process.terminate()
            self.kill()
        self.log.close()

    def wait(self, seconds: float = 240) -> None:
        """Until it ends by itself; its log is shown if it does not end well."""
        try:
            code = self.process.wait(timeout=seconds)
        finally:
            if self.process.poll() is None:
                self.kill()
        assert code == 0, Path(self.log.name).read_text()


@pytest.fixture
def schedulers(place: Home) -> Iterator[list[Scheduler]]:
    """Schedulers to end whatever happens in the test."""
    started: list[Scheduler] = []
    yield started
    for one in started:
        one.close()


def until(condition, seconds: float = 120.0):
    """The first true answer of `condition`, asked often."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing in {seconds:g} seconds")


def busy_worker(database, *, after_images: int):
    """A worker that is training a stage run, at least so far into it."""
    for worker in reads.workers(database):
        telemetry = worker.telemetry
        if worker.doing and worker.doing["kind"] == "train" and telemetry.get("images", 0) >= after_images:
            return worker
    return None


def assert_whole(place: Home, sweep, database) -> None:
    """The sweep is complete, every stage run was sealed once, and its weights are those of an undisturbed training."""
    found = reads.sweep(database, sweep.name)
    assert found.state == SweepState.COMPLETE
    assert {trial.state for trial in reads.trials(database, sweep.id)} == {TrialState.COMPLETE}
    assert weights(database, sweep) == undisturbed_weights(place, sweep)
    assert outcomes(database, sweep).count("done") == len(reads.progress(database, sweep).stage_runs)


def test_a_whole_sweep_gives_the_weights_of_trainings_that_share_nothing(place, schedulers):
    sweep = submit(place)
    schedulers.append(Scheduler(place))
    schedulers[0].wait()
    database = place.open()
    assert_whole(place, sweep, database)
    assert set(outcomes(database, sweep)) == {"done"}
    counts = reads.counts(database, sweep)
    assert (counts.trained, counts.saved_by_sharing) == (6, 2)
    ranking = reads.ranking(database, sweep)
    assert len(ranking) == 4
    model = model_reads.find_model(database, sweep.name, "best")
    assert model.stage_run_id == ranking[0].standing.stage_run_id
    assert file_sha256(place.files / model.uri) == model.sha256
    assert open_bundle(place.files / model.uri).draw(["long pink hair"], seeds=[0]).shape == (1, 3, 8, 8)
    for run in reads.progress(database, sweep).stage_runs:
        assert run.evaluation.metrics["score"]["value"] == run.evaluation.score
        assert (place.files / run.evaluation.samples["uri"]).read_bytes().startswith(b"\x89PNG")
        parts = run.evaluation.samples["parts"]
        assert file_sha256(place.files / parts["uri"]) == parts["sha256"]
    found = judge_sweep(database, place.files, sweep, metric=None)
    assert all(one.wins for one in found.places), "what comparing takes was kept with every evaluation"
    assert reads.workers(database) == [], "workers say goodbye"


def test_a_worker_that_is_killed_costs_nothing_but_time(place, schedulers):
    sweep = submit(place, first=2400, second=2400)
    database = place.open()
    schedulers.append(Scheduler(place))
    for after_images in (200, 600):
        worker = until(lambda least=after_images: busy_worker(database, after_images=least))
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda pid=worker.pid: pid not in {one.pid for one in reads.workers(database)})
    schedulers[0].wait()
    assert_whole(place, sweep, database)
    assert outcomes(database, sweep).count("lost") == 2
    started_late = [
        attempt.start_images
        for run in reads.progress(database, sweep).stage_runs
        for attempt in reads.attempts(database, run.id)
        if attempt.number > 1
    ]
    assert any(images > 0 for images in started_late), "it went on from a checkpoint"


def test_a_scheduler_that_is_killed_is_followed_by_one_that_goes_on(place, schedulers):
    """First alone: its workers may finish what they hold. Then together with its workers."""
    # Long enough that nobody can finish between a look at the rows and the kill.
    sweep = submit(place, first=4800, second=4800)
    database = place.open()
    for with_workers in (False, True):
        schedulers.append(Scheduler(place))
        found = schedulers[-1]
        workers = until(lambda: busy_worker(database, after_images=300) and reads.workers(database))
        found.process.kill()
        for worker in workers if with_workers else ():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        found.kill()
        for worker in workers:
            until(lambda pid=worker.pid: not psutil.pid_exists(pid))
    schedulers.append(Scheduler(place))
    schedulers[-1].wait()
    assert_whole(place, sweep, database)
    assert "lost" in outcomes(database, sweep)


def test_a_zombie_that_wakes_writes_nothing_and_leaves(place, schedulers):
    """SIGSTOP beyond the lease: another attempt takes over; woken, the old process must not be heard."""
    sweep = submit(place, first=4800, second=160)
    database = place.open()
    schedulers.append(Scheduler(place))
    zombie = until(lambda: busy_worker(database, after_images=300))
    os.kill(zombie.pid, signal.SIGSTOP)
    try:
        stage_run = zombie.doing["stage_run"]
        until(lambda: len(reads.attempts(database, stage_run)) > 1)
    finally:
        with suppress(ProcessLookupError):  # its scheduler may have ended it already
            os.kill(zombie.pid, signal.SIGCONT)
    until(lambda: not psutil.pid_exists(zombie.pid))
    schedulers[0].wait()
    assert_whole(place, sweep, database)
    assert reads.attempts(database, stage_run)[0].outcome == "lost"


def checkpoints(place: Home, stage_run: int) -> list[Path]:
    """The first attempt's whole checkpoints, earliest first; one that a kill cut off is still under its hidden name."""
    folder = place.files / f"stage_runs/{stage_run}/1"
    return sorted(folder.glob("[0-9]*.safetensors"), key=lambda path: int(path.stem))


def test_a_damaged_checkpoint_is_passed_over(place, schedulers):
    sweep = submit(place, first=4800, second=160)
    database = place.open()
    schedulers.append(Scheduler(place, workers=1))
    worker = until(lambda: busy_worker(database, after_images=1))
    until(lambda: len(checkpoints(place, worker.doing["stage_run"])) > 2)
    schedulers[0].kill()
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(worker.pid))
    written = checkpoints(place, worker.doing["stage_run"])
    written[-1].write_bytes(written[-1].read_bytes()[:-100])
    schedulers.append(Scheduler(place))
    schedulers[-1].wait()
    assert_whole(place, sweep, database)
    second = reads.attempts(database, worker.doing["stage_run"])[1]
    assert 0 < second.start_images < int(written[-1].stem)


def test_a_sweep_whose_data_is_replaced_waits_until_it_is_back(place, schedulers):
    sweep = submit(place)
    database = place.create()
    tiny = place.data / "tiny"
    tiny.rename(place.data / "old")
    shutil.copytree(place.data / "bare", tiny)
    schedulers.append(Scheduler(place))
    until(lambda: reads.sweep(database, "drill").state == SweepState.PAUSED)
    paused = reads.sweep(database, "drill")
    assert "the data set 'tiny' changed" in paused.error
    assert outcomes(database, sweep) == [], "nothing was trained on the wrong data"
    shutil.rmtree(tiny)
    (place.data / "old").rename(tiny)
    commands.resume_sweep(Store(database), paused)
    schedulers[0].wait()
    assert reads.sweep(database, "drill").state == SweepState.COMPLETE
    assert set(outcomes(database, sweep)) == {"done"}


def test_a_best_model_that_cannot_be_written_stops_neither_its_sweep_nor_another(place, schedulers):
    blocked, other = (submit_one(place, name, seed=0, images=images, resources="") for name, images in SWEEPS.items())
    in_the_way = place.files / "models" / blocked.name
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder should be")
    schedulers.append(Scheduler(place))
    schedulers[0].wait()
    database = place.open()
    found = reads.sweep(database, blocked.name)
    assert found.state == SweepState.COMPLETE
    assert "could not be written" in found.error
    assert "`t2f promote blocked/T0@4`" in found.error
    assert model_reads.find_model(database, blocked.name, "best") is None
    assert reads.sweep(database, other.name).error is None
    assert model_reads.find_model(database, other.name, "best") is not None
    in_the_way.unlink()
    done = CliRunner().invoke(app, ["promote", "blocked/T0@4", "--home", str(place.path)])
    assert done.exit_code == 0, done.output
    model = model_reads.find_model(database, blocked.name, "champion")
    assert file_sha256(place.files / model.uri) == model.sha256
