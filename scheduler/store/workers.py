"""Workers and leases: who is alive, and what becomes free when one is not."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.labels import NO_LABELS, Labels
from scheduler.many import update_many
from scheduler.states import ACTIVE, Outcome, WorkerState
from scheduler.store.attempts import AttemptWrites
from scheduler.store.evaluations import EvaluationWrites
from scheduler.store.rows import RetryBudget
from scheduler.store.writes import record_event


class WorkerWrites(AttemptWrites, EvaluationWrites):
    def register_worker(
        self, *, name: str, node: str, pid: int, device: str, share: float, labels: Labels = NO_LABELS
    ) -> int:
        """The id of a new worker, which is idle. labels: of its Ray node."""
        with self._transaction() as (connection, now):
            worker_id = connection.execute(
                t.workers.insert().values(
                    name=name,
                    node=node,
                    pid=pid,
                    device=device,
                    share=share,
                    state=WorkerState.IDLE,
                    telemetry={},
                    started=now,
                    heartbeat=now,
                    labels=dict(labels),
                )
            ).inserted_primary_key[0]
            record_event(connection, now, "worker.started", worker=name)
            return worker_id

    def worker_beat(self, worker_id: int, doing: Mapping[str, Any] | None, telemetry: Mapping[str, Any]) -> None:
        with self._transaction() as (connection, now):
            connection.execute(
                t.workers.update()
                .where(t.workers.c.id == worker_id, t.workers.c.ended.is_(None))
                .values(
                    state=WorkerState.BUSY if doing else WorkerState.IDLE,
                    doing=doing,
                    telemetry=dict(telemetry),
                    heartbeat=now,
                )
            )

    def end_worker(self, worker_id: int, state: WorkerState = WorkerState.ENDED) -> None:
        with self._transaction() as (connection, now):
            end_worker_row(connection, now, worker_id, state)

    def lose_worker(self, worker_id: int, *, error: str) -> None:
        """A worker's process is known to be gone: what it held is free at once, without waiting for the lease."""
        with self._transaction() as (connection, now):
            end_worker_row(connection, now, worker_id, WorkerState.LOST)
            for table, expire in ((t.stage_runs, self._expire_run), (t.evaluations, self._expire_evaluation)):
                held = connection.execute(
                    locked(
                        sa.select(table)
                        .where(table.c.worker_id == worker_id, table.c.state.in_(ACTIVE))
                        .order_by(table.c.id)
                    )
                ).all()
                for row in held:
                    expire(connection, now, row, error)

    def expire_leases(self) -> int:
        """Free whatever a lease ran out on, by the database's clock; the number of leases."""
        with self._transaction() as (connection, now):
            expired = 0
            for table, expire in ((t.stage_runs, self._expire_run), (t.evaluations, self._expire_evaluation)):
                # What is locked is being written just now; the next turn looks at it again.
                rows = connection.execute(
                    locked(
                        sa.select(table).where(table.c.state.in_(ACTIVE), table.c.lease_until < now), skip_locked=True
                    )
                ).all()
                for row in rows:
                    expire(connection, now, row, "its lease ran out: the worker died, hung or was cut off")
                expired += len(rows)
            return expired

    def _expire_run(self, connection: sa.Connection, now: float, row: sa.Row, error: str) -> None:
        self._after_fault(connection, now, row, Outcome.LOST, error, infrastructure=True, progressed=False)

    def _expire_evaluation(self, connection: sa.Connection, now: float, row: sa.Row, error: str) -> None:
        if row.attempt > RetryBudget().infrastructure:
            self._fail_evaluation(connection, now, row, error)
        else:
            self._evaluation_again(connection, now, row, error)


def mark_busy(connection: sa.Connection, doing: Mapping[int, Mapping[str, Any]]) -> None:
    """doing: worker id -> what it does now."""
    rows = [{"id": worker_id, "doing": does} for worker_id, does in doing.items()]
    update_many(connection, t.workers, rows, same={"state": WorkerState.BUSY})


def end_worker_row(connection: sa.Connection, now: float, worker_id: int, state: WorkerState) -> None:
    ended = connection.execute(
        t.workers.update()
        .where(t.workers.c.id == worker_id, t.workers.c.ended.is_(None))
        .values(state=state, ended=now, doing=None)
    )
    if ended.rowcount:
        record_event(connection, now, f"worker.{state}", worker_id=worker_id)
