"""Giving work to idle workers, which need not have the same labels."""

import uuid
from collections.abc import Sequence
from typing import Protocol, TypeVar

from scheduler.labels import Labels
from scheduler.store import Assignment, Claimant, Store
from scheduler.store.rows import batches

AT_ONCE = 100  # claims of one transaction; on SQLite nobody else writes before its end


class IdleWorker(Protocol):
    """A worker that has nothing to do."""

    worker_id: int | None
    labels: Labels
    last_stage_run: int | None  # whose sealed state it still holds in memory


Idle = TypeVar("Idle", bound=IdleWorker)


def assignments(store: Store, idle: Sequence[Idle], *, lease_seconds: float) -> list[tuple[Idle, Assignment]]:
    """What the idle workers are to do, claimed for all of them together.

    Workers with fewer labels come first, which leaves those with more to the sweeps that want them.
    """
    in_order = sorted(idle, key=lambda one: len(one.labels))
    found = []
    for workers in batches(in_order, AT_ONCE):
        claimants = [
            Claimant(worker_id=worker.worker_id, claim_id=uuid.uuid4().hex, warm_parent=worker.last_stage_run)
            for worker in workers
        ]
        given = store.claim_all(claimants, lease_seconds=lease_seconds)
        found += [(worker, job) for worker, job in zip(workers, given, strict=True) if job is not None]
    return found


def may_preempt(idle: Sequence[IdleWorker], busy: Sequence[IdleWorker]) -> bool:
    """Whether a busy worker could do what none of these idle ones can, which got nothing: none has its labels."""
    return any(worker.labels not in [one.labels for one in idle] for worker in busy)
