"""The fair share over time: how much of the devices each sweep had too little for its share so far, or too much.

Two sweeps that want one worker cannot hold half of it each, nor can anybody be given a quarter of two workers. So what
each was short of is added up while they run, in device seconds, and the queue makes it good (`store/queue.py`).
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from scheduler.labels import Labels, serves
from scheduler.store import Store
from scheduler.store.queue import Standing, standings
from scheduler.waiting import labels_of_workers

FORGET_SECONDS = 600.0  # in which half of its credit is lost to a sweep that neither wants nor holds anything
NEGLIGIBLE = 0.01  # device seconds: forgotten at once
ROUNDING = 1e-9  # device seconds: not a change
WRITE_SECONDS = 1.0  # from one writing of credits to the next, at least


def wanting(found: Sequence[Standing], workers: Sequence[Labels]) -> set[int]:
    """Ids of the sweeps that are waiting for a worker and next in turn: those of the highest priority that some worker
    serves. workers: the labels of each that is alive."""
    able = [one for one in found if one.wants_more and any(serves(had, one.labels) for had in workers)]
    highest = max((one.priority for one in able), default=None)
    return {one.sweep_id for one in able if one.priority == highest}


def fair_devices(found: Sequence[Standing], waiting: Collection[int]) -> dict[int, float]:
    """Sweep id -> what it should hold of the devices that those found hold together.

    They are divided by `share`; what a sweep that waits for nothing leaves of its part goes to the others.
    """
    rest, total, fair = list(found), sum(one.devices for one in found), {}
    while rest:
        unit = total / sum(one.share for one in rest)
        content = [one for one in rest if one.sweep_id not in waiting and one.devices <= unit * one.share]
        if not content:
            return fair | {one.sweep_id: unit * one.share for one in rest}
        fair |= {one.sweep_id: one.devices for one in content}
        total -= sum(one.devices for one in content)
        rest = [one for one in rest if one not in content]
    return fair


def earned(found: Sequence[Standing], workers: Sequence[Labels], seconds: float) -> dict[int, float]:
    """Sweep id -> change of its credit, in device seconds, after so many seconds of such a standing."""
    waiting = wanting(found, workers)
    fair = fair_devices([one for one in found if one.sweep_id in waiting or one.devices > 0], waiting)
    changes = {}
    for one in found:
        if one.sweep_id in fair:
            changes[one.sweep_id] = (fair[one.sweep_id] - one.devices) * seconds
        else:
            forgotten = 1 - 0.5 ** (seconds / FORGET_SECONDS) if abs(one.credit) > NEGLIGIBLE else 1.0
            changes[one.sweep_id] = -one.credit * forgotten
    return {sweep_id: change for sweep_id, change in changes.items() if abs(change) > ROUNDING}


class FairShare:
    """Adds credits up while one scheduler leads; what it has not written yet when it dies is a second's worth."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._seen: tuple[float, Sequence[Standing], Sequence[Labels]] | None = None  # at the end of the last turn
        self._earned: Counter[int] = Counter()  # not written yet
        self._next_write = 0.0  # by that clock

    def turn(self, *, has_rivals: bool) -> None:
        """To be called after work was given out: what runs then, runs until the next turn.

        has_rivals: whether several sweeps are open; a single one is short of nothing, and costs no look.
        """
        now = self._clock()
        if self._seen is not None:
            then, found, workers = self._seen
            self._earned.update(earned(found, workers, now - then))
        self._seen = (now, *self._look()) if has_rivals else None
        if self._earned and now >= self._next_write:
            self._store.add_credit(self._earned)
            self._earned, self._next_write = Counter(), now + WRITE_SECONDS

    def _look(self) -> tuple[Sequence[Standing], Sequence[Labels]]:
        with self._store.database.read.begin() as connection:
            # What waits out a fault is not ready: by this machine's clock, which a second of credit does not care for.
            return standings(connection, time.time()), labels_of_workers(connection)
