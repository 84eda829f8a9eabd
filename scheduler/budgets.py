"""Whether a sweep may still begin something: what is left of its budget."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.limits import duration_text
from scheduler.reads import Sweep
from scheduler.store import Store
from t2f.errors import UserError


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


def require_budget(store: Store, sweep: Sweep) -> None:
    """UserError where a budget of the sweep is spent, so that what is added or opened again would end at once."""
    budget, database = sweep.resolved.budget, store.database
    # The database's clock costs a transaction.
    spent = spent_budget(database, sweep, now := store.now()) if budget.is_timed else None
    if spent is not None:
        is_over = budget.wall_seconds is not None and now - sweep.created >= budget.wall_seconds
        word, example = ("wall", "14d") if is_over else ("gpu_hours", "100")
        raise UserError(
            f"the sweep {sweep.name!r} begins nothing more: {spent}; raise that first, as in "
            f"t2f sweep edit {sweep.name} --set budget.{word}={example}"
        )
