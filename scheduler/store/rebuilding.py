"""Which stage runs can be trained on: those whose full state is there."""

from collections.abc import Collection

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import RunState
from scheduler.store.rows import STATE
from scheduler.store.writes import ids_param

# Held, so that a state is not collected between this look and the end of the transaction.
_HOLD = locked(
    sa.select(t.stage_runs.c.id)
    .where(t.stage_runs.c.id.in_(ids_param()), t.stage_runs.c.state == str(RunState.DONE))
    .order_by(t.stage_runs.c.id)
)
_WHOLE = sa.select(t.checkpoints.c.stage_run_id).where(
    t.checkpoints.c.stage_run_id.in_(ids_param()), t.checkpoints.c.sealed == 1, t.checkpoints.c.content == STATE
)


def parents_that_are_whole(connection: sa.Connection, parents: Collection[int]) -> set[int]:
    """Those of the stage runs whose full state is there; nobody collects it before this transaction ends."""
    if not parents:
        return set()
    done = connection.scalars(_HOLD, {"ids": sorted(parents)}).all()
    return set(connection.scalars(_WHOLE, {"ids": done})) if done else set()
