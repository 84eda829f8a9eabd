"""What the scheduler's loop and the command line look at; the pages have `page_reads.py`. Nothing here writes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.finalists import ORIGIN as REPLICATE
from scheduler.finalists import fresh_results, lift, parents_of
from scheduler.many import is_among
from scheduler.ranking import Ranked, Standing, gates_of, rank, told_standing
from scheduler.roles import Role, describe
from scheduler.space import Deviation
from scheduler.states import ACTIVE, OPEN_SWEEPS, OPEN_TRIALS, RunState, SweepState, TrialState
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import UserError
from t2f.metrics.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Sweep:
    id: int
    name: str
    state: SweepState
    error: str | None
    resolved: ResolvedSweep
    data_name: str
    data_key: str
    created: float
    ended: float | None
    unused_rungs: Mapping[int, Figure] = field(default_factory=dict)  # px -> why it is not used any more
    spent: str | None = None  # which budget is spent, where one is

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_SWEEPS


@dataclass(frozen=True, kw_only=True)
class Trial:
    id: int
    sweep_id: int
    sweep_name: str
    number: int
    parameters: Mapping[str, Any]
    state: TrialState
    origin: str
    attributes: Mapping[str, Any]

    @cached_property
    def role(self) -> Role:
        return Role.of(self.attributes)

    @property
    def note(self) -> str:
        """What a reader must know of it beside its parameters; empty for a trial like all others."""
        return describe(self.origin, self.attributes)

    @property
    def deviation(self) -> Deviation:
        return Deviation.of(self.attributes)

    @property
    def told(self) -> Mapping[str, float] | None:
        """Metric -> value, of a trial that somebody's own loop trained."""
        return self.attributes.get("told")

    @property
    def name(self) -> str:
        return f"{self.sweep_name}/T{self.number}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_TRIALS


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    id: int
    state: RunState
    score: float | None
    metrics: Mapping[str, Mapping[str, Any]]  # Figure.to_json()
    samples: Mapping[str, Any] | None
    error: str | None

    def value(self, metric: str) -> float | None:
        return measured_value(self.metrics, metric)


def measured_value(metrics: Mapping[str, Mapping[str, Any]], metric: str) -> float | None:
    """The metric, if it was measured and is a number: what is neither must never rank."""
    value = metrics.get(metric, {}).get("value")
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """A stage run, with its evaluation under the key of the sweep that asks."""

    id: int
    key: str
    parent_id: int | None
    stage: int
    resolution: int
    spec: Mapping[str, Any]
    state: RunState
    attempt: int
    images: int
    images_per_second: float | None
    seconds: float
    weights_sha256: str | None
    error: str | None
    evaluation: Evaluation | None


@dataclass(frozen=True, kw_only=True)
class Worker:
    id: int
    name: str
    node: str
    pid: int
    device: str
    share: float
    state: str
    doing: Mapping[str, Any] | None
    telemetry: Mapping[str, Any]
    started: float
    heartbeat: float
    labels: Mapping[str, str]  # of its Ray node


@dataclass(frozen=True, kw_only=True)
class Attempt:
    number: int
    worker: str
    numerics_class: str | None
    claimed: float
    started: float | None
    ended: float | None
    start_images: int | None
    outcome: str | None
    error: str | None


def _sweep(row: sa.Row) -> Sweep:
    return Sweep(
        id=row.id,
        name=row.name,
        state=SweepState(row.state),
        error=row.error,
        resolved=ResolvedSweep.from_json(row.resolved),
        data_name=row.data_name,
        data_key=row.data_key,
        created=row.created,
        ended=row.ended,
        unused_rungs={int(px): Figure(**found) for px, found in (row.unused_rungs or {}).items()},
        spent=row.spent,
    )


def sweeps(database: Database) -> list[Sweep]:
    """All sweeps, the newest first."""
    with database.read.begin() as connection:
        return [_sweep(row) for row in connection.execute(sa.select(t.sweeps).order_by(t.sweeps.c.id.desc()))]


def open_sweeps(database: Database) -> list[Sweep]:
    """The sweeps that have not ended, the oldest first."""
    statement = sa.select(t.sweeps).where(t.sweeps.c.state.in_(OPEN_SWEEPS)).order_by(t.sweeps.c.id)
    with database.read.begin() as connection:
        return [_sweep(row) for row in connection.execute(statement)]


def find_sweep(database: Database, name: str) -> Sweep | None:
    with database.read.begin() as connection:
        row = connection.execute(sa.select(t.sweeps).where(t.sweeps.c.name == name)).one_or_none()
        return None if row is None else _sweep(row)


