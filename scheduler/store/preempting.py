"""Preemption: a stage run gives its worker up, after a checkpoint, to one of a higher priority."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.labels import Labels, serves
from scheduler.states import Outcome, RunState
from scheduler.store.queue import Standing, fairest, standings
from scheduler.store.tree import TreeWrites
from scheduler.store.writes import record_event, update_row

SPARED_SECONDS = 600.0  # a stage run that was preempted is left alone for so long


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stage run that could make room."""

    stage_run_id: int
    priority: int
    ordered: bool  # to leave, already
    spared: bool  # it was preempted a short while ago
    seconds_left: float | None  # by its own speed; None while that is not known
    checkpoint_seconds: float
    labels: Labels = field(default_factory=dict)  # of its worker

    def may_leave_for(self, urgent: Standing) -> bool:
        """Not for its equal, not twice in a short while, not when it ends within two checkpoints anyway, and not where
        its worker is of no use to the other."""
        return (
            self.priority < urgent.priority
            and serves(self.labels, urgent.labels)
            and not self.ordered
            and not self.spared
            and not (self.seconds_left is not None and self.seconds_left < 2 * self.checkpoint_seconds)
        )


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which stage run is to make room, and for what."""

    leaves: Running
    urgent: Standing


def order(ready: Sequence[tuple[Standing, int]], idle: Sequence[Labels], running: Sequence[Running]) -> Order | None:
    """Who makes room for the most urgent stage run that finds no worker; None where nobody has to, or can.

    ready: sweeps, and of each how many ready stage runs of its highest priority could run; idle: the labels of the
    workers that have nothing to do. These, and the workers that were ordered free, are taken as the queue's order has
    it; for what is left over the stage run of the lowest priority leaves.
    """
    left = {one.sweep_id: count for one, count in ready if one.wants_more}
    waiting = [one for one, _ in ready if left.get(one.sweep_id)]
    for labels in (*idle, *(one.labels for one in running if one.ordered)):
        turn = fairest([one for one in waiting if left[one.sweep_id]], labels)
        if turn is not None:
            left[turn.sweep_id] -= 1
    for urgent in sorted(waiting, key=lambda one: (-one.priority, one.sweep_id)):
        candidates = [one for one in running if left[urgent.sweep_id] and one.may_leave_for(urgent)]
        if candidates:
            # Of equals the one that is furthest from its end loses the least by waiting.
            chosen = min(candidates, key=lambda one: (one.priority, -(one.seconds_left or 0.0), one.stage_run_id))
            return Order(leaves=chosen, urgent=urgent)
    return None


class PreemptWrites(TreeWrites):
    def preempt(self, idle: Sequence[int] = ()) -> int | None:
        """Order one running stage run to make room for a more urgent one that finds no worker; which. idle: the workers
        that have nothing to do.

        The order goes out with its next beat; it goes on later from the checkpoint that it leaves with.
        """
        with self._transaction() as (connection, now):
            able = [one for one in standings(connection, now) if one.wants_more]
            if not able:
                return None
            running = _running(connection, now)
            most = len(running) + len(idle)  # there is no room for more of one sweep
            ready = [(one, _num_ready(connection, now, one, most)) for one in able]
            labels = connection.scalars(sa.select(t.workers.c.labels).where(t.workers.c.id.in_(idle))).all()
            chosen = order(ready, labels, running)
            if chosen is None:
                return None
            # It may have ended since; then nothing is to be ordered.
            leaves, runs = chosen.leaves.stage_run_id, t.stage_runs.c
            still = sa.select(runs.id).where(runs.id == leaves, runs.state == RunState.RUNNING)
            if connection.scalar(locked(still)) is None:
                return None
            update_row(connection, t.stage_runs, leaves, preempt=1)
            urgent = chosen.urgent.priority
            record_event(connection, now, "stage_run.preempting", stage_run_id=leaves, urgent=urgent)
            return leaves


def _num_ready(connection: sa.Connection, now: float, of: Standing, most: int) -> int:
    """Ready stage runs of a sweep's highest priority that its `max_workers` lets run; not counted beyond `most`."""
    runs = t.stage_runs.c
    if of.max_workers is not None:
        most = min(most, of.max_workers - of.running)
    ready = sa.select(runs.id).where(
        runs.state == RunState.READY, runs.sweep_id == of.sweep_id, runs.priority == of.priority, runs.ready_at <= now
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(ready.limit(most).subquery()))


def _running(connection: sa.Connection, now: float) -> list[Running]:
    runs, attempts = t.stage_runs.c, t.attempts.c
    lately = sa.exists().where(
        attempts.stage_run_id == runs.id,
        attempts.outcome == Outcome.PREEMPTED,
        attempts.ended > now - SPARED_SECONDS,
    )
    statement = (
        sa.select(
            runs.id,
            runs.priority,
            runs.preempt,
            runs.images,
            runs.images_per_second,
            runs.spec["images"].as_integer().label("stage_images"),
            lately.label("spared"),
            t.workers.c.labels,
            t.sweeps.c.resolved["checkpoint_seconds"].as_float().label("checkpoint_seconds"),
        )
        .join(t.sweeps, t.sweeps.c.id == runs.sweep_id)
        .join(t.workers, t.workers.c.id == runs.worker_id)
        .where(runs.state == RunState.RUNNING)
    )
    return [
        Running(
            stage_run_id=row.id,
            priority=row.priority,
            ordered=bool(row.preempt),
            spared=bool(row.spared),
            seconds_left=(row.stage_images - row.images) / row.images_per_second if row.images_per_second else None,
            checkpoint_seconds=row.checkpoint_seconds,
            labels=row.labels,
        )
        for row in connection.execute(statement)
    ]
