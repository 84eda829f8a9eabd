"""What a worker writes of its attempt at a stage run, fenced by the attempt's number, and what follows a fault."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import upsert
from scheduler.many import insert_many, is_among, update_many
from scheduler.states import Outcome, RunState
from scheduler.store.rows import (
    MAX_BACKOFF_SECONDS,
    REBUILDING,
    RETRIED,
    STATE,
    CheckpointRow,
    Orders,
    RetryBudget,
    Seal,
    StaleAttempt,
    Start,
)
from scheduler.store.tree import TreeWrites
from scheduler.store.writes import record_event, update_row

# Attempts that count against the infrastructure budget; Outcome.ERROR counts against the code's.
MACHINE_FAULTS = (Outcome.LOST, Outcome.HUNG, Outcome.OOM, Outcome.INFRASTRUCTURE)


class AttemptWrites(TreeWrites):
    def start(self, stage_run_id: int, attempt: int, *, numerics_class: str, start_images: int) -> None:
        """The worker has begun, from this many images."""
        one = Start(
            stage_run_id=stage_run_id, attempt=attempt, numerics_class=numerics_class, start_images=start_images
        )
        _raise_refusal(self._start([one]))

    def start_all(self, starts: Sequence[Start]) -> Mapping[int, StaleAttempt]:
        """Several stage runs' at once; nothing is written of those returned, whose attempt no longer counts."""
        return self._start(starts)

    def _start(self, starts: Sequence[Start]) -> dict[int, StaleAttempt]:
        told = {one.stage_run_id: one for one in starts}
        with self._transaction() as (connection, now):
            numbers = {run_id: one.attempt for run_id, one in told.items()}
            rows, refused = self._fenced_all(connection, now, t.stage_runs, numbers)
            begin = [row.id for row in rows if row.state == RunState.LEASED]
            if begin:
                images = [{"images": told[run_id].start_images} for run_id in begin]
                self._move(connection, now, begin, RunState.RUNNING, each=images)
            attempts = [
                {
                    "stage_run_id": row.id,
                    "number": row.attempt,
                    "numerics_class": told[row.id].numerics_class,
                    "start_images": told[row.id].start_images,
                }
                for row in rows
            ]
            update_many(connection, t.attempts, attempts, same={"started": now}, key=_ATTEMPT_KEY)
            return refused

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
            row = {"stage_run_id": stage_run_id, "attempt": attempt, "images": images, "uri": uri, "sha256": sha256}
            connection.execute(_NEW_CHECKPOINT, {**row, "bytes": num_bytes, "sealed": 0, "created": now})

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
        one = Seal(
            stage_run_id=stage_run_id,
            attempt=attempt,
            images=images,
            uri=uri,
            sha256=sha256,
            num_bytes=num_bytes,
            weights_sha256=weights_sha256,
            seconds=seconds,
        )
        _raise_refusal(self._seal([one]))

    def seal_all(self, seals: Sequence[Seal]) -> Mapping[int, StaleAttempt]:
        """Several stage runs' at once; nothing is written of those returned, whose attempt no longer counts."""
        return self._seal(seals)

    def _seal(self, seals: Sequence[Seal]) -> dict[int, StaleAttempt]:
        told = {one.stage_run_id: one for one in seals}
        with self._transaction() as (connection, now):
            numbers = {run_id: one.attempt for run_id, one in told.items()}
            rows, refused = self._fenced_all(connection, now, t.stage_runs, numbers, RunState.RUNNING)
            rebuilt = [row for row in rows if row.weights_sha256 is not None]
            for row in rebuilt:
                one = told[row.id]
                if not self._rebuilt(connection, now, row, one.weights_sha256, one.seconds):
                    rows.remove(row)
            if not rows:
                return refused
            sealed = [(row, told[row.id]) for row in rows]
            checkpoints = [
                {
                    "stage_run_id": row.id,
                    "attempt": row.attempt,
                    "images": one.images,
                    "uri": one.uri,
                    "sha256": one.sha256,
                    "bytes": one.num_bytes,
                }
                for row, one in sealed
            ]
            insert_many(connection, t.checkpoints, checkpoints, same={"sealed": 1, "created": now})
            attempts = [{"stage_run_id": row.id, "number": row.attempt} for row in rows]
            update_many(
                connection, t.attempts, attempts, same={"ended": now, "outcome": Outcome.DONE}, key=_ATTEMPT_KEY
            )
            each = [
                {"images": one.images, "seconds": row.seconds + one.seconds, "weights_sha256": one.weights_sha256}
                for row, one in sealed
            ]
            self._move(connection, now, [row.id for row in rows], RunState.DONE, each=each, error=None)
            if rebuilt:
                self._wake_waiting(connection, now)
            return refused

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
        attempt = {"stage_run_id": row.id, "number": row.attempt}
        update_many(
            connection, t.attempts, [attempt], same={"ended": now, "outcome": outcome, "error": error}, key=_ATTEMPT_KEY
        )

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
    connection: sa.Connection, stage_run_ids: Collection[int], *, sealed_only: bool = False, whole_only: bool = False
) -> dict[int, tuple[CheckpointRow, ...]]:
    """Stage runs' checkpoints, those with most images first; whole_only: those that a training can go on from."""
    found: dict[int, list[CheckpointRow]] = {run_id: [] for run_id in stage_run_ids}
    if not found:
        return {}
    for row in connection.execute(_CHECKPOINTS, {"ids": sorted(found)}):
        if (row.sealed or not sealed_only) and (row.content == STATE or not whole_only):
            checkpoint = CheckpointRow(images=row.images, uri=row.uri, sha256=row.sha256, num_bytes=row.bytes)
            found[row.stage_run_id].append(checkpoint)
    return {run_id: tuple(rows) for run_id, rows in found.items()}


_CHECKPOINTS = (
    sa.select(t.checkpoints)
    .where(is_among(t.checkpoints.c.stage_run_id))
    .order_by(t.checkpoints.c.images.desc(), t.checkpoints.c.attempt.desc())
)
_NEW_CHECKPOINT = t.checkpoints.insert().inline()
_ATTEMPT_KEY = ("stage_run_id", "number")


def _raise_refusal(refused: Mapping[int, StaleAttempt]) -> None:
    """Of a single one."""
    for error in refused.values():
        raise error


def _forgiven(connection: sa.Connection, stage_run_id: int) -> int:
    """The number of the last attempt before a person's latest retry or the latest rebuilding; 0 without any."""
    payload = connection.scalar(
        sa.select(t.events.c.payload)
        .where(t.events.c.stage_run_id == stage_run_id, t.events.c.kind.in_((RETRIED, REBUILDING)))
        .order_by(t.events.c.id.desc())
        .limit(1)
    )
    return payload["after_attempt"] if payload else 0
