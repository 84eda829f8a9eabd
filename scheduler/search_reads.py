"""What asking for trials looks at: every trial of a sweep and its stage runs' values, and nothing else of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.labels import Labels, serves
from scheduler.objectives import Objective
from scheduler.states import RunState, TrialState, WorkerState
from scheduler.store.rows import batches


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage run of a trial's path."""

    trial_id: int
    stage_run_id: int
    parent_id: int | None
    resolution: int
    is_measured: bool  # sealed, and its evaluation is done
    values: tuple[float | None, ...]  # of the metrics; None where it has no finite one


def steps(database: Database, sweep_id: int, evaluation_key: str, objectives: Sequence[Objective]) -> list[Step]:
    """Every trial's stage runs, from 4 px up."""
    return _steps(database, t.demands.c.sweep_id == sweep_id, evaluation_key, objectives)


def steps_of_trials(
    database: Database, trial_ids: Sequence[int], evaluation_key: str, objectives: Sequence[Objective]
) -> list[Step]:
    """These trials' stage runs, from 4 px up."""
    found: list[Step] = []
    for ids in batches(trial_ids):
        found += _steps(database, t.demands.c.trial_id.in_(ids), evaluation_key, objectives)
    return found


def _steps(
    database: Database, which: sa.ColumnElement[bool], evaluation_key: str, objectives: Sequence[Objective]
) -> list[Step]:
    values = [
        t.evaluations.c.metrics[objective.metric]["value"].as_float().label(f"value_{place}")
        for place, objective in enumerate(objectives)
    ]
    statement = (
        sa.select(
            t.demands.c.trial_id,
            t.stage_runs.c.id,
            t.stage_runs.c.parent_id,
            t.stage_runs.c.resolution,
            (t.evaluations.c.state == RunState.DONE).label("is_measured"),
            *values,
        )
        .join(t.stage_runs, t.stage_runs.c.id == t.demands.c.stage_run_id)
        .outerjoin(
            t.evaluations,
            sa.and_(t.evaluations.c.stage_run_id == t.stage_runs.c.id, t.evaluations.c.key == evaluation_key),
        )
        .where(which)
        .order_by(t.demands.c.trial_id, t.stage_runs.c.stage)
    )
    with database.read.begin() as connection:
        return [
            Step(
                trial_id=row[0],
                stage_run_id=row[1],
                parent_id=row[2],
                resolution=row[3],
                is_measured=bool(row[4]),
                values=tuple(row[5:]) if row[4] else (None,) * len(values),
            )
            for row in connection.execute(statement)
        ]


def trial_states(database: Database, sweep_id: int) -> dict[int, TrialState]:
    """Trial id -> its state, in the order of the trials' numbers."""
    statement = sa.select(t.trials.c.id, t.trials.c.state).where(t.trials.c.sweep_id == sweep_id)
    with database.read.begin() as connection:
        rows = connection.execute(statement.order_by(t.trials.c.number)).all()
    return {trial_id: TrialState(state) for trial_id, state in rows}


def num_workers(database: Database, labels: Labels) -> int:
    """Workers that take work now, of a sweep that wants these labels."""
    statement = sa.select(t.workers.c.labels).where(t.workers.c.state.in_([WorkerState.IDLE, WorkerState.BUSY]))
    with database.read.begin() as connection:
        return sum(serves(had, labels) for had in connection.scalars(statement))


def num_trials(database: Database, sweep_id: int, origins: Sequence[str]) -> int:
    """How many trials of a sweep have one of these origins."""
    statement = (
        sa.select(sa.func.count())
        .select_from(t.trials)
        .where(t.trials.c.sweep_id == sweep_id, t.trials.c.origin.in_(origins))
    )
    with database.read.begin() as connection:
        return connection.scalar(statement)


def end_of_search(database: Database, sweep_id: int) -> str | None:
    """Why no more trials are asked for although the budget has some left."""
    statement = (
        sa.select(t.events.c.payload)
        .where(t.events.c.sweep_id == sweep_id, t.events.c.kind == "sweep.exhausted")
        .limit(1)
    )
    with database.read.begin() as connection:
        payload = connection.scalar(statement)
        return None if payload is None else payload["reason"]
