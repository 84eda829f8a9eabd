"""Preemption: a stage run gives its worker up, after a checkpoint, to one of a higher priority."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import Outcome, RunState
from scheduler.store.queue import Standing, standings
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


def victim(ready: Sequence[Standing], waiting: int, running: Sequence[Running]) -> Running | None:
    """The stage run that is to make room for the most urgent ready one; None where none is.

    ready: the sweeps with something ready; waiting: how many stage runs of the highest priority among these are ready.
    Only one of a strictly lower priority leaves, the lowest first, and none that ends within two checkpoints anyway.
    """
    able = [one.priority for one in ready if one.may_run_more]
    if not able or waiting <= sum(one.ordered for one in running):
        return None
    candidates = [
        one
        for one in running
        if one.priority < max(able)
        and not one.ordered
        and not one.spared
        and not (one.seconds_left is not None and one.seconds_left < 2 * one.checkpoint_seconds)
    ]
    # Of equals the one that is furthest from its end loses the least by waiting.
    return min(candidates, key=lambda one: (one.priority, -(one.seconds_left or 0.0), one.stage_run_id), default=None)


class PreemptWrites(TreeWrites):
    def preempt(self) -> int | None:
        """Order one running stage run to make room for a more urgent ready one; which. For when no worker is idle.

        The order goes out with its next beat; it goes on later from the checkpoint that it leaves with.
        """
        with self._transaction() as (connection, now):
            ready = standings(connection, now)
            able = [one for one in ready if one.may_run_more]
            if not able:
                return None
            urgent = max(one.priority for one in able)
            runs = t.stage_runs.c
            waiting = connection.scalar(
                sa.select(sa.func.count()).where(
                    runs.state == RunState.READY,
                    runs.ready_at <= now,
                    runs.priority == urgent,
                    runs.sweep_id.in_([one.sweep_id for one in able]),
                )
            )
            chosen = victim(ready, waiting, _running(connection, now))
            if chosen is None:
                return None
            # It may have ended since; then nothing is to be ordered.
            still = sa.select(runs.id).where(runs.id == chosen.stage_run_id, runs.state == RunState.RUNNING)
            if connection.scalar(locked(still)) is None:
                return None
            update_row(connection, t.stage_runs, chosen.stage_run_id, preempt=1)
            record_event(connection, now, "stage_run.preempting", stage_run_id=chosen.stage_run_id, urgent=urgent)
            return chosen.stage_run_id


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
            t.sweeps.c.resolved["checkpoint_seconds"].as_float().label("checkpoint_seconds"),
        )
        .join(t.sweeps, t.sweeps.c.id == runs.sweep_id)
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
        )
        for row in connection.execute(statement)
    ]
