"""Which stage runs can be trained on: those whose full state is there."""

from collections.abc import Collection

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.many import is_among
from scheduler.states import RunState
from scheduler.store.rows import STATE

# Held, so that a state is not collected between this look and the end of the transaction. The state is no condition:
# SQLite would go through all that are done.
_HOLD = locked(
    sa.select(t.stage_runs.c.id, t.stage_runs.c.state).where(is_among(t.stage_runs.c.id)).order_by(t.stage_runs.c.id)
)
_WHOLE = sa.select(t.checkpoints.c.stage_run_id).where(
    is_among(t.checkpoints.c.stage_run_id), t.checkpoints.c.sealed == 1, t.checkpoints.c.content == STATE
)


def parents_that_are_whole(connection: sa.Connection, parents: Collection[int]) -> set[int]:
    """Those of the stage runs whose full state is there; nobody collects it before this transaction ends."""
    if not parents:
        return set()
    held = connection.execute(_HOLD, {"ids": sorted(parents)})
    done = [row.id for row in held if row.state == RunState.DONE]
    return set(connection.scalars(_WHOLE, {"ids": done})) if done else set()
