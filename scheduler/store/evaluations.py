"""Evaluations: asked for once, claimed and retried as stage runs are."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import upsert
from scheduler.states import ENDED, RunState
from scheduler.store.rows import MAX_BACKOFF_SECONDS, Orders, RetryBudget
from scheduler.store.writes import Writes, note_ended_runs, record_event, update_row


class EvaluationWrites(Writes):
    def request_evaluations(self, requests: Iterable[tuple[int, str, Mapping[str, Any]]], *, priority: int) -> None:
        """(sealed stage run, evaluation key, evaluation spec): measured once, whoever asks."""
        with self._transaction() as (connection, now):
            for stage_run_id, key, spec in requests:
                inserted = connection.scalar(
                    upsert(connection, t.evaluations)
                    .values(
                        stage_run_id=stage_run_id,
                        key=key,
                        spec=spec,
                        state=RunState.READY,
                        priority=priority,
                        attempt=0,
                        ready_at=0.0,
                        seconds=0.0,
                        created=now,
                    )
                    .on_conflict_do_nothing()
                    .returning(t.evaluations.c.id)
                )
                if inserted is not None:
                    record_event(connection, now, "evaluation.ready", stage_run_id=stage_run_id)

    def start_evaluation(self, evaluation_id: int, attempt: int) -> None:
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.evaluations, evaluation_id, attempt)
            if row.state == RunState.LEASED:
                move_evaluation(connection, now, row, RunState.RUNNING)

    def beat_evaluation(self, evaluation_id: int, attempt: int, *, lease_seconds: float) -> Orders:
        with self._transaction() as (connection, now):
            self._fenced(connection, now, t.evaluations, evaluation_id, attempt)
            update_row(connection, t.evaluations, evaluation_id, lease_until=now + lease_seconds)
            return Orders.CONTINUE

    def finish_evaluation(
        self,
        evaluation_id: int,
        attempt: int,
        *,
        metrics: Mapping[str, Any],
        score: float,
        samples: Mapping[str, Any],
        seconds: float,
    ) -> None:
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.evaluations, evaluation_id, attempt, RunState.RUNNING)
            move_evaluation(
                connection,
                now,
                row,
                RunState.DONE,
                metrics=dict(metrics),
                score=score,
                samples=dict(samples),
                seconds=seconds,
                error=None,
                ended=now,
                lease_until=None,
            )

    def evaluation_error(self, evaluation_id: int, attempt: int, *, error: str) -> None:
        """Try again after a pause, or give up: the same error twice running, or the infrastructure budget used up."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.evaluations, evaluation_id, attempt)
            if row.error == error or row.attempt > RetryBudget().infrastructure:
                self._fail_evaluation(connection, now, row, error)
            else:
                self._evaluation_again(connection, now, row, error)

    def _fail_evaluation(self, connection: sa.Connection, now: float, row: sa.Row, error: str) -> None:
        move_evaluation(connection, now, row, RunState.FAILED, error=error, ended=now, lease_until=None)

    def _evaluation_again(self, connection: sa.Connection, now: float, row: sa.Row, error: str) -> None:
        backoff = 0.0 if row.attempt == 1 else min(MAX_BACKOFF_SECONDS, 2.0 ** (row.attempt - 2))
        move_evaluation(connection, now, row, RunState.READY, error=error, ready_at=now + backoff, lease_until=None)


def move_evaluation(connection: sa.Connection, now: float, row: sa.Row, state: RunState, **values: Any) -> None:
    """Change an evaluation's state together with its event; the trigger refuses illegal moves."""
    update_row(connection, t.evaluations, row.id, state=state, **values)
    payload = {name: values.get(name) for name in ("score", "error")}
    record_event(connection, now, f"evaluation.{state}", stage_run_id=row.stage_run_id, **payload)
    if state in ENDED:
        note_ended_runs(connection, [row.stage_run_id])
