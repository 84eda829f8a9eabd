"""What settling looks at: the trials that something happened to, and the rungs that they are on. Nothing here writes.

A sweep may have 100,000 trials, of which a turn of the loop touches a few. What happened since the last turn is in the
table `changes` (`store/writes.py`), so a turn costs what changed, and a scheduler that begins to lead finds it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.reads import Sweep, measured_value
from scheduler.states import ENDED, OPEN_TRIALS, RunState, TrialState


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is to be looked at, and the rows that say so."""

    ids: Sequence[int]
    trial_ids: Sequence[int]  # trials on stage runs that ended, trials that were moved, and those not yet begun


def changes(database: Database, sweep_id: int) -> Changes:
    trials, demands = t.trials.c, t.demands.c
    noted = sa.select(t.changes).where(t.changes.c.sweep_id == sweep_id).order_by(t.changes.c.id)
    mine = sa.select(trials.id).where(trials.sweep_id == sweep_id)
    with database.read.begin() as connection:
        rows = connection.execute(noted).all()
        found = set(connection.scalars(mine.where(trials.state == TrialState.WAITING)))
        found |= {row.trial_id for row in rows if row.trial_id is not None}
        runs = sorted({row.stage_run_id for row in rows if row.stage_run_id is not None})
        if any(row.trial_id is None and row.stage_run_id is None for row in rows):
            found |= set(connection.scalars(mine.where(trials.state.in_(OPEN_TRIALS))))
        for start in range(0, len(runs), 1000):
            on_runs = sa.select(demands.trial_id).where(
                demands.sweep_id == sweep_id, demands.stage_run_id.in_(runs[start : start + 1000])
            )
            found |= set(connection.scalars(on_runs))
    return Changes(ids=[row.id for row in rows], trial_ids=sorted(found))


def has_open_trials(database: Database, sweep_id: int) -> bool:
    statement = (
        sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id, t.trials.c.state.in_(OPEN_TRIALS)).limit(1)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).first() is not None


@dataclass(frozen=True, kw_only=True)
class AtRung:
    """One trial on a stage run that has ended at a rung's resolution."""

    trial_id: int
    number: int
    trial_state: TrialState
    skips_rungs: bool
    stage_run_id: int
    state: RunState
    evaluation_state: RunState | None
    value: float | None  # of the sweep's metric
    is_newest: bool  # the trial has not gone on

    @property
    def is_measured(self) -> bool:
        return self.evaluation_state == RunState.DONE


@dataclass(frozen=True, kw_only=True)
class Rung:
    resolution: int
    trials: Sequence[AtRung]
    complete: bool  # every trial that may still come is there, and measured

    @property
    def undecided(self) -> list[AtRung]:
        """The trials that wait here for a choice."""
        return [
            one
            for one in self.trials
            if one.is_newest
            and one.is_measured
            and one.trial_state in (TrialState.WAITING, TrialState.RUNNING)
            and not one.skips_rungs
        ]


def rung(database: Database, sweep: Sweep, stage: int, resolution: int) -> Rung:
    """The trials of a sweep that have been through this stage, and whether others are still to come."""
    key = sweep.resolved.evaluation.key
    trials, demands, runs, evaluations = t.trials.c, t.demands.c, t.stage_runs.c, t.evaluations.c
    later = t.demands.alias("later")
    evaluated = sa.and_(evaluations.stage_run_id == runs.id, evaluations.key == key)
    arrived = (
        sa.select(
            trials.id,
            trials.number,
            trials.state.label("trial_state"),
            _skips_rungs().label("skips_rungs"),
            runs.id.label("stage_run_id"),
            sa.case((runs.weights_sha256.is_not(None), str(RunState.DONE)), else_=runs.state).label("state"),
            evaluations.state.label("evaluation_state"),
            (~sa.exists(sa.select(later.c.id).where(later.c.trial_id == trials.id, later.c.stage > stage))).label(
                "is_newest"
            ),
        )
        .select_from(t.demands)
        .join(t.stage_runs, runs.id == demands.stage_run_id)
        .join(t.trials, trials.id == demands.trial_id)
        .outerjoin(t.evaluations, evaluated)
        .where(demands.sweep_id == sweep.id, demands.stage == stage, _has_ended())
        .order_by(trials.number)
    )
    values = (
        sa.select(runs.id, evaluations.metrics)
        .join(t.evaluations, evaluated)
        .where(
            evaluations.state == RunState.DONE,
            runs.id.in_(sa.select(demands.stage_run_id).where(demands.sweep_id == sweep.id, demands.stage == stage)),
        )
    )
    through = (
        sa.select(demands.id)
        .join(t.stage_runs, runs.id == demands.stage_run_id)
        .outerjoin(t.evaluations, evaluated)
        .where(
            demands.trial_id == trials.id,
            demands.stage == stage,
            _has_ended(),
            sa.or_(runs.weights_sha256.is_(None), evaluations.state.in_(ENDED)),
        )
        .correlate(t.trials)
    )
    to_come = (
        sa.select(trials.id)
        .where(trials.sweep_id == sweep.id, trials.state.in_(OPEN_TRIALS), sa.not_(_skips_rungs()), ~sa.exists(through))
        .limit(1)
    )
    with database.read.begin() as connection:
        complete = connection.execute(to_come).first() is None
        metric = sweep.resolved.metric
        value = {row.id: measured_value(row.metrics or {}, metric) for row in connection.execute(values)}
        found = [
            AtRung(
                trial_id=row.id,
                number=row.number,
                trial_state=TrialState(row.trial_state),
                skips_rungs=bool(row.skips_rungs),
                stage_run_id=row.stage_run_id,
                state=RunState(row.state),
                evaluation_state=None if row.evaluation_state is None else RunState(row.evaluation_state),
                value=value.get(row.stage_run_id),
                is_newest=bool(row.is_newest),
            )
            for row in connection.execute(arrived)
        ]
    return Rung(resolution=resolution, trials=found, complete=complete)


def _skips_rungs() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(t.trials.c.attributes["skips_rungs"].as_boolean(), sa.false())


def _has_ended() -> sa.ColumnElement[bool]:
    """What was sealed stays so while its collected state is rebuilt."""
    return sa.or_(t.stage_runs.c.state.in_(ENDED), t.stage_runs.c.weights_sha256.is_not(None))
