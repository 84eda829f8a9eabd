"""Claims: the most urgent work, leased to a worker in one transaction."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.labels import Labels
from scheduler.states import ACTIVE, RunState
from scheduler.store.attempts import checkpoints_of
from scheduler.store.evaluations import move_evaluation
from scheduler.store.queue import WITH_SWEEP, choose_evaluation, choose_stage_run
from scheduler.store.rows import Assignment, StaleAttempt
from scheduler.store.tree import TreeWrites
from scheduler.store.workers import mark_busy


class ClaimWrites(TreeWrites):
    def claim(
        self, worker_id: int, claim_id: str, *, lease_seconds: float, warm_parent: int | None = None
    ) -> Assignment | None:
        """The most urgent work for this worker, leased to it in one transaction; None where there is none.

        Evaluations come first, since rungs wait for them; then stage runs in the order of `queue.choose_stage_run`.
        Claiming again with the same claim_id, after an answer that got lost, gives the same assignment.
        """
        with self._transaction() as (connection, now):
            # A repeated claim waits here for the first one, whose answer got lost.
            labels = connection.scalars(_LABELS, {"worker_id": worker_id}).one()
            again = self._claimed_before(connection, claim_id, lease_seconds)
            if again is not None:
                return again
            return self._claim_evaluation(
                connection, now, worker_id, claim_id, lease_seconds, warm_parent
            ) or self._claim_stage_run(connection, now, worker_id, labels, claim_id, lease_seconds, warm_parent)

    def _claimed_before(self, connection: sa.Connection, claim_id: str, lease_seconds: float) -> Assignment | None:
        of_stage_run, of_evaluation = connection.execute(_CLAIMED_BEFORE, {"claim_id": claim_id}).one()
        if of_stage_run is not None:
            attempt = connection.execute(_ATTEMPT, {"claim_id": claim_id}).one()
            run = connection.execute(_RUN, {"run_id": of_stage_run, "sweep_id": attempt.sweep_id}).one()
            if run.attempt != attempt.number or run.state not in ACTIVE:
                raise StaleAttempt(f"claim {claim_id} was given to attempt {attempt.number}, which has ended")
            return self._training(connection, run, attempt.number, claim_id, attempt.worker_id, lease_seconds)
        if of_evaluation is None:
            return None
        evaluation = connection.execute(_EVALUATION, {"claim_id": claim_id}).one()
        if evaluation.state not in ACTIVE:
            raise StaleAttempt(f"claim {claim_id} was given to attempt {evaluation.attempt}, which has ended")
        return self._measuring(connection, evaluation, lease_seconds)

    def _claim_stage_run(
        self,
        connection: sa.Connection,
        now: float,
        worker_id: int,
        labels: Labels,
        claim_id: str,
        lease_seconds: float,
        warm_parent: int | None,
    ) -> Assignment | None:
        chosen = choose_stage_run(connection, now, labels, warm_parent)
        if chosen is None:
            return None
        number = chosen.attempt + 1
        attempt = {"number": number, "claim_id": claim_id, "worker_id": worker_id, "sweep_id": chosen.sweep_id}
        connection.execute(_NEW_ATTEMPT, {**attempt, "stage_run_id": chosen.id, "claimed": now})
        self._move(
            connection,
            now,
            chosen.id,
            RunState.LEASED,
            attempt=number,
            worker_id=worker_id,
            lease_until=now + lease_seconds,
        )
        mark_busy(connection, worker_id, {"kind": "train", "stage_run": chosen.id, "resolution": chosen.resolution})
        return self._training(connection, chosen, number, claim_id, worker_id, lease_seconds)

    def _training(
        self,
        connection: sa.Connection,
        run: sa.Row,
        number: int,
        claim_id: str,
        worker_id: int,
        lease_seconds: float,
    ) -> Assignment:
        """What attempt `number` is told; run: `queue.WITH_SWEEP`."""
        parent = None
        if run.parent_id is not None:
            parent = checkpoints_of(connection, run.parent_id, sealed_only=True, whole_only=True)[0]
        return Assignment(
            kind="train",
            stage_run_id=run.id,
            evaluation_id=None,
            key=run.key,
            attempt=number,
            claim_id=claim_id,
            worker_id=worker_id,
            spec=run.spec,
            resolution=run.resolution,
            stage=run.stage,
            parent=parent,
            checkpoints=checkpoints_of(connection, run.id, whole_only=True) if number > 1 else (),
            lease_seconds=lease_seconds,
            checkpoint_seconds=run.checkpoint_seconds,
            data_name=run.data_name,
            data_key=run.spec["data_key"],
        )

    def _claim_evaluation(
        self,
        connection: sa.Connection,
        now: float,
        worker_id: int,
        claim_id: str,
        lease_seconds: float,
        warm_stage_run: int | None,
    ) -> Assignment | None:
        evaluations = t.evaluations.c
        chosen = choose_evaluation(connection, now, warm_stage_run)
        if chosen is None:
            return None
        move_evaluation(
            connection,
            now,
            chosen,
            RunState.LEASED,
            attempt=chosen.attempt + 1,
            claim_id=claim_id,
            worker_id=worker_id,
            lease_until=now + lease_seconds,
        )
        claimed = connection.execute(sa.select(t.evaluations).where(evaluations.id == chosen.id)).one()
        mark_busy(connection, worker_id, {"kind": "evaluate", "stage_run": chosen.stage_run_id})
        return self._measuring(connection, claimed, lease_seconds)

    def _measuring(self, connection: sa.Connection, row: sa.Row, lease_seconds: float) -> Assignment:
        run = connection.execute(_MEASURED, {"run_id": row.stage_run_id}).one()
        data_name = connection.scalar(
            sa.select(t.sweeps.c.data_name)
            .join(t.demands, t.demands.c.sweep_id == t.sweeps.c.id)
            .where(t.demands.c.stage_run_id == run.id)
            .order_by(t.demands.c.id)
            .limit(1)
        )
        return Assignment(
            kind="evaluate",
            stage_run_id=run.id,
            evaluation_id=row.id,
            key=run.key,
            attempt=row.attempt,
            claim_id=row.claim_id,
            worker_id=row.worker_id,
            spec={"evaluation": row.spec, "stage": run.spec},
            resolution=run.resolution,
            stage=run.stage,
            parent=None,
            checkpoints=checkpoints_of(connection, run.id, sealed_only=True),
            lease_seconds=lease_seconds,
            checkpoint_seconds=0.0,  # an evaluation is done in one go
            data_name=data_name,
            data_key=run.spec["data_key"],
        )


_LABELS = locked(sa.select(t.workers.c.labels).where(t.workers.c.id == sa.bindparam("worker_id")))
_ATTEMPT = sa.select(t.attempts).where(t.attempts.c.claim_id == sa.bindparam("claim_id"))
_EVALUATION = sa.select(t.evaluations).where(t.evaluations.c.claim_id == sa.bindparam("claim_id"))
_CLAIMED_BEFORE = sa.select(
    _ATTEMPT.with_only_columns(t.attempts.c.stage_run_id).scalar_subquery(),
    _EVALUATION.with_only_columns(t.evaluations.c.id).scalar_subquery(),
)
_NEW_ATTEMPT = t.attempts.insert()
_MEASURED = sa.select(t.stage_runs).where(t.stage_runs.c.id == sa.bindparam("run_id"))
_RUN = WITH_SWEEP.where(t.stage_runs.c.id == sa.bindparam("run_id"), t.sweeps.c.id == sa.bindparam("sweep_id"))
