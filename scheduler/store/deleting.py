"""Deleting a sweep: its rows, and those of stage runs that nobody else wants."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked
from scheduler.states import ACTIVE, OPEN_SWEEPS
from scheduler.store.rows import batches
from scheduler.store.trials import TrialWrites
from scheduler.store.writes import record_event


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """What goes with a sweep, by the rows of one moment."""

    trials: int
    stage_runs: tuple[int, ...]
    shared: int  # stage runs that stay, since other sweeps want them
    uris: tuple[str, ...]  # of their files
    models: tuple[int, ...]
    is_open: bool
    is_active: bool  # a worker still holds one of the stage runs, or an evaluation of one
    aliases: tuple[str, ...]  # further than `best`, of its models


class DeletionWrites(TrialWrites):
    def delete_sweep(self, sweep_id: int, *, by: str) -> Doomed | None:
        """Delete a sweep that has ended and what only it has; None where it is gone already.

        Nothing is deleted where what is returned is open or active, or has aliases. The files are the caller's.
        """
        with self._transaction() as (connection, now):
            connection.execute(locked(sa.select(t.sweeps.c.id).where(t.sweeps.c.id == sweep_id)))
            found = doomed(connection, sweep_id)
            if found is None or found.is_open or found.is_active or found.aliases:
                return found
            name = connection.scalar(sa.select(t.sweeps.c.name).where(t.sweeps.c.id == sweep_id))
            # Before events are deleted, so that its number is above theirs: readers go on after the last they saw.
            record_event(connection, now, "sweep.deleted", name=name, by=by, trials=found.trials, files=len(found.uris))
            connection.execute(t.models.delete().where(t.models.c.id.in_(found.models)))
            connection.execute(t.demands.delete().where(t.demands.c.sweep_id == sweep_id))
            self._delete_stage_runs(connection, found.stage_runs)
            self._hand_on_costs(connection, sweep_id)
            of_sweep = sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id)
            connection.execute(t.events.delete().where(t.events.c.trial_id.in_(of_sweep)))
            connection.execute(t.events.delete().where(t.events.c.sweep_id == sweep_id))
            connection.execute(t.trials.delete().where(t.trials.c.sweep_id == sweep_id))
            connection.execute(t.changes.delete().where(t.changes.c.sweep_id == sweep_id))
            connection.execute(t.sweeps.delete().where(t.sweeps.c.id == sweep_id))
            return found

    def _delete_stage_runs(self, connection: sa.Connection, stage_runs: tuple[int, ...]) -> None:
        for ids in batches(stage_runs):
            for table in (t.curves, t.evaluations, t.checkpoints, t.attempts, t.events):
                connection.execute(table.delete().where(table.c.stage_run_id.in_(ids)))
            # Whole branches go, so no row may hold another one back.
            connection.execute(t.stage_runs.update().where(t.stage_runs.c.id.in_(ids)).values(parent_id=None))
        for ids in batches(stage_runs):
            connection.execute(t.stage_runs.delete().where(t.stage_runs.c.id.in_(ids)))

    def _hand_on_costs(self, connection: sa.Connection, sweep_id: int) -> None:
        """What the sweep paid for and others use is theirs now: the one whose demand came first."""
        first = (
            sa.select(t.demands.c.sweep_id)
            .where(t.demands.c.stage_run_id == t.attempts.c.stage_run_id)
            .order_by(t.demands.c.id)
            .limit(1)
            .scalar_subquery()
        )
        connection.execute(t.attempts.update().where(t.attempts.c.sweep_id == sweep_id).values(sweep_id=first))


def doomed(connection: sa.Connection, sweep_id: int) -> Doomed | None:
    """What deleting the sweep would take away; None where there is none."""
    sweep = connection.execute(sa.select(t.sweeps).where(t.sweeps.c.id == sweep_id)).one_or_none()
    if sweep is None:
        return None
    trials = connection.scalar(sa.select(sa.func.count()).where(t.trials.c.sweep_id == sweep_id))
    own = set(
        connection.scalars(
            sa.select(t.demands.c.stage_run_id)
            .where(t.demands.c.sweep_id == sweep_id)
            .union(sa.select(t.attempts.c.stage_run_id).where(t.attempts.c.sweep_id == sweep_id))
        )
    )
    others = set(connection.scalars(sa.select(t.demands.c.stage_run_id).where(t.demands.c.sweep_id != sweep_id)))
    of_sweep = sa.select(t.trials.c.id).where(t.trials.c.sweep_id == sweep_id)
    models_elsewhere = sa.select(t.models.c.stage_run_id).where(t.models.c.trial_id.not_in(of_sweep))
    stage_runs = _orphans(connection, own, others | set(connection.scalars(models_elsewhere)))
    models = connection.execute(
        sa.select(t.models).join(t.trials, t.trials.c.id == t.models.c.trial_id).where(t.trials.c.sweep_id == sweep_id)
    ).all()
    uris = [model.uri for model in models]
    active = False
    for ids in batches(stage_runs):
        uris += connection.scalars(sa.select(t.checkpoints.c.uri).where(t.checkpoints.c.stage_run_id.in_(ids)))
        for row in connection.execute(sa.select(t.evaluations).where(t.evaluations.c.stage_run_id.in_(ids))):
            uris += sample_uris(row.samples)
            active = active or row.state in ACTIVE
        held = sa.select(t.stage_runs.c.id).where(t.stage_runs.c.id.in_(ids), t.stage_runs.c.state.in_(ACTIVE))
        active = active or connection.execute(held.limit(1)).one_or_none() is not None
    return Doomed(
        trials=trials,
        stage_runs=stage_runs,
        shared=len(own - set(stage_runs)),
        uris=tuple(uris),
        models=tuple(model.id for model in models),
        is_open=sweep.state in OPEN_SWEEPS,
        is_active=active,
        aliases=tuple(sorted({alias for model in models for alias in model.aliases if alias != "best"})),
    )


def sample_uris(samples: Mapping | None) -> tuple[str, ...]:
    """The files of an evaluation: its wall, and the values of single faces."""
    samples = samples or {}
    found = [samples.get("uri"), (samples.get("parts") or {}).get("uri")]
    return tuple(uri for uri in found if uri)


def _orphans(connection: sa.Connection, own: set[int], kept: set[int]) -> tuple[int, ...]:
    """Of the sweep's own stage runs, and of what nobody wants below them: those that can go."""
    rows = connection.execute(sa.select(t.stage_runs.c.id, t.stage_runs.c.parent_id, t.stage_runs.c.stage)).all()
    parents = {row.id: row.parent_id for row in rows}
    stays: set[int] = set()
    for run_id in kept:
        current: int | None = run_id
        while current is not None and current not in stays:
            stays.add(current)
            current = parents[current]
    goes: set[int] = set()
    for row in sorted(rows, key=lambda row: row.stage):
        if row.id not in stays and (row.id in own or row.parent_id in goes):
            goes.add(row.id)
    return tuple(sorted(goes))
