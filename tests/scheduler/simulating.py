"""Whole sweeps over a real database, with workers that train nothing: a function says how good each stage run is."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from scheduler import reads, settling
from scheduler.reads import Sweep, Trial
from scheduler.states import TrialState
from scheduler.store import Store
from tests.scheduler.acting import claim, finish, start

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
