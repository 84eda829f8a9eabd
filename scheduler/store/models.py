"""The registry's versions and aliases."""

from collections.abc import Sequence

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import lock_name
from scheduler.store.writes import Writes, record_event


class ModelWrites(Writes):
    def register_model(
        self, *, name: str, trial_id: int, stage_run_id: int, uri: str, sha256: str, aliases: Sequence[str]
    ) -> int:
        """A new version of the model; an alias points to one version, so earlier ones lose it."""
        with self._transaction() as (connection, now):
            lock_name(connection, f"model {name}")
            versions = connection.execute(sa.select(t.models).where(t.models.c.name == name)).all()
            for row in versions:
                connection.execute(
                    t.models.update()
                    .where(t.models.c.id == row.id)
                    .values(aliases=[alias for alias in row.aliases if alias not in aliases])
                )
            version = 1 + max((row.version for row in versions), default=0)
            connection.execute(
                t.models.insert().values(
                    name=name,
                    version=version,
                    trial_id=trial_id,
                    stage_run_id=stage_run_id,
                    uri=uri,
                    sha256=sha256,
                    aliases=list(aliases),
                    created=now,
                )
            )
            record_event(connection, now, "model.registered", trial_id=trial_id, name=name, version=version)
            return version
