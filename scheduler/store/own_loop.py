"""Trials that somebody's own loop trains: begun, and told how they ended."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import OPEN_TRIALS, TrialState
from scheduler.store.writes import Writes, record_event


class OwnLoopWrites(Writes):
    def begin_trial(self, trial_id: int, parameters: Mapping[str, Any]) -> bool:
        """Give a waiting trial to the loop that asked, with all its parameters; whether it still waited."""
        with self._transaction() as (connection, now):
            sweep_id = connection.execute(
                t.trials.update()
                .where(t.trials.c.id == trial_id, t.trials.c.state == TrialState.WAITING)
                .values(state=TrialState.RUNNING, parameters=dict(parameters))
                .returning(t.trials.c.sweep_id)
            ).scalar_one_or_none()
            if sweep_id is not None:
                record_event(connection, now, "trial.running", sweep_id=sweep_id, trial_id=trial_id)
            return sweep_id is not None

    def tell_trial(
        self, trial_id: int, state: TrialState, *, values: Mapping[str, float] | None = None, reason: str | None = None
    ) -> bool:
        """End a trial with its values, or without any; whether it was still open."""
        with self._transaction() as (connection, now):
            row = connection.execute(
                locked(sa.select(t.trials).where(t.trials.c.id == trial_id, t.trials.c.state.in_(OPEN_TRIALS)))
            ).one_or_none()
            if row is None:
                return False
            attributes = dict(row.attributes) if values is None else {**row.attributes, "told": dict(values)}
            connection.execute(
                t.trials.update().where(t.trials.c.id == trial_id).values(state=state, ended=now, attributes=attributes)
            )
            record_event(
                connection, now, f"trial.{state}", sweep_id=row.sweep_id, trial_id=trial_id, reason=reason, told=values
            )
            return True
