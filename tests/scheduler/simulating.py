"""Whole sweeps over a real database, with workers that train nothing: a function says how good each stage run is."""

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler import reads, settling, submitting
from scheduler.database import Database, open_database, sqlite_url
from scheduler.reads import Sweep, Trial
from scheduler.schema import migrate
from scheduler.states import TrialState
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from scheduler.tables import metadata
from t2f.data import PreparedData
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.scheduler.acting import claim, finish, start, work_off

_workers = itertools.count()
Score = Callable[[dict[str, Any]], float]  # of StageSpec.to_json()


def simulate(store: Store, name: str, score: Score, *, chance: random.Random | None = None) -> None:
    """Carry a sweep to its end; with chance, three workers finish in any order and the scheduler looks at any time."""
    workers = [
        store.register_worker(name=f"simulated {next(_workers)}", node="n", pid=n, device="cpu", share=1.0)
        for n in range(3 if chance else 1)
    ]
    jobs = []
    for act in acts(chance):
        if act == "claim" and len(jobs) < len(workers):
            job = claim(store, workers[len(jobs)])
            if job is not None:
                start(store, job)
                jobs.append(job)
        elif act == "finish" and jobs:
            job = jobs.pop(chance.randrange(len(jobs)) if chance else 0)
            finish(store, job, score=score(job.spec["stage"]) if job.kind == "evaluate" else 0.0)
        elif act == "settle":
            sweep = reads.sweep(store.database, name)
            if settling.settle(store, sweep):
                settling.end_sweep(store, sweep)
                return
    raise AssertionError(f"the sweep hangs: {[(one.name, one.state) for one in trials(store, sweep)]}")


def acts(chance: random.Random | None) -> Iterator[str]:
    for _ in range(5000):
        if chance is None:
            yield from ("claim", "finish", "settle")
        else:
            yield chance.choice(("claim", "claim", "finish", "finish", "settle"))


def trials(store: Store, sweep: Sweep) -> list[Trial]:
    return reads.trials(store.database, sweep.id)


def depths(store: Store, sweep: Sweep) -> dict[int, tuple[str, int]]:
    """Number of each trial -> its state, and px of its deepest stage run."""
    paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    return {one.number: (str(one.state), paths[one.id][-1].resolution) for one in trials(store, sweep)}


def in_state(store: Store, sweep: Sweep, state: TrialState) -> list[int]:
    return [one.number for one in trials(store, sweep) if one.state == state]


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory, tiny_data: PreparedData) -> Callable[[str], Store]:
    """Submits a sweep "s" in a new database of its own, as often as it is called."""
    folder = tmp_path_factory.mktemp("simulated")
    empty = open_database(sqlite_url(folder / "empty.sqlite"))
    migrate(empty)
    empty.close()
    numbers = itertools.count()

    def do(text: str) -> Store:
        path = folder / f"{next(numbers)}.sqlite"
        shutil.copy(folder / "empty.sqlite", path)
        database = open_database(sqlite_url(path))
        # Nobody pulls a plug here, and waiting for the disk is most of the time.
        sa.event.listen(database.write, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        store = Store(database, clock=lambda: 1000.0)
        resolved = read_sweep(Section(parse_yaml(text, source="test"), "test"), Path()).resolve(tiny_data, "j" * 64)
        submitting.submit_sweep(store, resolved, name="s", submitted=text, data_name="tiny")
        return store

    return do


def sweep_of(store: Store) -> Sweep:
    return reads.sweep(store.database, "s")


def events(store: Store, kind: str) -> list[sa.Row]:
    table = metadata.tables["events"]
    with store.database.read.begin() as connection:
        return connection.execute(sa.select(table).where(table.c.kind == kind).order_by(table.c.id)).all()


class Crash(Exception):  # noqa: N818
    pass


class Crashing(Store):
    """Dies before some of its transactions."""

    def __init__(self, database: Database, clock: Callable[[], float], chance: random.Random) -> None:
        super().__init__(database, clock=clock)
        self._chance = chance
        self.crashes = 0

    def _transaction(self):
        if self._chance.random() < 0.5:
            self.crashes += 1
            raise Crash
        return super()._transaction()


def simulate_with_crashes(store: Store, score: Score, *, seed: int) -> int:
    """The sweep's end with a scheduler that dies between transactions again and again; how often it died."""
    crashing = Crashing(store.database, store._clock, random.Random(seed))
    worker = store.register_worker(name=f"simulated {next(_workers)}", node="n", pid=1, device="cpu", share=1.0)
    for _ in range(5000):
        try:
            over = settling.settle(crashing, sweep_of(store))
        except Crash:
            continue
        if over:
            settling.end_sweep(store, sweep_of(store))
            return crashing.crashes
        work_off(store, worker, lambda job: score(job.spec["stage"]) if job.kind == "evaluate" else 0.0, at_most=3)
    raise AssertionError("the sweep hangs")
