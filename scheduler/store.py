"""Every write to the database, each in one short transaction; `reads.py` has what the pages and the loop look at.

The rules that hold under any crash:

- A stage run's `attempt` is its fencing token. A claim raises it; whatever a worker writes carries the number it was
  given, and is refused with `StaleAttempt` once another attempt has begun or the lease was taken away.
- Leases end by the database's clock.
- A state changes only together with its row in `events`; which changes are legal, triggers know (`states.MOVES`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as upsert

from scheduler import tables as t
from scheduler.database import Database, database_now
from scheduler.states import (
    ACTIVE,
    ENDED,
    OPEN_SWEEPS,
    OPEN_TRIALS,
    Outcome,
    RunState,
    SweepState,
    TrialState,
    WorkerState,
)

# Back-off after an infrastructure fault: at once the first time, then 1, 2, 4 ... seconds.
MAX_BACKOFF_SECONDS = 60.0
# Attempts that count against the infrastructure budget; Outcome.ERROR counts against the code's.
MACHINE_FAULTS = (Outcome.LOST, Outcome.HUNG, Outcome.OOM, Outcome.INFRASTRUCTURE)
# The event of a person's retry: the attempts before it no longer count against any budget.
RETRIED = "stage_run.retried"


class StaleAttempt(RuntimeError):  # noqa: N818 - a name for what happened, not for an error of the caller
    """The attempt that wants to write is no longer the one that counts."""


class Orders(StrEnum):
    """What a beat brings back."""

    CONTINUE = "continue"
    PREEMPT = "preempt"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    parameters: Mapping[str, Any]
    origin: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A trial wants the last of these stages; the ones before it are its parents, sealed already."""

    trial_id: int
    keys: tuple[str, ...]  # from 4 px up to the stage wanted
    spec: Mapping[str, Any]  # of that stage, as StageSpec.to_json()


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    images: int
    uri: str
    sha256: str
    num_bytes: int


def init_uri(sha256: str) -> str:
    """Where a home's files keep the model bundle with these weights, for trainings that start from it."""
    return f"init/{sha256}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All that a worker needs to know of what it claimed; plain values, so that it travels."""

    kind: str  # train or evaluate
    stage_run_id: int
    evaluation_id: int | None
    key: str
    attempt: int
    claim_id: str
    worker_id: int
    spec: Mapping[str, Any]  # the stage's; {"evaluation": ..., "stage": ...} to evaluate
    resolution: int
    stage: int
    parent: CheckpointRow | None  # the parent's sealed state
    checkpoints: tuple[CheckpointRow, ...]  # own ones, newest first; to evaluate: the sealed one
    lease_seconds: float
    checkpoint_seconds: float  # between two checkpoints inside the stage
    data_name: str
    data_key: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Assignment":
        parent = CheckpointRow(**stored["parent"]) if stored["parent"] else None
        checkpoints = tuple(CheckpointRow(**row) for row in stored["checkpoints"])
        return cls(**{**stored, "parent": parent, "checkpoints": checkpoints})


@dataclass(frozen=True, kw_only=True)
class RetryBudget:
    """Faults after which a stage run is given up."""

    infrastructure: int = 10
    code: int = 1