def sweep(database: Database, name: str) -> Sweep:
    """The sweep of that name; UserError with the names there are."""
    found = find_sweep(database, name)
    if found is None:
        names = ", ".join(one.name for one in sweeps(database)[:20]) or "none yet"
        raise UserError(f"there is no sweep {name!r}; sweeps: {names}")
    return found


def _trials(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Trial]:
    trials = t.trials.c
    statement = (
        sa.select(
            trials.id,
            trials.sweep_id,
            t.sweeps.c.name,
            trials.number,
            trials.parameters,
            trials.state,
            trials.origin,
            trials.attributes,
        )
        .join(t.sweeps, t.sweeps.c.id == trials.sweep_id)
        .where(*conditions)
    )
    found = [
        Trial(
            id=trial_id,
            sweep_id=sweep_id,
            sweep_name=sweep_name,
            number=number,
            parameters=parameters,
            state=TrialState(state),
            origin=origin,
            attributes=attributes,
        )
        for trial_id, sweep_id, sweep_name, number, parameters, state, origin, attributes in connection.execute(
            statement
        )
    ]
    # Not by the database: for the order SQLite would go through all trials instead of looking up the few it is asked.
    return sorted(found, key=lambda trial: (trial.sweep_id, trial.number))


def trials(database: Database, sweep_id: int) -> list[Trial]:
    with database.read.begin() as connection:
        return _trials(connection, t.trials.c.sweep_id == sweep_id)


def trials_of(database: Database, trial_ids: Sequence[int]) -> list[Trial]:
    """The trials with these ids."""
    with database.read.begin() as connection:
        return _trials(connection, is_among(t.trials.c.id, trial_ids))


def trial(database: Database, name: str) -> Trial:
    """A trial by SWEEP/T12, or by T12 alone where only one sweep has it; UserError elsewhere."""
    sweep_name, _, short = name.rpartition("/")
    if not (short[:1] == "T" and (short[1:].isascii() and short[1:].isdigit()) and len(short) < 12):
        raise UserError(f"{name!r} is no trial's name; give SWEEP/T12, or T12 where that is unique")
    conditions = [t.trials.c.number == int(short[1:])]
    if sweep_name:
        conditions.append(t.trials.c.sweep_id == sweep(database, sweep_name).id)
    with database.read.begin() as connection:
        found = _trials(connection, *conditions)
    if not found:
        raise UserError(f"there is no trial {name!r}; `t2f sweep show SWEEP` lists them")
    if len(found) > 1:
        raise UserError(f"{name!r} is not unique: {', '.join(one.name for one in found[:10])}; give the sweep too")
    return found[0]


def paths(database: Database, sweep_id: int, evaluation_key: str) -> dict[int, list[StageRun]]:
    """Trial id -> its stage runs from 4 px up, as far as they exist."""
    with database.read.begin() as connection:
        return _paths(connection, evaluation_key, t.demands.c.sweep_id == sweep_id)


def paths_of(database: Database, trial_ids: Sequence[int], evaluation_key: str) -> dict[int, list[StageRun]]:
    """As `paths`, of these trials only."""
    with database.read.begin() as connection:
        return _paths(connection, evaluation_key, is_among(t.demands.c.trial_id, trial_ids))


def _paths(connection: sa.Connection, evaluation_key: str, which: sa.ColumnElement[bool]) -> dict[int, list[StageRun]]:
    # A stage run that many trials share is read once.
    demanded = sa.select(t.demands.c.trial_id, t.demands.c.stage_run_id).where(which)
    steps = connection.execute(demanded.order_by(t.demands.c.trial_id)).all()
    if not steps:
        return {}
    statement = (
        sa.select(
            t.stage_runs,
            t.evaluations.c.id.label("evaluation_id"),
            t.evaluations.c.state.label("evaluation_state"),
            t.evaluations.c.score,
            t.evaluations.c.metrics,
            t.evaluations.c.samples,
            t.evaluations.c.error.label("evaluation_error"),
        )
        .outerjoin(
            t.evaluations,
            sa.and_(t.evaluations.c.stage_run_id == t.stage_runs.c.id, t.evaluations.c.key == evaluation_key),
        )
        .where(t.stage_runs.c.id.in_(sa.select(t.demands.c.stage_run_id).where(which)))
    )
    runs = {row.id: _stage_run(row) for row in connection.execute(statement)}
    found: dict[int, list[StageRun]] = {}
    for trial_id, stage_run_id in steps:
        found.setdefault(trial_id, []).append(runs[stage_run_id])
    for path in found.values():
        path.sort(key=lambda run: run.stage)
    return found


