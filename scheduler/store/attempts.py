"""What a worker writes of its attempt at a stage run, fenced by the attempt's number, and what follows a fault."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import upsert
from scheduler.states import Outcome, RunState
from scheduler.store.rows import (
    MAX_BACKOFF_SECONDS,
    REBUILDING,
    RETRIED,
    STATE,
    CheckpointRow,
    Orders,
    RetryBudget,
)
from scheduler.store.tree import TreeWrites
from scheduler.store.writes import record_event, update_row

# Attempts that count against the infrastructure budget; Outcome.ERROR counts against the code's.
MACHINE_FAULTS = (Outcome.LOST, Outcome.HUNG, Outcome.OOM, Outcome.INFRASTRUCTURE)


class AttemptWrites(TreeWrites):
    def start(self, stage_run_id: int, attempt: int, *, numerics_class: str, start_images: int) -> None:
        """The worker has begun, from this many images."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            if row.state == RunState.LEASED:
                self._move(connection, now, stage_run_id, RunState.RUNNING, images=start_images)
            _update_attempt(
                connection, stage_run_id, attempt, numerics_class=numerics_class, started=now, start_images=start_images
            )

    def beat(
        self, stage_run_id: int, attempt: int, *, images: int, images_per_second: float, lease_seconds: float
    ) -> Orders:
        """Renew the lease and tell how far the training is."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            update_row(
                connection,
                t.stage_runs,
                stage_run_id,
                images=images,
                images_per_second=images_per_second,
                lease_until=now + lease_seconds,
            )
            if row.state == RunState.CANCELING:
                return Orders.CANCEL
            return Orders.PREEMPT if row.preempt else Orders.CONTINUE

    def add_curves(self, stage_run_id: int, attempt: int, points: Sequence[tuple[str, int, float]]) -> None:
        """Points (name, images, value); those of a replay after a resume replace themselves."""
        if not all(math.isfinite(value) for _, _, value in points):
            raise ValueError("curves hold finite numbers only")
        with self._transaction() as (connection, now):
            self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            rows = [
                {"stage_run_id": stage_run_id, "name": name, "images": images, "value": value}
                for name, images, value in points
            ]
            if rows:
                statement = upsert(connection, t.curves)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["stage_run_id", "name", "images"], set_={"value": statement.excluded.value}
                    ),
                    rows,
                )

    def add_checkpoint(
        self, stage_run_id: int, attempt: int, *, images: int, uri: str, sha256: str, num_bytes: int
    ) -> None:
        """A checkpoint whose file is on the disk: from now on it is where the stage run goes on."""
        with self._transaction() as (connection, now):
            self._fenced(connection, now, t.stage_runs, stage_run_id, attempt, RunState.RUNNING, RunState.CANCELING)
            _insert_checkpoint(connection, now, stage_run_id, attempt, images, uri, sha256, num_bytes, sealed=False)

    def seal(
        self,
        stage_run_id: int,
        attempt: int,
        *,
        images: int,
        uri: str,
        sha256: str,
        num_bytes: int,
        weights_sha256: str,
        seconds: float,
    ) -> None:
        """The stage's end: its last checkpoint, its hash and its state in one transaction."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt, RunState.RUNNING)
            was_sealed = row.weights_sha256 is not None
            if was_sealed and not self._rebuilt(connection, now, row, weights_sha256, seconds):
                return
            _insert_checkpoint(connection, now, stage_run_id, attempt, images, uri, sha256, num_bytes, sealed=True)
            _update_attempt(connection, stage_run_id, attempt, ended=now, outcome=Outcome.DONE)
            self._move(
                connection,
                now,
                stage_run_id,
                RunState.DONE,
                images=images,
                seconds=row.seconds + seconds,
                weights_sha256=weights_sha256,
                error=None,
            )
            if was_sealed:
                self._wake_waiting(connection, now)

    def _rebuilt(self, connection: sa.Connection, now: float, row: sa.Row, weights_sha256: str, seconds: float) -> bool:
        """Take note of a collected stage run that was trained again; False where it must not stand for the first one.

        Other bits in the same class of numerics would put what is trained from here on something that was never
        measured: the stage run fails, and the weights that were kept stay. Across classes other bits are expected.
        """
        classes = _numerics_classes(connection, row.id)
        same = row.weights_sha256 == weights_sha256
        hashes = {"sealed": row.weights_sha256, "rebuilt": weights_sha256}
        record_event(
            connection,
            now,
            "stage_run.rebuilt" if same else "stage_run.rebuilt_differently",
            stage_run_id=row.id,
            numerics_classes=sorted(classes),
            **hashes,
        )
        if not same and len(classes) == 1:
            error = (
                f"rebuilt with other weights ({weights_sha256[:12]}...) than it was sealed with "
                f"({row.weights_sha256[:12]}...) in the same class of numerics ({min(classes)}), where the same recipe "
                "must give the same bits; the averaged weights that were kept are still there"
            )
            self._end_attempt(connection, now, row, Outcome.ERROR, error)
            self._move(connection, now, row.id, RunState.FAILED, error=error, seconds=row.seconds + seconds)
            return False
        connection.execute(
            t.checkpoints.delete().where(t.checkpoints.c.stage_run_id == row.id, t.checkpoints.c.sealed == 1)
        )
        return True

    def report_preempted(self, stage_run_id: int, attempt: int) -> None:
        """The worker left after a checkpoint, as ordered: no retry is used up."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt, RunState.RUNNING)
            self._end_attempt(connection, now, row, Outcome.PREEMPTED, None)
            self._move(
                connection, now, stage_run_id, RunState.READY, ready_at=now, seconds=_spent(connection, row, now)
            )
            self._follow_demands(connection, now, stage_run_id)

    def report_diverged(self, stage_run_id: int, attempt: int, *, evidence: Mapping[str, Any]) -> None:
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt, RunState.RUNNING)
            error = "diverged: " + ", ".join(f"{name} = {value}" for name, value in evidence.items())
            self._end_attempt(connection, now, row, Outcome.DIVERGED, error)
            self._move(
                connection, now, stage_run_id, RunState.DIVERGED, error=error, seconds=_spent(connection, row, now)
            )

    def report_error(
        self, stage_run_id: int, attempt: int, *, error: str, infrastructure: bool, progressed: bool
    ) -> None:
        """The attempt failed: the stage run is tried again after a pause, or given up."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            outcome = Outcome.INFRASTRUCTURE if infrastructure else Outcome.ERROR
            self._after_fault(connection, now, row, outcome, error, infrastructure, progressed)

    def acknowledge_cancel(self, stage_run_id: int, attempt: int) -> None:
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt, RunState.CANCELING)
            self._end_attempt(connection, now, row, Outcome.CANCELED, None)
            self._give_up(connection, now, row, seconds=_spent(connection, row, now))
            self._follow_demands(connection, now, stage_run_id)

    def _end_attempt(
        self, connection: sa.Connection, now: float, row: sa.Row, outcome: Outcome, error: str | None
    ) -> None:
        _update_attempt(connection, row.id, row.attempt, ended=now, outcome=outcome, error=error)

    def _after_fault(
        self,
        connection: sa.Connection,
        now: float,
        row: sa.Row,
        outcome: Outcome,
        error: str,
        infrastructure: bool,
        progressed: bool,
    ) -> None:
        """Retry after a pause, or give up: by the budgets, or because the same error came twice without progress."""
        previous = connection.execute(
            sa.select(t.attempts)
            .where(
                t.attempts.c.stage_run_id == row.id,
                t.attempts.c.number < row.attempt,
                t.attempts.c.number > _forgiven(connection, row.id),
            )
            .order_by(t.attempts.c.number.desc())
        ).all()
        self._end_attempt(connection, now, row, outcome, error)
        spent = _spent(connection, row, now)
        if row.state == RunState.CANCELING:
            self._give_up(connection, now, row, seconds=spent)
            self._follow_demands(connection, now, row.id)
            return
        lost = sum(attempt.outcome in MACHINE_FAULTS for attempt in previous)
        errors = sum(attempt.outcome == Outcome.ERROR for attempt in previous)
        budget = self._budget(connection, row.id)
        poison = not infrastructure and not progressed and bool(previous) and previous[0].error == error
        used_up = lost >= budget.infrastructure if infrastructure else errors >= budget.code
        if poison or used_up:
            self._move(connection, now, row.id, RunState.FAILED, error=error, seconds=spent)
            return
        backoff = 0.0 if lost + errors == 0 else min(MAX_BACKOFF_SECONDS, 2.0 ** (lost + errors - 1))
        self._move(connection, now, row.id, RunState.READY, error=error, ready_at=now + backoff, seconds=spent)
        # Its sweep may have been paused while it ran: then it waits, like all the others.
        self._follow_demands(connection, now, row.id)

    def _budget(self, connection: sa.Connection, stage_run_id: int) -> RetryBudget:
        """The largest among those who want the stage run."""
        resolved = connection.scalars(
            sa.select(t.sweeps.c.resolved).where(
                t.sweeps.c.id.in_(sa.select(t.demands.c.sweep_id).where(t.demands.c.stage_run_id == stage_run_id))
            )
        ).all()
        budgets = [RetryBudget(**sweep.get("retry", {})) for sweep in resolved] or [RetryBudget()]
        return RetryBudget(
            infrastructure=max(budget.infrastructure for budget in budgets), code=max(budget.code for budget in budgets)
        )


