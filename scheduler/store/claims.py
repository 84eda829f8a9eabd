"""Claims: the most urgent work, leased to a worker in one transaction."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.states import ACTIVE, RunState
from scheduler.store.attempts import checkpoints_of
from scheduler.store.evaluations import move_evaluation
from scheduler.store.rows import Assignment, StaleAttempt
from scheduler.store.tree import TreeWrites
from scheduler.store.workers import mark_busy


class ClaimWrites(TreeWrites):
    def claim(
        self, worker_id: int, claim_id: str, *, lease_seconds: float, warm_parent: int | None = None
    ) -> Assignment | None:
        """The most urgent work for this worker, leased to it in one transaction; None where there is none.

        Evaluations come first, since rungs wait for them; then the highest priority, the child of the stage run that
        the worker still holds in memory, the deepest stage (it is nearest to a result), the oldest. Claiming again with
        the same claim_id, after an answer that got lost, gives the same assignment.
        """
        with self._transaction() as (connection, now):
            again = self._claimed_before(connection, claim_id, lease_seconds)
            if again is not None:
                return again
            return self._claim_evaluation(
                connection, now, worker_id, claim_id, lease_seconds, warm_parent
            ) or self._claim_stage_run(connection, now, worker_id, claim_id, lease_seconds, warm_parent)

    def _claimed_before(self, connection: sa.Connection, claim_id: str, lease_seconds: float) -> Assignment | None:
        attempt = connection.execute(sa.select(t.attempts).where(t.attempts.c.claim_id == claim_id)).one_or_none()
        if attempt is not None:
            run = connection.execute(sa.select(t.stage_runs).where(t.stage_runs.c.id == attempt.stage_run_id)).one()
            if run.attempt != attempt.number or run.state not in ACTIVE:
                raise StaleAttempt(f"claim {claim_id} was given to attempt {attempt.number}, which has ended")
            return self._training(connection, run, attempt, lease_seconds)
        evaluation = connection.execute(
            sa.select(t.evaluations).where(t.evaluations.c.claim_id == claim_id)
        ).one_or_none()
        if evaluation is None:
            return None
        if evaluation.state not in ACTIVE:
            raise StaleAttempt(f"claim {claim_id} was given to attempt {evaluation.attempt}, which has ended")
        return self._measuring(connection, evaluation, lease_seconds)

    def _claim_stage_run(
        self,
        connection: sa.Connection,
        now: float,
        worker_id: int,
        claim_id: str,
        lease_seconds: float,
        warm_parent: int | None,
    ) -> Assignment | None:
        runs = t.stage_runs.c
        chosen = connection.execute(
            sa.select(t.stage_runs)
            .where(runs.state == RunState.READY, runs.ready_at <= now)
            .order_by(
                runs.priority.desc(),
                _others_last(runs.parent_id, warm_parent),
                runs.stage.desc(),
                runs.id,
            )
            .limit(1)
        ).one_or_none()
        if chosen is None:
            return None
        number = chosen.attempt + 1
        first_demand = connection.execute(
            sa.select(t.demands.c.sweep_id)
            .where(t.demands.c.stage_run_id == chosen.id)
            .order_by(t.demands.c.id)
            .limit(1)
        ).one()
        connection.execute(
            t.attempts.insert().values(
                stage_run_id=chosen.id,
                number=number,
                claim_id=claim_id,
                worker_id=worker_id,
                sweep_id=first_demand.sweep_id,
                claimed=now,
            )
        )
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
        run = connection.execute(sa.select(t.stage_runs).where(runs.id == chosen.id)).one()
        attempt = connection.execute(sa.select(t.attempts).where(t.attempts.c.claim_id == claim_id)).one()
        return self._training(connection, run, attempt, lease_seconds)

    def _training(self, connection: sa.Connection, run: sa.Row, attempt: sa.Row, lease_seconds: float) -> Assignment:
        parent = None
        if run.parent_id is not None:
            parent = checkpoints_of(connection, run.parent_id, sealed_only=True, whole_only=True)[0]
        sweep = connection.execute(
            sa.select(t.sweeps.c.data_name, t.sweeps.c.resolved).where(t.sweeps.c.id == attempt.sweep_id)
        ).one()
        return Assignment(
            kind="train",
            stage_run_id=run.id,
            evaluation_id=None,
            key=run.key,
            attempt=attempt.number,
            claim_id=attempt.claim_id,
            worker_id=attempt.worker_id,
            spec=run.spec,
            resolution=run.resolution,
            stage=run.stage,
            parent=parent,
            checkpoints=checkpoints_of(connection, run.id, whole_only=True),
            lease_seconds=lease_seconds,
            checkpoint_seconds=sweep.resolved["checkpoint_seconds"],
            data_name=sweep.data_name,
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
        chosen = connection.execute(
            sa.select(t.evaluations)
            .where(evaluations.state == RunState.READY, evaluations.ready_at <= now)
            .order_by(
                evaluations.priority.desc(),
                _others_last(evaluations.stage_run_id, warm_stage_run),
                evaluations.id,
            )
            .limit(1)
        ).one_or_none()
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
        run = connection.execute(sa.select(t.stage_runs).where(t.stage_runs.c.id == row.stage_run_id)).one()
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


def _others_last(column: sa.ColumnElement[int], preferred: int | None) -> sa.ColumnElement[int]:
    """Orders rows with this value before all others; no order where there is no preference."""
    return sa.literal(0) if preferred is None else sa.case((column == preferred, 0), else_=1)
