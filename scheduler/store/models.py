"""The registry's versions, aliases and tags."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import lock_name
from scheduler.store.writes import Writes, record_event

PROMOTED, ROLLED_BACK = "promoted", "rolled back"


class ModelWrites(Writes):
    def register_model(
        self,
        *,
        name: str,
        trial_id: int,
        stage_run_id: int,
        uri: str,
        sha256: str,
        aliases: Sequence[str],
        by: str = "scheduler",
        facts: Mapping[str, Any] | None = None,
    ) -> int:
        """The version of a model that is this bundle, a new one unless it has been registered, under these aliases.

        An alias points to one version, so earlier ones lose it. by: who moves it; facts: what the event says of it.
        """
        with self._transaction() as (connection, now):
            lock_name(connection, f"model {name}")
            versions = connection.execute(
                sa.select(t.models).where(t.models.c.name == name).order_by(t.models.c.version)
            ).all()
            same = [row for row in versions if (row.stage_run_id, row.uri) == (stage_run_id, uri)]
            if same:
                model_id, version = same[-1].id, same[-1].version
            else:
                version = 1 + max((row.version for row in versions), default=0)
                model_id = connection.execute(
                    t.models.insert().values(
                        name=name,
                        version=version,
                        trial_id=trial_id,
                        stage_run_id=stage_run_id,
                        uri=uri,
                        sha256=sha256,
                        aliases=[],
                        tags=[],
                        created=now,
                    )
                ).inserted_primary_key[0]
                record_event(
                    connection,
                    now,
                    "model.registered",
                    sweep_id=_sweep_of(connection, trial_id),
                    trial_id=trial_id,
                    stage_run_id=stage_run_id,
                    name=name,
                    version=version,
                )
            for alias in aliases:
                _move_alias(connection, now, model_id, alias, act=PROMOTED, by=by, facts=facts)
            return version

    def move_alias(self, model_id: int, alias: str, *, by: str) -> bool:
        """Give a version an alias, which another version of the model loses; whether it was not there already."""
        with self._transaction() as (connection, now):
            _locked(connection, model_id)
            return _move_alias(connection, now, model_id, alias, act=PROMOTED, by=by)

    def roll_back_alias(self, name: str, alias: str, *, by: str) -> int | None:
        """Give an alias back to the version that had it before; None where there is none.

        The version's number. Rolling back twice goes back two promotions.
        """
        with self._transaction() as (connection, now):
            lock_name(connection, f"model {name}")
            moves = connection.execute(
                sa.select(t.alias_moves)
                .where(t.alias_moves.c.name == name, t.alias_moves.c.alias == alias)
                .order_by(t.alias_moves.c.id)
            ).all()
            had: list[int] = []  # the versions that had it, as far as no move back took it away
            for move in moves:
                if move.act == PROMOTED:
                    had.append(move.model_id)
                elif had:
                    had.pop()
            if len(had) < 2:
                return None
            _move_alias(connection, now, had[-2], alias, act=ROLLED_BACK, by=by)
            return connection.scalar(sa.select(t.models.c.version).where(t.models.c.id == had[-2]))

    def tag_model(self, model_id: int, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
        """Add and take away words of a version; returns those that it has then."""
        with self._transaction() as (connection, now):
            row = _locked(connection, model_id)
            tags = [tag for tag in dict.fromkeys((*row.tags, *add)) if tag not in remove]
            if tags != row.tags:
                connection.execute(t.models.update().where(t.models.c.id == model_id).values(tags=tags))
                record_event(connection, now, "model.tagged", name=row.name, version=row.version, tags=tags)
            return tuple(tags)


def _move_alias(
    connection: sa.Connection,
    now: float,
    model_id: int,
    alias: str,
    *,
    act: str,
    by: str,
    facts: Mapping[str, Any] | None = None,
) -> bool:
    """Move an alias to a version, with its row in the history; whether that version did not have it already."""
    moved = connection.execute(sa.select(t.models).where(t.models.c.id == model_id)).one()
    if alias in moved.aliases:
        return False
    for row in connection.execute(sa.select(t.models).where(t.models.c.name == moved.name)).all():
        kept = [other for other in row.aliases if other != alias]
        if row.id == model_id:
            kept.append(alias)
        if kept != row.aliases:
            connection.execute(t.models.update().where(t.models.c.id == row.id).values(aliases=kept))
    connection.execute(
        t.alias_moves.insert().values(model_id=model_id, name=moved.name, alias=alias, act=act, moved_by=by, at=now)
    )
    record_event(
        connection,
        now,
        f"model.{act.replace(' ', '_')}",
        sweep_id=_sweep_of(connection, moved.trial_id),
        trial_id=moved.trial_id,
        stage_run_id=moved.stage_run_id,
        name=moved.name,
        version=moved.version,
        alias=alias,
        by=by,
        **(facts or {}),
    )
    return True


def _locked(connection: sa.Connection, model_id: int) -> sa.Row:
    """A version, its model locked until the transaction ends: two who move an alias must not both find it elsewhere."""
    name = connection.scalar(sa.select(t.models.c.name).where(t.models.c.id == model_id))
    lock_name(connection, f"model {name}")
    return connection.execute(sa.select(t.models).where(t.models.c.id == model_id)).one()


def _sweep_of(connection: sa.Connection, trial_id: int) -> int:
    return connection.scalar(sa.select(t.trials.c.sweep_id).where(t.trials.c.id == trial_id))