def _update_attempt(connection: sa.Connection, stage_run_id: int, number: int, **values: Any) -> None:
    which = {"of_run": stage_run_id, "of_number": number}
    params = {f"new_{name}": value for name, value in values.items()}
    connection.execute(_attempt_update(tuple(values)), {**which, **params})


@cache
def _attempt_update(names: tuple[str, ...]) -> sa.Update:
    return (
        t.attempts.update()
        .where(t.attempts.c.stage_run_id == sa.bindparam("of_run"), t.attempts.c.number == sa.bindparam("of_number"))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )


def _spent(connection: sa.Connection, row: sa.Row, now: float) -> float:
    """Device seconds over all attempts, the one that ends now included."""
    started = connection.scalar(
        sa.select(t.attempts.c.started).where(t.attempts.c.stage_run_id == row.id, t.attempts.c.number == row.attempt)
    )
    return row.seconds + (now - started if started else 0.0)


def _numerics_classes(connection: sa.Connection, stage_run_id: int) -> set[str]:
    """The classes of numerics of all attempts at a stage run and at what it was trained on."""
    found: set[str] = set()
    current: int | None = stage_run_id
    while current is not None:
        attempts = sa.select(t.attempts.c.numerics_class).where(
            t.attempts.c.stage_run_id == current, t.attempts.c.numerics_class.is_not(None)
        )
        found |= set(connection.scalars(attempts))
        current = connection.scalar(sa.select(t.stage_runs.c.parent_id).where(t.stage_runs.c.id == current))
    return found


