"""Whether a sweep may still begin something: its budget, and the sweep that it comes after."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.limits import duration_text
from scheduler.reads import Sweep
from scheduler.states import OPEN_SWEEPS, SweepState


def device_hours(database: Database, sweep_id: int, now: float) -> float:
    """Hours of devices that the sweep's attempts took, those that run included.

    An attempt is charged to the sweep whose demand came first when it was claimed; half a GPU counts half.
    """
    attempts = t.attempts.c
    begun = sa.func.coalesce(attempts.started, attempts.claimed)
    used = (
        sa.select(sa.func.sum((sa.func.coalesce(attempts.ended, now) - begun) * t.workers.c.share))
        .join(t.workers, t.workers.c.id == attempts.worker_id)
        .where(attempts.sweep_id == sweep_id)
    )
    with database.read.begin() as connection:
        return float(connection.scalar(used) or 0.0) / 3600


def spent_budget(database: Database, sweep: Sweep, now: float) -> str | None:
    """Which budget of the sweep is spent, in a sentence; None where none is."""
    budget = sweep.resolved.budget
    if budget.wall_seconds is not None and now - sweep.created >= budget.wall_seconds:
        return f"its wall time of {duration_text(budget.wall_seconds)} is over"
    if budget.gpu_hours is not None:
        used = device_hours(database, sweep.id, now)
        if used >= budget.gpu_hours:
            return f"its {budget.gpu_hours:g} device hours are spent ({used:.3g} used)"
    return None


def waits_for(database: Database, sweep: Sweep) -> tuple[str, bool] | None:
    """What keeps a sweep from beginning, and whether for ever; None where nothing does or it has begun."""
    other = sweep.resolved.after
    if other is None:
        return None
    with database.read.begin() as connection:
        if connection.execute(sa.select(t.demands.c.id).where(t.demands.c.sweep_id == sweep.id).limit(1)).first():
            return None
        state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.name == other))
    if state in (SweepState.COMPLETE, SweepState.STOPPED):
        return None
    if state in OPEN_SWEEPS:
        return f"waits until {other} has ended, which is {state}", False
    found = "does not exist any more" if state is None else f"is {state}"
    return f"it was to begin after {other}, which {found}; mend that one, or submit this one without after:", True
