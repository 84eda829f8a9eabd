"""Giving work to idle workers, which need not have the same labels."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from scheduler.labels import Labels
from scheduler.store import Assignment, Store


class IdleWorker(Protocol):
    """A worker that has nothing to do."""

    worker_id: int | None
    labels: Labels
    last_stage_run: int | None  # whose sealed state it still holds in memory


Idle = TypeVar("Idle", bound=IdleWorker)


def assignments(store: Store, idle: Sequence[Idle], *, lease_seconds: float) -> Iterator[tuple[Idle, Assignment]]:
    """What the idle workers are to do, each claimed when it is asked for.

    Workers with fewer labels come first, which leaves those with more to the sweeps that want them. Where there is
    nothing for one there is nothing for those with the same labels: at most one claim is made in vain for each set of
    labels, so one where all workers are alike.
    """
    in_vain: list[Labels] = []
    for worker in sorted(idle, key=lambda one: len(one.labels)):
        if worker.labels in in_vain:
            continue
        assignment = store.claim(
            worker.worker_id, uuid.uuid4().hex, lease_seconds=lease_seconds, warm_parent=worker.last_stage_run
        )
        if assignment is None:
            in_vain.append(worker.labels)
        else:
            yield worker, assignment


def may_preempt(idle: Sequence[IdleWorker], busy: Sequence[IdleWorker]) -> bool:
    """Whether a busy worker could do what none of these idle ones can, which got nothing: none has its labels."""
    return any(worker.labels not in [one.labels for one in idle] for worker in busy)
