"""Which scheduler leads."""

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import locked, upsert
from scheduler.store.writes import Writes


class LeaderWrites(Writes):
    def lead(self, holder: str, lease_seconds: float) -> int | None:
        """The term under which `holder` leads, its lease renewed in time; None while another one leads."""
        with self._transaction() as (connection, now):
            connection.execute(
                upsert(connection, t.leader)
                .values(id=1, holder=holder, term=1, lease_until=now + lease_seconds)
                .on_conflict_do_nothing()
            )
            row = connection.execute(
                locked(sa.select(t.leader.c.holder, t.leader.c.term, t.leader.c.lease_until))
            ).one()
            if row.holder != holder and row.lease_until >= now:
                return None
            if row.holder == holder and row.lease_until - now > lease_seconds * 2 / 3:
                return row.term  # long enough yet: a turn of the loop need not wait for the disk
            term = row.term if row.holder == holder else row.term + 1
            renewed = {"holder": holder, "term": term, "lease_until": now + lease_seconds}
            if term != row.term:
                renewed["held_up"] = None
            connection.execute(t.leader.update().values(renewed))
            return term

    def hold_up(self, holder: str, term: int, why: str | None) -> None:
        """Say why this leader gives out no work; None: it does again."""
        with self._transaction() as (connection, _):
            mine = (t.leader.c.holder == holder, t.leader.c.term == term)
            connection.execute(t.leader.update().where(*mine).values(held_up=why))

    def resign(self, holder: str, term: int) -> None:
        with self._transaction() as (connection, _):
            connection.execute(
                t.leader.update().where(t.leader.c.holder == holder, t.leader.c.term == term).values(lease_until=0.0)
            )
