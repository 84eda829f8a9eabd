"""What hooks are told of: a row of the outbox for some events, in the transaction that writes the event."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t

# An event's kind -> what hooks call it.
HOOKED = {
    "sweep.complete": "sweep.ended",
    "sweep.stopped": "sweep.ended",
    "sweep.failed": "sweep.ended",
    "sweep.canceled": "sweep.ended",
    "trial.failed": "trial.failed",
    "trial.diverged": "trial.failed",
    "model.promoted": "model.best",
}
HOOK_EVENTS = tuple(dict.fromkeys(HOOKED.values()))


def note_for_hooks(
    connection: sa.Connection,
    now: float,
    kind: str,
    *,
    sweep_id: int | None,
    trial_id: int | None,
    payload: Mapping[str, Any],
) -> None:
    """Put an event that hooks may wait for into the outbox; others are none of theirs.

    Whether a hook does wait is the scheduler's to know: a worker or a command that writes the event has no hooks.
    """
    event = HOOKED.get(kind)
    if event is None or (event == "model.best" and payload.get("alias") != "best"):
        return
    told = {**_names(connection, sweep_id, trial_id), **payload, "state": kind.partition(".")[2], "kind": kind}
    connection.execute(t.outbox.insert().values(kind=event, payload=told, spread=0, created=now))


def _names(connection: sa.Connection, sweep_id: int | None, trial_id: int | None) -> dict[str, Any]:
    """The names that people know the rows by."""
    if trial_id is not None:
        row = connection.execute(
            sa.select(t.sweeps.c.name, t.trials.c.number, t.trials.c.parameters)
            .join(t.trials, t.trials.c.sweep_id == t.sweeps.c.id)
            .where(t.trials.c.id == trial_id)
        ).one()
        return {"sweep": row.name, "trial": f"{row.name}/T{row.number}", "parameters": row.parameters}
    return {"sweep": connection.scalar(sa.select(t.sweeps.c.name).where(t.sweeps.c.id == sweep_id))}