def _stage_run(row: sa.Row) -> StageRun:
    evaluation = None
    if row.evaluation_id is not None:
        evaluation = Evaluation(
            id=row.evaluation_id,
            state=RunState(row.evaluation_state),
            score=row.score,
            metrics=row.metrics or {},
            samples=row.samples,
            error=row.evaluation_error,
        )
    return StageRun(
        id=row.id,
        key=row.key,
        parent_id=row.parent_id,
        stage=row.stage,
        resolution=row.resolution,
        spec=row.spec,
        state=RunState(row.state),
        attempt=row.attempt,
        images=row.images,
        images_per_second=row.images_per_second,
        seconds=row.seconds,
        weights_sha256=row.weights_sha256,
        error=row.error,
        evaluation=evaluation,
    )


def standings(database: Database, of: Sweep) -> list[Standing]:
    """The deepest measured stage of each trial."""
    if of.resolved.own_loop:
        resolution, wanted = of.resolved.space.plan.final_resolution, of.resolved.objectives
        return [
            told_standing(one.id, one.number, one.state, one.told, resolution=resolution, wanted=wanted)
            for one in trials(database, of.id)
            if one.told is not None
        ]
    measured = (
        sa.select(t.stage_runs.c.id, t.stage_runs.c.resolution, t.evaluations.c.metrics)
        .join(t.evaluations, t.evaluations.c.stage_run_id == t.stage_runs.c.id)
        .where(
            t.evaluations.c.key == of.resolved.evaluation.key,
            t.evaluations.c.score.is_not(None),
            t.stage_runs.c.id.in_(sa.select(t.demands.c.stage_run_id).where(t.demands.c.sweep_id == of.id)),
        )
    )
    steps = (
        sa.select(t.demands.c.trial_id, t.trials.c.number, t.trials.c.state, t.demands.c.stage_run_id)
        .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
        .where(t.demands.c.sweep_id == of.id)
        .order_by(t.trials.c.number)
    )
    found: dict[int, Standing] = {}
    with database.read.begin() as connection:
        runs = {row.id: row for row in connection.execute(measured)}
        for step in connection.execute(steps) if runs else ():
            run, deeper = runs.get(step.stage_run_id), found.get(step.trial_id)
            if run is None or (deeper is not None and deeper.resolution > run.resolution):
                continue
            found[step.trial_id] = Standing(
                trial_id=step.trial_id,
                number=step.number,
                state=TrialState(step.state),
                stage_run_id=run.id,
                resolution=run.resolution,
                values=tuple(measured_value(run.metrics, one.metric) for one in of.resolved.objectives),
                gates=gates_of(run.metrics),
            )
    return list(found.values())


def standings_of(of: Sweep, of_trials: Iterable[Trial], of_paths: Mapping[int, Sequence[StageRun]]) -> list[Standing]:
    """The same from rows that were read before."""
    found = []
    for one in of_trials:
        measured = [run for run in of_paths.get(one.id, []) if run.evaluation and run.evaluation.score is not None]
        if measured:
            last = measured[-1]
            found.append(
                Standing(
                    trial_id=one.id,
                    number=one.number,
                    state=one.state,
                    stage_run_id=last.id,
                    resolution=last.resolution,
                    values=tuple(last.evaluation.value(objective.metric) for objective in of.resolved.objectives),
                    gates=gates_of(last.evaluation.metrics),
                )
            )
    return found


def ranking(database: Database, of: Sweep) -> list[Ranked]:
    """The sweep's trials, best first: finalists by their fresh seeds, then the others."""
    found, parents = standings(database, of), finalist_numbers(database, of)
    return lift(own_ranking(of, found, parents), fresh_results(found, parents), of.resolved.goal)


def own_ranking(of: Sweep, found: Sequence[Standing], parents: Mapping[int, int]) -> list[Ranked]:
    """The ranking that finalists are chosen by: of the trials that are no fresh seeds, by the seed of the sweep."""
    return rank([one for one in found if one.trial_id not in parents], of.resolved.objectives)


def finalist_numbers(database: Database, of: Sweep) -> dict[int, int]:
    """Id of the trial of each fresh seed -> number of its finalist."""
    statement = sa.select(t.trials.c.id, t.trials.c.origin, t.trials.c.attributes).where(
        t.trials.c.sweep_id == of.id, t.trials.c.origin == REPLICATE
    )
    with database.read.begin() as connection:
        return parents_of(connection.execute(statement))


