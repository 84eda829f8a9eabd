"""Queries of the dashboard's pages: a few for each page, however many trials it shows."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, select, tuple_

from scheduler.finalists import ORIGIN as REPLICATE
from scheduler.objectives import Objective
from scheduler.states import RunState, TrialState
from scheduler.tables import (
    attempts,
    curves,
    demands,
    evaluations,
    events,
    models,
    stage_runs,
    sweeps,
    trials,
    workers,
)

ENDS_EARLY = [
    f"trial.{state}" for state in (TrialState.PRUNED, TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED)
]


def count_sweeps(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(sweeps))


def newest_sweeps(connection: Connection, *, limit: int, offset: int) -> Sequence[Row]:
    return connection.execute(select(sweeps).order_by(sweeps.c.id.desc()).limit(limit).offset(offset)).all()


def sweep_named(connection: Connection, name: str) -> Row | None:
    return connection.execute(select(sweeps).where(sweeps.c.name == name)).one_or_none()


def trials_of(connection: Connection, sweep_ids: Iterable[int]) -> Sequence[Row]:
    return connection.execute(
        select(trials).where(trials.c.sweep_id.in_(list(sweep_ids))).order_by(trials.c.sweep_id, trials.c.number)
    ).all()


def trial_states(connection: Connection, sweep_ids: Iterable[int]) -> Sequence[Row]:
    """sweep_id, state, count"""
    return connection.execute(
        select(trials.c.sweep_id, trials.c.state, func.count().label("count"))
        .where(trials.c.sweep_id.in_(list(sweep_ids)))
        .group_by(trials.c.sweep_id, trials.c.state)
    ).all()


def stage_run_counts(connection: Connection, sweep_ids: Iterable[int]) -> Sequence[Row]:
    """sweep_id, done, total: distinct stage runs that each sweep demands"""
    wanted = (
        select(demands.c.sweep_id, demands.c.stage_run_id)
        .where(demands.c.sweep_id.in_(list(sweep_ids)))
        .distinct()
        .subquery()
    )
    done = func.sum(case((stage_runs.c.state == RunState.DONE, 1), else_=0))
    return connection.execute(
        select(wanted.c.sweep_id, done.label("done"), func.count().label("total"))
        .join(stage_runs, stage_runs.c.id == wanted.c.stage_run_id)
        .group_by(wanted.c.sweep_id)
    ).all()


def paths_of(connection: Connection, sweep_ids: Iterable[int]) -> Sequence[Row]:
    """sweep_id, trial_id, number, stage_run_id: every trial's stage runs, from 4 px up"""
    return connection.execute(
        select(demands.c.sweep_id, demands.c.trial_id, trials.c.number, demands.c.stage_run_id)
        .join(trials, trials.c.id == demands.c.trial_id)
        .join(stage_runs, stage_runs.c.id == demands.c.stage_run_id)
        .where(demands.c.sweep_id.in_(list(sweep_ids)))
        .order_by(trials.c.number, stage_runs.c.stage)
    ).all()


def stage_runs_of(connection: Connection, sweep_id: int, evaluation_key: str) -> Sequence[Row]:
    """The distinct stage runs that a sweep demands, each with its evaluation under that sweep's key."""
    wanted = select(demands.c.stage_run_id).where(demands.c.sweep_id == sweep_id).distinct()
    return connection.execute(
        select(
            stage_runs,
            evaluations.c.id.label("evaluation_id"),
            evaluations.c.state.label("evaluation_state"),
            evaluations.c.metrics,
            evaluations.c.score,
            evaluations.c.samples,
            evaluations.c.ended.label("evaluated"),
        )
        .outerjoin(
            evaluations, and_(evaluations.c.stage_run_id == stage_runs.c.id, evaluations.c.key == evaluation_key)
        )
        .where(stage_runs.c.id.in_(wanted))
        .order_by(stage_runs.c.stage, stage_runs.c.id)
    ).all()


def attempts_of(connection: Connection, stage_run_ids: Iterable[int]) -> Sequence[Row]:
    return connection.execute(
        select(attempts, workers.c.name.label("worker"))
        .outerjoin(workers, workers.c.id == attempts.c.worker_id)
        .where(attempts.c.stage_run_id.in_(list(stage_run_ids)))
        .order_by(attempts.c.stage_run_id, attempts.c.number)
    ).all()


def curves_of(connection: Connection, stage_run_ids: Iterable[int], names: Iterable[str]) -> Sequence[Row]:
    return connection.execute(
        select(curves)
        .where(curves.c.stage_run_id.in_(list(stage_run_ids)), curves.c.name.in_(list(names)))
        .order_by(curves.c.stage_run_id, curves.c.name, curves.c.images)
    ).all()


def ends_of_trials(connection: Connection, sweep_id: int) -> Sequence[Row]:
    """trial_id, kind, payload of the events that ended trials before their last stage, the newest last"""
    return connection.execute(
        select(events.c.trial_id, events.c.kind, events.c.payload)
        .where(events.c.sweep_id == sweep_id, events.c.kind.in_(ENDS_EARLY))
        .order_by(events.c.id)
    ).all()


