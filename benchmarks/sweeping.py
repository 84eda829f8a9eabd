"""Sweeps of a benchmark: submitted to a whole system on this machine, with the demo faces, in a folder of its own."""

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler import reads, submitting
from scheduler.home import Home
from scheduler.reads import Progress, StageRun, Sweep, Trial
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.data import PreparedData
from t2f.judge import load_judge
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from workers.environment import prepare_environment

if TYPE_CHECKING:
    from scheduler.system import System

WORKERS = 2
DATASET = "demo"  # its name in sweep files


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A sweep that has ended."""

    sweep: Sweep
    trials: Mapping[int, Trial]  # by their id
    progress: Progress
    new: tuple[StageRun, ...]  # the stage runs that no earlier sweep had trained
    wall_seconds: float

    @property
    def runs(self) -> dict[int, StageRun]:
        """By their id."""
        return {run.id: run for run in self.progress.stage_runs}

    @property
    def images(self) -> dict[int, int]:
        """New ones, by resolution."""
        return self._by_resolution(lambda run: run.images)

    @property
    def seconds(self) -> dict[int, float]:
        """Of devices for new stage runs, by resolution."""
        return self._by_resolution(lambda run: run.seconds)

    def _by_resolution(self, value: Callable[[StageRun], float]) -> dict[int, float]:
        found: dict[int, float] = {}
        for run in self.new:
            found[run.resolution] = found.get(run.resolution, 0) + value(run)
        return found

    @property
    def device_seconds(self) -> float:
        return sum(self.seconds.values())


class Bench:
    """A home with the demo faces, and a running system on it."""

    def __init__(self, home: Home, system: "System") -> None:
        self._home, self._system = home, system
        self._data = PreparedData.open(home.data / DATASET)

    def run(self, text: str) -> Ran:
        """Submit a sweep and wait for its end."""
        file = Section(parse_yaml(text, source="the benchmark's sweep"), "the benchmark's sweep")
        resolved = read_sweep(file, Path()).resolve(self._data, load_judge(self._data)[1])
        name = file.content["name"]
        database = self._home.create()
        before = {run.id for sweep in reads.sweeps(database) for run in reads.progress(database, sweep).stage_runs}
        begun = time.perf_counter()
        submitting.submit_sweep(Store(database), resolved, name=name, submitted=text, data_name=DATASET)
        self._system.runner.run(should_stop=lambda: not reads.sweep(database, name).is_open)
        wall = time.perf_counter() - begun
        sweep = reads.sweep(database, name)
        trials = {trial.id: trial for trial in reads.trials(database, sweep.id)}
        progress = reads.progress(database, sweep)
        new = tuple(run for run in progress.stage_runs if run.id not in before)
        database.close()
        return Ran(sweep=sweep, trials=trials, progress=progress, new=new, wall_seconds=wall)


@contextmanager
def bench_on(data: PreparedData) -> Iterator[Bench]:
    """A system with two workers of one thread each; all of it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="t2f-bench-") as folder:
        home = Home(path=Path(folder))
        shutil.copytree(data.path, home.data / DATASET)
        prepare_environment(home.path)
        # Ray reads the environment when it is imported.
        from scheduler.system import System, SystemSettings

        with System(SystemSettings(home=home, port=_free_port(), cpu_workers=WORKERS, beat_seconds=2.0)) as system:
            yield Bench(home, system)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
