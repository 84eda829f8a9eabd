"""What settling looks at: the trials that something happened to, and who waits for a choice. Nothing here writes.

A sweep may have 100,000 trials, of which a turn of the loop touches a few. What happened since the last turn is in the
table `changes` (`store/writes.py`), so a turn costs what changed, and a scheduler that begins to lead finds it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.reads import Sweep
from scheduler.states import ENDED, GOING_TRIALS, OPEN_TRIALS, RunState, TrialState


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


def waits_for_choice(database: Database, sweep: Sweep, stage: int) -> bool:
    """Whether some trial has come to the end of this stage, is measured, and goes nowhere until it is chosen."""
    trials, demands, runs, evaluations = t.trials.c, t.demands.c, t.stage_runs.c, t.evaluations.c
    later = t.demands.alias("later")
    has_gone_on = sa.exists(sa.select(later.c.id).where(later.c.trial_id == trials.id, later.c.stage > stage))
    statement = (
        sa.select(trials.id)
        .select_from(t.demands)
        .join(t.stage_runs, runs.id == demands.stage_run_id)
        .join(t.trials, trials.id == demands.trial_id)
        .join(
            t.evaluations,
            sa.and_(evaluations.stage_run_id == runs.id, evaluations.key == sweep.resolved.evaluation.key),
        )
        .where(
            demands.sweep_id == sweep.id,
            demands.stage == stage,
            _has_ended(),
            evaluations.state == RunState.DONE,
            trials.state.in_(GOING_TRIALS),
            sa.not_(_skips_rungs()),
            ~has_gone_on,
        )
        .limit(1)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).first() is not None


def _skips_rungs() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(t.trials.c.attributes["skips_rungs"].as_boolean(), sa.false())


def _has_ended() -> sa.ColumnElement[bool]:
    """What was sealed stays so while its collected state is rebuilt."""
    return sa.or_(t.stage_runs.c.state.in_(ENDED), t.stage_runs.c.weights_sha256.is_not(None))