def evaluation(connection: Connection, evaluation_id: int) -> Row | None:
    return connection.execute(
        select(evaluations.c.samples, evaluations.c.ended).where(evaluations.c.id == evaluation_id)
    ).one_or_none()


def all_workers(connection: Connection) -> Sequence[Row]:
    return connection.execute(select(workers).order_by(workers.c.ended.is_not(None), workers.c.name)).all()


def all_models(connection: Connection) -> Sequence[Row]:
    """Registered models, the newest first, with sweep, trial and resolution."""
    return connection.execute(
        select(
            models,
            sweeps.c.name.label("sweep"),
            trials.c.number,
            stage_runs.c.resolution,
        )
        .join(trials, trials.c.id == models.c.trial_id)
        .join(sweeps, sweeps.c.id == trials.c.sweep_id)
        .join(stage_runs, stage_runs.c.id == models.c.stage_run_id)
        .order_by(models.c.id.desc())
    ).all()


def trials_on(connection: Connection, stage_run_ids: Iterable[int]) -> Sequence[Row]:
    """stage_run_id, sweep, number: every trial whose path a stage run is on, the oldest first"""
    return connection.execute(
        select(demands.c.stage_run_id, sweeps.c.name.label("sweep"), trials.c.number)
        .join(trials, trials.c.id == demands.c.trial_id)
        .join(sweeps, sweeps.c.id == trials.c.sweep_id)
        .where(demands.c.stage_run_id.in_(list(stage_run_ids)))
        .order_by(demands.c.stage_run_id, demands.c.id)
    ).all()


def _measured(metric: str) -> ColumnElement[float]:
    """An evaluation's value of a metric."""
    return evaluations.c.score if metric == "score" else evaluations.c.metrics[metric]["value"].as_float()


def best_values(connection: Connection, keys: Mapping[int, str], wanted: Sequence[Objective]) -> Sequence[Row]:
    """sweep_id, number, resolution, value of each sweep's best trial, in the order of `ranking.rank`: one that passes
    every gate, got furthest and is the best by the first objective, then by those after it

    keys: sweep id to its evaluation key; other sweeps' measurements of shared stage runs do not count.
    """
    values = [_measured(objective.metric) for objective in wanted]
    better_first = [
        value.desc() if objective.goal == "maximize" else value.asc()
        for value, objective in zip(values, wanted, strict=True)
    ]
    num_closed = evaluations.c.metrics["closed_gates"]["value"].as_float()
    is_behind_gate = case((func.coalesce(num_closed, 0) > 0, 1), else_=0)
    place = func.row_number().over(
        partition_by=demands.c.sweep_id,
        order_by=(is_behind_gate, stage_runs.c.resolution.desc(), *better_first, trials.c.number),
    )
    scored = (
        select(
            demands.c.sweep_id,
            trials.c.number,
            stage_runs.c.resolution,
            values[0].label("value"),
            place.label("place"),
        )
        .join(trials, trials.c.id == demands.c.trial_id)
        .join(stage_runs, stage_runs.c.id == demands.c.stage_run_id)
        .join(evaluations, evaluations.c.stage_run_id == stage_runs.c.id)
        .where(
            tuple_(demands.c.sweep_id, evaluations.c.key).in_(list(keys.items())),
            evaluations.c.state == RunState.DONE,
            evaluations.c.score.is_not(None),
            *(value.is_not(None) for value in values),
            trials.c.state.not_in([TrialState.FAILED, TrialState.DIVERGED, TrialState.CANCELED]),
            trials.c.origin != REPLICATE,
        )
        .subquery()
    )
    return connection.execute(select(scored).where(scored.c.place == 1)).all()


def fresh_values(connection: Connection, keys: Mapping[int, str], metric: str) -> Sequence[Row]:
    """sweep_id, attributes, value of every finalist's fresh seed that came to its end; keys as for `best_values`"""
    value = _measured(metric)
    place = func.row_number().over(partition_by=trials.c.id, order_by=stage_runs.c.resolution.desc())
    scored = (
        select(demands.c.sweep_id, trials.c.attributes, value.label("value"), place.label("place"))
        .join(trials, trials.c.id == demands.c.trial_id)
        .join(stage_runs, stage_runs.c.id == demands.c.stage_run_id)
        .join(evaluations, evaluations.c.stage_run_id == stage_runs.c.id)
        .where(
            tuple_(demands.c.sweep_id, evaluations.c.key).in_(list(keys.items())),
            evaluations.c.state == RunState.DONE,
            value.is_not(None),
            trials.c.state == TrialState.COMPLETE,
            trials.c.origin == REPLICATE,
        )
        .subquery()
    )
    return connection.execute(select(scored).where(scored.c.place == 1)).all()