def attempts(database: Database, stage_run_id: int) -> list[Attempt]:
    statement = (
        sa.select(t.attempts, t.workers.c.name.label("worker"))
        .join(t.workers, t.workers.c.id == t.attempts.c.worker_id)
        .where(t.attempts.c.stage_run_id == stage_run_id)
        .order_by(t.attempts.c.number)
    )
    with database.read.begin() as connection:
        return [
            Attempt(
                number=row.number,
                worker=row.worker,
                numerics_class=row.numerics_class,
                claimed=row.claimed,
                started=row.started,
                ended=row.ended,
                start_images=row.start_images,
                outcome=row.outcome,
                error=row.error,
            )
            for row in connection.execute(statement)
        ]


def sealed_checkpoint(database: Database, stage_run_id: int) -> sa.Row:
    """The row of a sealed stage run's last checkpoint."""
    statement = sa.select(t.checkpoints).where(
        t.checkpoints.c.stage_run_id == stage_run_id, t.checkpoints.c.sealed == 1
    )
    with database.read.begin() as connection:
        return connection.execute(statement.order_by(t.checkpoints.c.attempt.desc()).limit(1)).one()


def checkpoints(database: Database, stage_run_id: int) -> list[sa.Row]:
    """A sealed stage run's checkpoints as its images grew; of several attempts at the same place the newest is last."""
    order = (t.checkpoints.c.images, t.checkpoints.c.attempt)
    statement = sa.select(t.checkpoints).where(t.checkpoints.c.stage_run_id == stage_run_id).order_by(*order)
    with database.read.begin() as connection:
        return list(connection.execute(statement))


def workers(database: Database, *, with_ended: bool = False) -> list[Worker]:
    statement = sa.select(t.workers).order_by(t.workers.c.id)
    if not with_ended:
        statement = statement.where(t.workers.c.ended.is_(None))
    with database.read.begin() as connection:
        return [
            Worker(
                id=row.id,
                name=row.name,
                node=row.node,
                pid=row.pid,
                device=row.device,
                share=row.share,
                state=row.state,
                doing=row.doing,
                telemetry=row.telemetry,
                started=row.started,
                heartbeat=row.heartbeat,
                labels=row.labels,
            )
            for row in connection.execute(statement)
        ]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a sweep is; stage runs that are shared count once."""

    trials: Mapping[TrialState, int]
    stage_runs: Sequence[StageRun]  # distinct ones that exist so far
    paths: Mapping[int, Sequence[int]]  # trial id -> its stage runs' ids

    @property
    def active(self) -> list[StageRun]:
        return [run for run in self.stage_runs if run.state in ACTIVE]


def progress(database: Database, of: Sweep) -> Progress:
    found = paths(database, of.id, of.resolved.evaluation.key)
    distinct = {run.id: run for path in found.values() for run in path}
    return Progress(
        trials=trial_counts(database, of.id),
        stage_runs=[distinct[run_id] for run_id in sorted(distinct)],
        paths={trial_id: [run.id for run in path] for trial_id, path in found.items()},
    )


def trial_counts(database: Database, sweep_id: int) -> dict[TrialState, int]:
    """State -> trials of a sweep in it."""
    statement = (
        sa.select(t.trials.c.state, sa.func.count()).where(t.trials.c.sweep_id == sweep_id).group_by(t.trials.c.state)
    )
    with database.read.begin() as connection:
        return {TrialState(state): count for state, count in connection.execute(statement)}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A sweep in a few numbers; they cost the same however large its stage runs are."""

    trials: Mapping[TrialState, int]
    trained: int  # distinct stage runs, for this sweep
    of_others: int  # distinct stage runs that another sweep bears the cost of
    saved_by_sharing: int  # stage runs that its trials would have trained besides if they shared none


def counts(database: Database, of: Sweep) -> Counts:
    run_id, is_others = t.demands.c.stage_run_id, t.stage_runs.c.sweep_id != of.id
    done = (
        sa.select(
            sa.func.count(), sa.func.count(run_id.distinct()), sa.func.count(sa.case((is_others, run_id)).distinct())
        )
        .join(t.stage_runs, t.stage_runs.c.id == t.demands.c.stage_run_id)
        .where(t.demands.c.sweep_id == of.id, t.stage_runs.c.state == RunState.DONE)
    )
    with database.read.begin() as connection:
        wanted, distinct, of_others = connection.execute(done).one()
    return Counts(
        trials=trial_counts(database, of.id),
        trained=distinct - of_others,
        of_others=of_others,
        saved_by_sharing=wanted - distinct + of_others,
    )
