"""Why a sweep waits although it runs: another one must have ended before, no worker has the labels it wants, or the
scheduler gives out no work."""

from collections.abc import Mapping

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.labels import Labels, serves, unserved, wanted_text
from scheduler.reads import Sweep
from scheduler.states import OPEN_SWEEPS, RunState, SweepState


def waits_for(database: Database, sweep: Sweep) -> tuple[str, bool] | None:
    """Why the sweep that this one comes after keeps it from beginning, and whether for ever; None where nothing does or
    it has begun."""
    if sweep.resolved.after is None:
        return None
    with database.read.begin() as connection:
        return _waits_for(connection, sweep.id, sweep.resolved.after)


def _waits_for(connection: sa.Connection, sweep_id: int, other: str) -> tuple[str, bool] | None:
    if connection.execute(sa.select(t.demands.c.id).where(t.demands.c.sweep_id == sweep_id).limit(1)).first():
        return None
    state = connection.scalar(sa.select(t.sweeps.c.state).where(t.sweeps.c.name == other))
    if state in (SweepState.COMPLETE, SweepState.STOPPED):
        return None
    if state in OPEN_SWEEPS:
        return f"it begins once {other} has ended, which is {state}", False
    found = "does not exist any more" if state is None else f"is {state}"
    return f"it was to begin after {other}, which {found}; mend that one, or submit this one without after:", True


def labels_note(database: Database | None, wanted: Labels) -> str | None:
    """Which of the workers that are alive may train for a sweep with these labels; None where it wants none."""
    if not wanted:
        return None
    workers: list[Labels] = []
    if database is not None:
        with database.read.begin() as connection:
            workers = labels_of_workers(connection)
    why = unserved(wanted, workers)
    if why is not None:
        return f"{why}; it waits until one has"
    able = sum(serves(had, wanted) for had in workers)
    return f"only workers with {wanted_text(wanted)} train it: {able} of {len(workers)} that run now"


def reasons(database: Database) -> dict[int, str]:
    """Sweep id -> why it waits, or a part of it, of those that run or finish what they began and have a reason to."""
    with database.read.begin() as connection:
        return reasons_in(connection)


def reasons_in(connection: sa.Connection) -> dict[int, str]:
    """The same in a reading transaction of the caller's."""
    running = connection.execute(_RUNNING).all()
    workers = labels_of_workers(connection)
    found = {row.id: why for row in running if (why := unserved(row.labels, workers)) is not None}
    found = _of_others(connection, {row.id: row.name for row in running}, found) | found
    held_up = connection.scalar(sa.select(t.leader.c.held_up))
    if held_up is not None:
        found = {row.id: held_up for row in running} | found
    for row in running:
        waits = row.after and _waits_for(connection, row.id, row.after)
        if waits:
            found[row.id] = waits[0]
    return found


def labels_of_workers(connection: sa.Connection) -> list[Labels]:
    """Of each worker that is alive."""
    return list(connection.scalars(sa.select(t.workers.c.labels).where(t.workers.c.ended.is_(None))))


def _of_others(connection: sa.Connection, names: Mapping[int, str], blocked: Mapping[int, str]) -> dict[int, str]:
    """Sweeps that want a ready stage run which another one wanted first, and which no worker may train for that one.

    names: of the running sweeps; blocked: those of them whose labels no worker has, and why.
    """
    others = names.keys() - blocked.keys()
    if not blocked or not others:
        return {}
    wanted, owner = t.demands.c.sweep_id, t.stage_runs.c.sweep_id
    shared = (
        sa.select(
            wanted.label("sweep_id"), owner.label("owner_id"), sa.func.count(t.stage_runs.c.id.distinct()).label("n")
        )
        .join(t.stage_runs, t.stage_runs.c.id == t.demands.c.stage_run_id)
        .where(t.stage_runs.c.state == RunState.READY, owner.in_(blocked), wanted.in_(others), t.demands.c.paused == 0)
        .group_by(wanted, owner)
        .order_by(owner)
    )
    return {
        row.sweep_id: f"{names[row.owner_id]} wanted {row.n} of its stage runs before it: {blocked[row.owner_id]}"
        for row in connection.execute(shared)
    }


# Sweeps that somebody's own loop trains wait for no worker.
_is_own = sa.func.coalesce(t.sweeps.c.resolved["own_loop"].as_boolean(), sa.false())
_RUNNING = sa.select(
    t.sweeps.c.id, t.sweeps.c.name, t.sweeps.c.labels, t.sweeps.c.resolved["after"].as_string().label("after")
).where(t.sweeps.c.state.in_([str(SweepState.RUNNING), str(SweepState.STOPPING)]), sa.not_(_is_own))