def checkpoints_of(
    connection: sa.Connection, stage_run_id: int, *, sealed_only: bool = False, whole_only: bool = False
) -> tuple[CheckpointRow, ...]:
    """A stage run's checkpoints, the one with most images first; whole_only: those that a training can go on from."""
    checkpoints = t.checkpoints.c
    statement = sa.select(t.checkpoints).where(checkpoints.stage_run_id == stage_run_id)
    if sealed_only:
        statement = statement.where(checkpoints.sealed == 1)
    if whole_only:
        statement = statement.where(checkpoints.content == STATE)
    rows = connection.execute(statement.order_by(checkpoints.images.desc(), checkpoints.attempt.desc())).all()
    return tuple(CheckpointRow(images=row.images, uri=row.uri, sha256=row.sha256, num_bytes=row.bytes) for row in rows)


def _insert_checkpoint(
    connection: sa.Connection,
    now: float,
    stage_run_id: int,
    attempt: int,
    images: int,
    uri: str,
    sha256: str,
    num_bytes: int,
    *,
    sealed: bool,
) -> None:
    row = {"stage_run_id": stage_run_id, "attempt": attempt, "images": images, "uri": uri, "sha256": sha256}
    connection.execute(t.checkpoints.insert(), {**row, "bytes": num_bytes, "sealed": int(sealed), "created": now})


def _forgiven(connection: sa.Connection, stage_run_id: int) -> int:
    """The number of the last attempt before a person's latest retry or the latest rebuilding; 0 without any."""
    payload = connection.scalar(
        sa.select(t.events.c.payload)
        .where(t.events.c.stage_run_id == stage_run_id, t.events.c.kind.in_((RETRIED, REBUILDING)))
        .order_by(t.events.c.id.desc())
        .limit(1)
    )
    return payload["after_attempt"] if payload else 0
