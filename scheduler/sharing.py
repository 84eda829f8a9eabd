"""Which stage runs of a sweep its home has already: other sweeps trained them, train them, or are about to."""

from collections.abc import Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.forms import StageForms
from scheduler.many import is_among
from scheduler.space import Deviation
from scheduler.states import ACTIVE, RunState
from scheduler.store import NewTrial
from scheduler.sweepfile import ResolvedSweep

SHARED = (RunState.WAITING, RunState.READY, *ACTIVE, RunState.DONE)  # states whose outcome another trial takes over


def stage_runs_here(database: Database | None, resolved: ResolvedSweep, trials: Sequence[NewTrial]) -> dict[int, int]:
    """Resolution -> distinct stage runs of these trials that are in the database; resolutions without any are left out.

    Stage by stage, and only on top of what is there, since a stage run's parent is there before it.
    """
    if database is None or resolved.root("T0") is not None:  # share_prefix: off
        return {}
    forms, found = StageForms(resolved.space), {}
    with database.read.begin() as connection:
        same_data = sa.select(t.sweeps.c.id).where(t.sweeps.c.data_key == resolved.space.data_key)
        if connection.execute(same_data.limit(1)).first() is None:
            return {}
        on: dict[str | None, Sequence[NewTrial]] = {None: trials}
        for index, resolution in enumerate(resolved.space.plan.resolutions):
            children: dict[str, list[NewTrial]] = {}
            for parent, those in on.items():
                for trial in those:
                    deviation = Deviation.of(trial.attributes)
                    key = forms.stage(trial.parameters, index, parent, deviation).key
                    children.setdefault(key, []).append(trial)
            here = connection.scalars(_SHARED, {"ids": list(children)}).all()
            if not here:
                break
            found[resolution] = len(here)
            on = {key: children[key] for key in here}
    return found


_SHARED = sa.select(t.stage_runs.c.key).where(is_among(t.stage_runs.c.key), t.stage_runs.c.state.in_(SHARED))
