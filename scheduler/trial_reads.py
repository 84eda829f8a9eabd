"""What the acts on one trial look at: its stage runs, what happened to it, what its curves came to."""

from collections.abc import Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database


def stage_runs_of(database: Database, trial_id: int) -> Sequence[sa.Row]:
    """A trial's stage runs from 4 px up, as far as they exist, with `content` and `bytes` of sealed checkpoints."""
    checkpoint = sa.and_(t.checkpoints.c.stage_run_id == t.stage_runs.c.id, t.checkpoints.c.sealed == 1)
    statement = (
        sa.select(t.stage_runs, t.checkpoints.c.content, t.checkpoints.c.bytes, t.demands.c.paused)
        .join(t.demands, t.demands.c.stage_run_id == t.stage_runs.c.id)
        .outerjoin(t.checkpoints, checkpoint)
        .where(t.demands.c.trial_id == trial_id)
        .order_by(t.stage_runs.c.stage)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).all()


def trained_keys(database: Database, keys: Sequence[str]) -> set[str]:
    """Those of the keys whose stage runs are sealed."""
    statement = sa.select(t.stage_runs.c.key).where(
        t.stage_runs.c.key.in_(keys), t.stage_runs.c.weights_sha256.is_not(None)
    )
    with database.read.begin() as connection:
        return set(connection.scalars(statement))


def events_of(database: Database, trial_id: int, *, limit: int = 1000) -> Sequence[sa.Row]:
    """The newest events of a trial and of its stage runs, the oldest of them first.

    On PostgreSQL one with a smaller id may come into sight after one with a larger id.
    """
    runs = sa.select(t.demands.c.stage_run_id).where(t.demands.c.trial_id == trial_id)
    statement = (
        sa.select(t.events)
        .where(sa.or_(t.events.c.trial_id == trial_id, t.events.c.stage_run_id.in_(runs)))
        .order_by(t.events.c.id.desc())
        .limit(limit)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).all()[::-1]


def last_values(database: Database, stage_run_id: int) -> Sequence[sa.Row]:
    """name, images, value: the newest point of each of a stage run's curves."""
    newest = (
        sa.select(t.curves.c.name, sa.func.max(t.curves.c.images).label("images"))
        .where(t.curves.c.stage_run_id == stage_run_id)
        .group_by(t.curves.c.name)
        .subquery()
    )
    statement = (
        sa.select(t.curves.c.name, t.curves.c.images, t.curves.c.value)
        .join(newest, sa.and_(newest.c.name == t.curves.c.name, newest.c.images == t.curves.c.images))
        .where(t.curves.c.stage_run_id == stage_run_id)
        .order_by(t.curves.c.name)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).all()


def submission(database: Database, sweep_id: int) -> sa.Row:
    """submitted, resolved, provenance, created_by, created of a sweep."""
    sweeps = t.sweeps.c
    columns = (sweeps.submitted, sweeps.resolved, sweeps.provenance, sweeps.created_by, sweeps.created)
    with database.read.begin() as connection:
        return connection.execute(sa.select(*columns).where(sweeps.id == sweep_id)).one()
