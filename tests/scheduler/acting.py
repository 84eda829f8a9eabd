"""Doing a worker's writes by hand, so that the scheduler can be tested without training anything."""

import itertools
from typing import Any

from scheduler import settling
from scheduler.reads import Sweep
from scheduler.store import Assignment, Store

_claims = itertools.count()


def claim(store: Store, worker: int, *, lease: float = 10.0) -> Assignment | None:
    return store.claim(worker, f"claim {next(_claims)}", lease_seconds=lease)


def start(store: Store, job: Assignment) -> None:
    if job.kind == "train":
        store.start(job.stage_run_id, job.attempt, numerics_class="test", start_images=0)
    else:
        store.start_evaluation(job.evaluation_id, job.attempt)


def finish(store: Store, job: Assignment, *, score: float = 0.5) -> None:
    """Seal a stage run, or hand in an evaluation with this score."""
    if job.kind == "train":
        store.seal(job.stage_run_id, job.attempt, **sealed(job))
    else:
        metrics = {"score": {"value": score, "low": score, "high": score}}
        store.finish_evaluation(job.evaluation_id, job.attempt, metrics=metrics, score=score, samples={}, seconds=1.0)


def sealed(job: Assignment) -> dict[str, Any]:
    """What a worker tells of a stage run at its end."""
    return {
        "images": 40,
        "uri": f"{job.stage_run_id}/{job.attempt}/40",
        "sha256": "s" * 64,
        "num_bytes": 1,
        "weights_sha256": "w" * 64,
        "seconds": 1.0,
    }


def work_off(store: Store, worker: int, score=lambda job: 0.5, *, at_most: int = 1000) -> int:
    """Do everything that can be claimed; the number of jobs done."""
    for done in range(at_most):
        job = claim(store, worker)
        if job is None:
            return done
        start(store, job)
        finish(store, job, score=score(job))
    return at_most


def finish_sweep(store: Store, sweep: Sweep, worker: int, score=lambda job: 0.5) -> None:
    """Carry a sweep to its end with one worker."""
    while not settling.settle(store, sweep):
        assert work_off(store, worker, score)
    settling.end_sweep(store, sweep)
