"""What the database says of files: which it names, and what it knows of the checkpoints among them."""

from collections.abc import Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.states import ACTIVE, OPEN_TRIALS, RunState
from scheduler.store import init_uri
from scheduler.store.deleting import Doomed, doomed, sample_uris


def doomed_by(database: Database, sweep_id: int) -> Doomed | None:
    """What deleting a sweep would take away; None where there is none."""
    with database.read.begin() as connection:
        return doomed(connection, sweep_id)


def named_files(database: Database) -> set[str]:
    """The uri of every file that some row names."""
    with database.read.begin() as connection:
        found = set(connection.scalars(sa.select(t.checkpoints.c.uri)))
        found |= set(connection.scalars(sa.select(t.models.c.uri)))
        for samples in connection.scalars(sa.select(t.evaluations.c.samples)):
            found |= set(sample_uris(samples))
        for resolved in connection.scalars(sa.select(t.sweeps.c.resolved)):
            if resolved.get("init_sha256"):
                found.add(init_uri(resolved["init_sha256"]))
    return found


def checkpoint_bytes(database: Database) -> int:
    """What all checkpoints take by their rows: what a quota is about."""
    with database.read.begin() as connection:
        return connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(t.checkpoints.c.bytes), 0)))


def checkpoint_rows(database: Database) -> Sequence[sa.Row]:
    """Every checkpoint with its stage run's state, length, and whether it is wanted or being measured."""
    wanted = (
        sa.select(t.demands.c.stage_run_id)
        .join(t.trials, t.trials.c.id == t.demands.c.trial_id)
        .where(t.trials.c.state.in_(OPEN_TRIALS))
    )
    measured = sa.select(t.evaluations.c.stage_run_id).where(t.evaluations.c.state.in_((RunState.READY, *ACTIVE)))
    statement = (
        sa.select(
            t.checkpoints,
            t.stage_runs.c.state,
            t.stage_runs.c.spec,
            t.stage_runs.c.id.in_(wanted).label("is_wanted"),
            t.stage_runs.c.id.in_(measured).label("is_measured"),
        )
        .join(t.stage_runs, t.stage_runs.c.id == t.checkpoints.c.stage_run_id)
        .order_by(t.checkpoints.c.stage_run_id, t.checkpoints.c.images, t.checkpoints.c.attempt)
    )
    with database.read.begin() as connection:
        return connection.execute(statement).all()


def longest_lease(database: Database, now: float) -> float:
    """Seconds until the last lease that is held now ends; 0 where none is."""
    with database.read.begin() as connection:
        ends = [
            connection.scalar(sa.select(sa.func.max(table.c.lease_until)).where(table.c.state.in_(ACTIVE)))
            for table in (t.stage_runs, t.evaluations)
        ]
        return max([end - now for end in ends if end is not None], default=0.0)
