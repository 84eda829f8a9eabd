"""Claims: the most urgent work, leased to a worker in one transaction."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.many import insert_many, is_among
from scheduler.states import ACTIVE, RunState
from scheduler.store.attempts import checkpoints_of
from scheduler.store.evaluations import move_evaluation
from scheduler.store.queue import WITH_SWEEP, choose_evaluations, choose_stage_runs
from scheduler.store.rows import Assignment, Claimant, StaleAttempt
from scheduler.store.tree import TreeWrites
from scheduler.store.workers import mark_busy


class ClaimWrites(TreeWrites):
    def claim(
        self, worker_id: int, claim_id: str, *, lease_seconds: float, warm_parent: int | None = None
    ) -> Assignment | None:
        """The most urgent work for this worker, leased to it in one transaction; None where there is none.

        Evaluations come first, since rungs wait for them; then stage runs in the order of `queue.choose_stage_runs`.
        Claiming again with the same claim_id, after an answer that got lost, gives the same assignment.
        """
        claimant = Claimant(worker_id=worker_id, claim_id=claim_id, warm_parent=warm_parent)
        (given,) = self._claim([claimant], lease_seconds)
        return given

    def claim_all(self, claimants: Sequence[Claimant], *, lease_seconds: float) -> list[Assignment | None]:
        """As if each had claimed, in one transaction; an answer for each.

        Of workers with the same labels those with a parent in memory choose before the others. Where there is nothing
        for one, there is nothing for those with the same labels.
        """
        return self._claim(claimants, lease_seconds)

    def _claim(self, claimants: Sequence[Claimant], lease_seconds: float) -> list[Assignment | None]:
        with self._transaction() as (connection, now):
            # A repeated claim waits here for the first one, whose answer got lost.
            rows = connection.execute(_WORKERS, {"ids": sorted({one.worker_id for one in claimants})})
            workers = {row.id: row for row in rows}
            given = self._claimed_before(connection, [one.claim_id for one in claimants], lease_seconds)
            alike: dict[tuple[tuple[str, str], ...], list[Claimant]] = {}
            for one in claimants:
                if one.claim_id not in given:
                    labels = workers[one.worker_id].labels
                    alike.setdefault(tuple(sorted(labels.items())), []).append(one)
            for those in alike.values():
                for together in _choosing_together(those):
                    found = self._claim_alike(connection, now, together, workers, lease_seconds)
                    given |= found
                    if len(found) < len(together):
                        break
            return [given.get(one.claim_id) for one in claimants]

    def _claimed_before(
        self, connection: sa.Connection, claim_ids: Sequence[str], lease_seconds: float
    ) -> dict[str, Assignment]:
        given = {}
        for claim_id, stage_run_id, evaluation_id in connection.execute(_CLAIMED_BEFORE, {"ids": claim_ids}).all():
            if stage_run_id is not None:
                attempt = connection.execute(_ATTEMPT, {"claim_id": claim_id}).one()
                run = connection.execute(_RUN, {"run_id": stage_run_id, "sweep_id": attempt.sweep_id}).one()
                if run.attempt != attempt.number or run.state not in ACTIVE:
                    raise StaleAttempt(f"claim {claim_id} was given to attempt {attempt.number}, which has ended")
                claimant = Claimant(worker_id=attempt.worker_id, claim_id=claim_id)
                given |= self._trainings(connection, [(claimant, run, attempt.number)], lease_seconds)
            else:
                evaluation = connection.execute(_EVALUATION, {"evaluation_id": evaluation_id}).one()
                if evaluation.state not in ACTIVE:
                    raise StaleAttempt(f"claim {claim_id} was given to attempt {evaluation.attempt}, which has ended")
                given[claim_id] = self._measuring(connection, evaluation, lease_seconds)
        return given

    def _claim_alike(
        self,
        connection: sa.Connection,
        now: float,
        claimants: Sequence[Claimant],
        workers: Mapping[int, sa.Row],
        lease_seconds: float,
    ) -> dict[str, Assignment]:
        """Of workers with the same labels, where only a single one has a parent in memory."""
        warm_parent = claimants[0].warm_parent
        given = {}
        chosen = choose_evaluations(connection, now, len(claimants), warm_parent)
        for claimant, evaluation in zip(claimants, chosen, strict=False):
            given[claimant.claim_id] = self._claim_evaluation(connection, now, claimant, evaluation, lease_seconds)
        left = claimants[len(given) :]
        while left:
            labels, shares = workers[left[0].worker_id].labels, [workers[one.worker_id].share for one in left]
            runs = choose_stage_runs(connection, now, labels, shares, warm_parent)
            if not runs:
                break
            given |= self._lease(connection, now, left[: len(runs)], runs, lease_seconds)
            left = left[len(runs) :]
        return given

    def _lease(
        self,
        connection: sa.Connection,
        now: float,
        claimants: Sequence[Claimant],
        runs: Sequence[sa.Row],
        lease_seconds: float,
    ) -> dict[str, Assignment]:
        """Give each of these workers its stage run."""
        leased = [(claimant, run, run.attempt + 1) for claimant, run in zip(claimants, runs, strict=True)]
        attempts = [
            {
                "stage_run_id": run.id,
                "number": number,
                "claim_id": claimant.claim_id,
                "worker_id": claimant.worker_id,
                "sweep_id": run.sweep_id,
            }
            for claimant, run, number in leased
        ]
        insert_many(connection, t.attempts, attempts, same={"claimed": now})
        each = [{"attempt": number, "worker_id": claimant.worker_id} for claimant, _, number in leased]
        ids = [run.id for run in runs]
        self._move(connection, now, ids, RunState.LEASED, each=each, lease_until=now + lease_seconds)
        doing = {
            claimant.worker_id: {"kind": "train", "stage_run": run.id, "resolution": run.resolution}
            for claimant, run, _ in leased
        }
        mark_busy(connection, doing)
        return self._trainings(connection, leased, lease_seconds)

    def _trainings(
        self, connection: sa.Connection, leased: Sequence[tuple[Claimant, sa.Row, int]], lease_seconds: float
    ) -> dict[str, Assignment]:
        """What is told to whom has which stage run (`queue.WITH_SWEEP`) in which attempt."""
        parents = {run.parent_id for _, run, _ in leased if run.parent_id is not None}
        sealed = checkpoints_of(connection, parents, sealed_only=True, whole_only=True)
        own = checkpoints_of(connection, {run.id for _, run, number in leased if number > 1}, whole_only=True)
        return {
            claimant.claim_id: Assignment(
                kind="train",
                stage_run_id=run.id,
                evaluation_id=None,
                key=run.key,
                attempt=number,
                claim_id=claimant.claim_id,
                worker_id=claimant.worker_id,
                spec=run.spec,
                resolution=run.resolution,
                stage=run.stage,
                parent=sealed[run.parent_id][0] if run.parent_id is not None else None,
                checkpoints=own.get(run.id, ()),
                lease_seconds=lease_seconds,
                checkpoint_seconds=run.checkpoint_seconds,
                data_name=run.data_name,
                data_key=run.spec["data_key"],
            )
            for claimant, run, number in leased
        }

    def _claim_evaluation(
        self, connection: sa.Connection, now: float, claimant: Claimant, chosen: sa.Row, lease_seconds: float
    ) -> Assignment:
        move_evaluation(
            connection,
            now,
            chosen,
            RunState.LEASED,
            attempt=chosen.attempt + 1,
            claim_id=claimant.claim_id,
            worker_id=claimant.worker_id,
            lease_until=now + lease_seconds,
        )
        claimed = connection.execute(_EVALUATION, {"evaluation_id": chosen.id}).one()
        mark_busy(connection, {claimant.worker_id: {"kind": "evaluate", "stage_run": chosen.stage_run_id}})
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
            checkpoints=checkpoints_of(connection, [run.id], sealed_only=True)[run.id],
            lease_seconds=lease_seconds,
            checkpoint_seconds=0.0,  # an evaluation is done in one go
            data_name=data_name,
            data_key=run.spec["data_key"],
        )

    def add_credit(self, seconds: Mapping[int, float]) -> None:
        """Sweep id -> device seconds that it had too little for its share; below 0: too much (`fair_share.py`)."""
        with self._transaction() as (connection, _):
            for sweep_id in sorted(seconds):  # in this order, as all lock sweeps
                row = t.sweeps.update().where(t.sweeps.c.id == sweep_id)
                connection.execute(row.values(credit=t.sweeps.c.credit + seconds[sweep_id]))


def _choosing_together(claimants: Sequence[Claimant]) -> Iterator[Sequence[Claimant]]:
    """Workers with the same labels: each that has a parent in memory by itself, then all the others."""
    yield from ([one] for one in claimants if one.warm_parent is not None)
    if cold := [one for one in claimants if one.warm_parent is None]:
        yield cold


_WORKERS = locked(
    sa.select(t.workers.c.id, t.workers.c.labels, t.workers.c.share)
    .where(is_among(t.workers.c.id))
    .order_by(t.workers.c.id)
)
_nothing = sa.cast(sa.null(), sa.Integer)
_CLAIMED_BEFORE = sa.union_all(
    sa.select(t.attempts.c.claim_id, t.attempts.c.stage_run_id, _nothing.label("evaluation_id")).where(
        is_among(t.attempts.c.claim_id)
    ),
    sa.select(t.evaluations.c.claim_id, _nothing, t.evaluations.c.id).where(is_among(t.evaluations.c.claim_id)),
)
_ATTEMPT = sa.select(t.attempts).where(t.attempts.c.claim_id == sa.bindparam("claim_id"))
_EVALUATION = sa.select(t.evaluations).where(t.evaluations.c.id == sa.bindparam("evaluation_id"))
_MEASURED = sa.select(t.stage_runs).where(t.stage_runs.c.id == sa.bindparam("run_id"))
_RUN = WITH_SWEEP.where(t.stage_runs.c.id == sa.bindparam("run_id"), t.sweeps.c.id == sa.bindparam("sweep_id"))