class Store:
    """The writing side of one database."""

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        """clock: replaces the database's, for tests that move time."""
        self.database = database
        self._clock = clock

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sa.Connection, float]]:
        """A writing transaction and its time."""
        with self.database.write.begin() as connection:
            yield connection, self._clock() if self._clock else database_now(connection)

    # Sweeps and trials

    def create_sweep(
        self,
        *,
        name: str,
        submitted: str,
        resolved: Mapping[str, Any],
        data_key: str,
        data_name: str,
        provenance: Mapping[str, Any],
        created_by: str,
        trials: Sequence[NewTrial],
    ) -> int:
        """The new sweep with all its trials, in one transaction: a submission is there whole or not at all."""
        with self._transaction() as (connection, now):
            sweep_id = connection.execute(
                t.sweeps.insert().values(
                    name=name,
                    submitted=submitted,
                    resolved=resolved,
                    state=SweepState.RUNNING,
                    data_key=data_key,
                    data_name=data_name,
                    provenance=provenance,
                    created_by=created_by,
                    created=now,
                )
            ).inserted_primary_key[0]
            self._insert_trials(connection, now, sweep_id, trials)
            _event(connection, now, "sweep.submitted", sweep_id=sweep_id, trials=len(trials))
            return sweep_id

    def add_trials(self, sweep_id: int, trials: Sequence[NewTrial]) -> None:
        with self._transaction() as (connection, now):
            self._insert_trials(connection, now, sweep_id, trials)
            _event(connection, now, "sweep.extended", sweep_id=sweep_id, trials=len(trials))

    def _insert_trials(self, connection: sa.Connection, now: float, sweep_id: int, trials: Sequence[NewTrial]) -> None:
        last = connection.scalar(sa.select(sa.func.max(t.trials.c.number)).where(t.trials.c.sweep_id == sweep_id))
        first = 0 if last is None else last + 1
        rows = [
            {
                "sweep_id": sweep_id,
                "number": number,
                "parameters": dict(trial.parameters),
                "state": TrialState.WAITING,
                "origin": trial.origin,
                "attributes": dict(trial.attributes),
                "created": now,
            }
            for number, trial in enumerate(trials, start=first)
        ]
        if rows:
            connection.execute(t.trials.insert(), rows)

    def set_sweep_state(self, sweep_id: int, state: SweepState, *, error: str | None = None) -> bool:
        """Whether the sweep was moved: one that has ended meanwhile keeps its state."""
        with self._transaction() as (connection, now):
            return self._move_sweep(connection, now, sweep_id, state, error=error)

    def _move_sweep(
        self,
        connection: sa.Connection,
        now: float,
        sweep_id: int,
        state: SweepState,
        *,
        error: str | None = None,
        only_from: Sequence[SweepState] = OPEN_SWEEPS,
    ) -> bool:
        moved = connection.execute(
            t.sweeps.update()
            .where(t.sweeps.c.id == sweep_id, t.sweeps.c.state.in_(only_from))
            .values(state=state, ended=None if state in OPEN_SWEEPS else now, error=error)
        )
        if moved.rowcount:
            _event(connection, now, f"sweep.{state}", sweep_id=sweep_id, error=error)
        return bool(moved.rowcount)

    def set_sweep_paused(self, sweep_id: int, *, paused: bool, error: str | None = None) -> bool:
        """Pause or resume a sweep together with all it wants, what runs goes on; whether it was still open.

        error: why it must pause, where no person wished it.
        """
        state = SweepState.PAUSED if paused else SweepState.RUNNING
        with self._transaction() as (connection, now):
            if not self._move_sweep(connection, now, sweep_id, state, error=error):
                return False
            touched = connection.scalars(
                t.demands.update()
                .where(t.demands.c.sweep_id == sweep_id)
                .values(paused=int(paused))
                .returning(t.demands.c.stage_run_id)
            ).all()
            for stage_run_id in set(touched):
                self._follow_demands(connection, now, stage_run_id)
            return True

    def cancel_sweep(self, sweep_id: int, *, reason: str) -> bool:
        """End a sweep and all its open trials in one transaction; whether it was still open."""
        with self._transaction() as (connection, now):
            if not self._move_sweep(connection, now, sweep_id, SweepState.CANCELED):
                return False
            still_open = connection.scalars(
                sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS))
            ).all()
            for trial_id in still_open:
                self._move_trial(connection, now, trial_id, TrialState.CANCELED, reason)
            return True

    def set_trial_states(self, states: Mapping[int, TrialState], *, reason: str | None = None) -> frozenset[int]:
        """Move open trials and return which were; those that end give up their demands for what is still to train.

        A trial that has ended meanwhile keeps its state: whoever decides looked at older rows.
        """
        with self._transaction() as (connection, now):
            return frozenset(
                trial_id
                for trial_id, state in states.items()
                if self._move_trial(connection, now, trial_id, state, reason)
            )

    def _move_trial(
        self, connection: sa.Connection, now: float, trial_id: int, state: TrialState, reason: str | None
    ) -> bool:
        is_open = state in OPEN_TRIALS
        sweep_id = connection.execute(
            t.trials.update()
            .where(t.trials.c.id == trial_id, t.trials.c.state.in_(OPEN_TRIALS))
            .values(state=state, ended=None if is_open else now)
            .returning(t.trials.c.sweep_id)
        ).scalar_one_or_none()
        if sweep_id is None:
            return False
        if not is_open:
            self._drop_demands(connection, now, trial_id)
        _event(connection, now, f"trial.{state}", sweep_id=sweep_id, trial_id=trial_id, reason=reason)
        return True

    def _drop_demands(self, connection: sa.Connection, now: float, trial_id: int) -> None:
        """Forget what an ended trial wanted; demands for what was sealed or broke stay, as its history."""
        untrained = sa.select(t.stage_runs.c.id).where(
            t.stage_runs.c.id == t.demands.c.stage_run_id,
            t.stage_runs.c.state.not_in((RunState.DONE, RunState.FAILED, RunState.DIVERGED)),
        )
        wanted = connection.scalars(
            t.demands.delete()
            .where(t.demands.c.trial_id == trial_id, untrained.exists())
            .returning(t.demands.c.stage_run_id)
        ).all()
        for stage_run_id in wanted:
            self._follow_demands(connection, now, stage_run_id)

    def retry_trial(self, trial_id: int, *, evaluation_key: str) -> bool:
        """A person's wish to try a failed or diverged trial again, where it broke; whether it was one.

        Its sweep is open again, and the faults so far no longer count against the retry budgets.
        """
        broken = (TrialState.FAILED, TrialState.DIVERGED)
        with self._transaction() as (connection, now):
            sweep_id = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state.in_(broken))
                .values(state=TrialState.RUNNING, ended=None)
                .returning(t.trials.c.sweep_id)
            ).scalar_one_or_none()
            if sweep_id is None:
                return False
            ended = [state for state in SweepState if state not in OPEN_SWEEPS]
            self._move_sweep(connection, now, sweep_id, SweepState.RUNNING, only_from=ended)
            last = connection.execute(
                sa.select(t.stage_runs)
                .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
                .where(t.demands.c.trial_id == trial_id)
                .order_by(t.stage_runs.c.stage.desc())
                .limit(1)
            ).one_or_none()
            if last is not None:
                self._retry_stage_run(connection, now, last, evaluation_key)
            _event(connection, now, "trial.retried", sweep_id=sweep_id, trial_id=trial_id)
            return True

    def _retry_stage_run(self, connection: sa.Connection, now: float, run: sa.Row, evaluation_key: str) -> None:
        if run.state in (RunState.FAILED, RunState.DIVERGED):
            _event(connection, now, RETRIED, stage_run_id=run.id, after_attempt=run.attempt)
            self._move(connection, now, run.id, RunState.READY, error=None, ready_at=0.0)
            self._follow_demands(connection, now, run.id)
        failed = connection.execute(
            sa.select(t.evaluations).where(
                t.evaluations.c.stage_run_id == run.id,
                t.evaluations.c.key == evaluation_key,
                t.evaluations.c.state == RunState.FAILED,
            )
        ).one_or_none()
        if failed is not None:
            _move_evaluation(connection, now, failed, RunState.READY, error=None, ended=None, ready_at=0.0)

    # The stage tree

    def demand(self, sweep_id: int, demands: Iterable[Demand], *, priority: int) -> None:
        """Make sure that these stage runs exist and are wanted; those already sealed are only linked.

        Whoever decides looked at older rows: a trial or sweep that has ended since wants nothing, and what a paused
        sweep wants waits.
        """
        with self._transaction() as (connection, now):
            sweep_state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.id == sweep_id))
            if sweep_state not in OPEN_SWEEPS:
                return
            open_trials = connection.execute(
                sa.select(t.trials.c.id, t.trials.c.state).where(
                    t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS)
                )
            )
            states = {row.id: row.state for row in open_trials}
            for wanted in demands:
                if wanted.trial_id not in states:
                    continue
                stage_run_id = self._stage_run(connection, now, wanted, priority)
                connection.execute(
                    upsert(t.demands)
                    .values(
                        sweep_id=sweep_id,
                        trial_id=wanted.trial_id,
                        stage_run_id=stage_run_id,
                        priority=priority,
                        paused=int(sweep_state == SweepState.PAUSED),
                        created=now,
                    )
                    .on_conflict_do_nothing()
                )
                if states[wanted.trial_id] == TrialState.WAITING:
                    self._move_trial(connection, now, wanted.trial_id, TrialState.RUNNING, None)
                self._follow_demands(connection, now, stage_run_id)

    def _stage_run(self, connection: sa.Connection, now: float, wanted: Demand, priority: int) -> int:
        found = connection.scalar(sa.select(t.stage_runs.c.id).where(t.stage_runs.c.key == wanted.keys[-1]))
        if found is not None:
            return found
        parent_id = None
        if len(wanted.keys) > 1:
            parent = connection.execute(
                sa.select(t.stage_runs.c.id, t.stage_runs.c.state).where(t.stage_runs.c.key == wanted.keys[-2])
            ).one()
            assert parent.state == RunState.DONE, "a stage run becomes a row once its parent is sealed"
            parent_id = parent.id
        stage_run_id = connection.execute(
            t.stage_runs.insert().values(
                key=wanted.keys[-1],
                parent_id=parent_id,
                stage=len(wanted.keys) - 1,
                resolution=wanted.spec["resolution"],
                spec=wanted.spec,
                state=RunState.WAITING,
                priority=priority,
                attempt=0,
                ready_at=0.0,
                images=0,
                seconds=0.0,
                created=now,
            )
        ).inserted_primary_key[0]
        _event(connection, now, "stage_run.waiting", stage_run_id=stage_run_id)
        return stage_run_id

    def _follow_demands(self, connection: sa.Connection, now: float, stage_run_id: int) -> None:
        """Bring a stage run's state and priority in line with the open trials that want it."""
        state = connection.scalar(sa.select(t.stage_runs.c.state).where(t.stage_runs.c.id == stage_run_id))
        demands = connection.execute(
            sa.select(
                sa.func.count().label("all"),
                sa.func.coalesce(sa.func.sum(1 - t.demands.c.paused), 0).label("unpaused"),
                sa.func.max(sa.case((t.demands.c.paused == 0, t.demands.c.priority))).label("priority"),
            )
            .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
            .where(t.demands.c.stage_run_id == stage_run_id, t.trials.c.state.in_(OPEN_TRIALS))
        ).one()
        target = None
        if demands.unpaused and state in (RunState.WAITING, RunState.CANCELED):
            target = RunState.READY
        elif not demands.all and state in (RunState.READY, RunState.WAITING):
            target = RunState.CANCELED
        elif not demands.unpaused and state == RunState.READY:
            target = RunState.WAITING
        elif not demands.all and state in (RunState.LEASED, RunState.RUNNING):
            target = RunState.CANCELING
        if demands.priority is not None:
            connection.execute(
                t.stage_runs.update().where(t.stage_runs.c.id == stage_run_id).values(priority=demands.priority)
            )
        if target is not None:
            self._move(connection, now, stage_run_id, target)

    def _move(self, connection: sa.Connection, now: float, stage_run_id: int, state: RunState, **values: Any) -> None:
        """Change a stage run's state together with its event; the trigger refuses illegal moves."""
        if state not in ACTIVE:
            values = {"worker_id": None, "lease_until": None, "images_per_second": None, **values}
        values = {"ended": now if state in ENDED else None, **values}
        connection.execute(t.stage_runs.update().where(t.stage_runs.c.id == stage_run_id).values(state=state, **values))
        _event(connection, now, f"stage_run.{state}", stage_run_id=stage_run_id, error=values.get("error"))

    # Workers

    def register_worker(self, *, name: str, node: str, pid: int, device: str, share: float) -> int:
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
                )
            ).inserted_primary_key[0]
            _event(connection, now, "worker.started", worker=name)
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
            _end_worker(connection, now, worker_id, state)

    def lose_worker(self, worker_id: int, *, error: str) -> None:
        """A worker's process is known to be gone: what it held is free at once, without waiting for the lease."""
        with self._transaction() as (connection, now):
            _end_worker(connection, now, worker_id, WorkerState.LOST)
            for table, expire in ((t.stage_runs, self._expire_run), (t.evaluations, self._expire_evaluation)):
                held = connection.execute(
                    sa.select(table).where(table.c.worker_id == worker_id, table.c.state.in_(ACTIVE))
                ).all()
                for row in held:
                    expire(connection, now, row, error)

    # Claims

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
        _mark_busy(connection, worker_id, {"kind": "train", "stage_run": chosen.id, "resolution": chosen.resolution})
        run = connection.execute(sa.select(t.stage_runs).where(runs.id == chosen.id)).one()
        attempt = connection.execute(sa.select(t.attempts).where(t.attempts.c.claim_id == claim_id)).one()
        return self._training(connection, run, attempt, lease_seconds)

    def _training(self, connection: sa.Connection, run: sa.Row, attempt: sa.Row, lease_seconds: float) -> Assignment:
        parent = None
        if run.parent_id is not None:
            parent = _checkpoints(connection, run.parent_id, sealed_only=True)[0]
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
            checkpoints=_checkpoints(connection, run.id),
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
        _move_evaluation(
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
        _mark_busy(connection, worker_id, {"kind": "evaluate", "stage_run": chosen.stage_run_id})
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
            checkpoints=_checkpoints(connection, run.id, sealed_only=True),
            lease_seconds=lease_seconds,
            checkpoint_seconds=0.0,  # an evaluation is done in one go
            data_name=data_name,
            data_key=run.spec["data_key"],
        )

    # What a worker writes, fenced by its attempt's number

    def _fenced(
        self, connection: sa.Connection, now: float, table: sa.Table, row_id: int, attempt: int, *states: RunState
    ) -> sa.Row:
        """The row, if this attempt may still write to it."""
        row = connection.execute(sa.select(table).where(table.c.id == row_id)).one_or_none()
        if row is None or row.attempt != attempt or row.state not in (states or ACTIVE) or row.lease_until < now:
            found = "is gone" if row is None else f"is {row.state} in attempt {row.attempt}"
            raise StaleAttempt(f"attempt {attempt} may not write: {table.name} {row_id} {found}")
        return row

    def start(self, stage_run_id: int, attempt: int, *, numerics_class: str, start_images: int) -> None:
        """The worker has begun, from this many images."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            if row.state == RunState.LEASED:
                self._move(connection, now, stage_run_id, RunState.RUNNING, images=start_images)
            connection.execute(
                _attempt_row(stage_run_id, attempt).values(
                    numerics_class=numerics_class, started=now, start_images=start_images
                )
            )

    def beat(
        self, stage_run_id: int, attempt: int, *, images: int, images_per_second: float, lease_seconds: float
    ) -> Orders:
        """Renew the lease and tell how far the training is."""
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.stage_runs, stage_run_id, attempt)
            connection.execute(
                t.stage_runs.update()
                .where(t.stage_runs.c.id == stage_run_id)
                .values(images=images, images_per_second=images_per_second, lease_until=now + lease_seconds)
            )
            return Orders.CANCEL if row.state == RunState.CANCELING else Orders.CONTINUE

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
                statement = upsert(t.curves)
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
            _insert_checkpoint(connection, now, stage_run_id, attempt, images, uri, sha256, num_bytes, sealed=True)
            connection.execute(_attempt_row(stage_run_id, attempt).values(ended=now, outcome=Outcome.DONE))
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
            self._move(connection, now, stage_run_id, RunState.CANCELED, seconds=_spent(connection, row, now))
            self._follow_demands(connection, now, stage_run_id)

    def _end_attempt(
        self, connection: sa.Connection, now: float, row: sa.Row, outcome: Outcome, error: str | None
    ) -> None:
        connection.execute(_attempt_row(row.id, row.attempt).values(ended=now, outcome=outcome, error=error))

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
            self._move(connection, now, row.id, RunState.CANCELED, seconds=spent)
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
            sa.select(t.sweeps.c.resolved)
            .join(t.demands, t.demands.c.sweep_id == t.sweeps.c.id)
            .where(t.demands.c.stage_run_id == stage_run_id)
            .distinct()
        ).all()
        budgets = [RetryBudget(**sweep.get("retry", {})) for sweep in resolved] or [RetryBudget()]
        return RetryBudget(
            infrastructure=max(budget.infrastructure for budget in budgets), code=max(budget.code for budget in budgets)
        )

    # Evaluations

    def request_evaluations(self, requests: Iterable[tuple[int, str, Mapping[str, Any]]], *, priority: int) -> None:
        """(sealed stage run, evaluation key, evaluation spec): measured once, whoever asks."""
        with self._transaction() as (connection, now):
            for stage_run_id, key, spec in requests:
                inserted = connection.execute(
                    upsert(t.evaluations)
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
                )
                if inserted.rowcount:
                    _event(connection, now, "evaluation.ready", stage_run_id=stage_run_id)

    def start_evaluation(self, evaluation_id: int, attempt: int) -> None:
        with self._transaction() as (connection, now):
            row = self._fenced(connection, now, t.evaluations, evaluation_id, attempt)
            if row.state == RunState.LEASED:
                _move_evaluation(connection, now, row, RunState.RUNNING)

    def beat_evaluation(self, evaluation_id: int, attempt: int, *, lease_seconds: float) -> Orders:
        with self._transaction() as (connection, now):
            self._fenced(connection, now, t.evaluations, evaluation_id, attempt)
            connection.execute(
                t.evaluations.update()
                .where(t.evaluations.c.id == evaluation_id)
                .values(lease_until=now + lease_seconds)
            )
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
            _move_evaluation(
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
        _move_evaluation(connection, now, row, RunState.FAILED, error=error, ended=now, lease_until=None)

    def _evaluation_again(self, connection: sa.Connection, now: float, row: sa.Row, error: str) -> None:
        backoff = 0.0 if row.attempt == 1 else min(MAX_BACKOFF_SECONDS, 2.0 ** (row.attempt - 2))
        _move_evaluation(connection, now, row, RunState.READY, error=error, ready_at=now + backoff, lease_until=None)

    # Leases

    def expire_leases(self) -> int:
        """Free whatever a lease ran out on, by the database's clock; the number of leases."""
        with self._transaction() as (connection, now):
            expired = 0
            for table, expire in ((t.stage_runs, self._expire_run), (t.evaluations, self._expire_evaluation)):
                rows = connection.execute(
                    sa.select(table).where(table.c.state.in_(ACTIVE), table.c.lease_until < now)
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

    # Leading

    def lead(self, holder: str, lease_seconds: float) -> int | None:
        """The term under which `holder` leads, its lease renewed; None while another one leads."""
        with self._transaction() as (connection, now):
            row = connection.execute(sa.select(t.leader)).one_or_none()
            if row is None:
                connection.execute(
                    t.leader.insert().values(id=1, holder=holder, term=1, lease_until=now + lease_seconds)
                )
                return 1
            if row.holder != holder and row.lease_until >= now:
                return None
            term = row.term if row.holder == holder else row.term + 1
            connection.execute(t.leader.update().values(holder=holder, term=term, lease_until=now + lease_seconds))
            return term

    def resign(self, holder: str, term: int) -> None:
        with self._transaction() as (connection, _):
            connection.execute(
                t.leader.update().where(t.leader.c.holder == holder, t.leader.c.term == term).values(lease_until=0.0)
            )

    # Models

    def register_model(
        self, *, name: str, trial_id: int, stage_run_id: int, uri: str, sha256: str, aliases: Sequence[str]
    ) -> int:
        """A new version of the model; an alias points to one version, so earlier ones lose it."""
        with self._transaction() as (connection, now):
            versions = connection.execute(sa.select(t.models).where(t.models.c.name == name)).all()
            for row in versions:
                connection.execute(
                    t.models.update()
                    .where(t.models.c.id == row.id)
                    .values(aliases=[alias for alias in row.aliases if alias not in aliases])
                )
            version = 1 + max((row.version for row in versions), default=0)
            connection.execute(
                t.models.insert().values(
                    name=name,
                    version=version,
                    trial_id=trial_id,
                    stage_run_id=stage_run_id,
                    uri=uri,
                    sha256=sha256,
                    aliases=list(aliases),
                    created=now,
                )
            )
            _event(connection, now, "model.registered", trial_id=trial_id, name=name, version=version)
            return version


def _event(
    connection: sa.Connection,
    now: float,
    kind: str,
    *,
    sweep_id: int | None = None,
    trial_id: int | None = None,
    stage_run_id: int | None = None,
    **payload: Any,
) -> None:
    connection.execute(
        t.events.insert().values(
            at=now,
            kind=kind,
            sweep_id=sweep_id,
            trial_id=trial_id,
            stage_run_id=stage_run_id,
            payload={name: value for name, value in payload.items() if value is not None},
        )
    )


def _others_last(column: sa.ColumnElement[int], preferred: int | None) -> sa.ColumnElement[int]:
    """Orders rows with this value before all others; no order where there is no preference."""
    return sa.literal(0) if preferred is None else sa.case((column == preferred, 0), else_=1)


def _attempt_row(stage_run_id: int, number: int) -> sa.Update:
    return t.attempts.update().where(t.attempts.c.stage_run_id == stage_run_id, t.attempts.c.number == number)


def _spent(connection: sa.Connection, row: sa.Row, now: float) -> float:
    """Device seconds over all attempts, the one that ends now included."""
    started = connection.scalar(
        sa.select(t.attempts.c.started).where(t.attempts.c.stage_run_id == row.id, t.attempts.c.number == row.attempt)
    )
    return row.seconds + (now - started if started else 0.0)


def _checkpoints(
    connection: sa.Connection, stage_run_id: int, *, sealed_only: bool = False
) -> tuple[CheckpointRow, ...]:
    """A stage run's checkpoints, the one with most images first."""
    checkpoints = t.checkpoints.c
    statement = sa.select(t.checkpoints).where(checkpoints.stage_run_id == stage_run_id)
    if sealed_only:
        statement = statement.where(checkpoints.sealed == 1)
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
    connection.execute(
        t.checkpoints.insert().values(
            stage_run_id=stage_run_id,
            attempt=attempt,
            images=images,
            uri=uri,
            sha256=sha256,
            bytes=num_bytes,
            sealed=int(sealed),
            created=now,
        )
    )


def _move_evaluation(connection: sa.Connection, now: float, row: sa.Row, state: RunState, **values: Any) -> None:
    """Change an evaluation's state together with its event; the trigger refuses illegal moves."""
    connection.execute(t.evaluations.update().where(t.evaluations.c.id == row.id).values(state=state, **values))
    payload = {name: values.get(name) for name in ("score", "error")}
    _event(connection, now, f"evaluation.{state}", stage_run_id=row.stage_run_id, **payload)


def _forgiven(connection: sa.Connection, stage_run_id: int) -> int:
    """The number of the last attempt before a person's latest retry; 0 where there was none."""
    payload = connection.scalar(
        sa.select(t.events.c.payload)
        .where(t.events.c.stage_run_id == stage_run_id, t.events.c.kind == RETRIED)
        .order_by(t.events.c.id.desc())
        .limit(1)
    )
    return payload["after_attempt"] if payload else 0


def _mark_busy(connection: sa.Connection, worker_id: int, doing: Mapping[str, Any]) -> None:
    connection.execute(
        t.workers.update().where(t.workers.c.id == worker_id).values(state=WorkerState.BUSY, doing=dict(doing))
    )


def _end_worker(connection: sa.Connection, now: float, worker_id: int, state: WorkerState) -> None:
    ended = connection.execute(
        t.workers.update()
        .where(t.workers.c.id == worker_id, t.workers.c.ended.is_(None))
        .values(state=state, ended=now, doing=None)
    )
    if ended.rowcount:
        _event(connection, now, f"worker.{state}", worker_id=worker_id)
