"""Room on the home's disk: no work is given out while what it would write might not fit."""

import shutil

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.amounts import bytes_text
from scheduler.database import Database
from scheduler.home import Home

LEAST_BYTES = 64 * 2**20  # for the database, samples and logs
RECENT = 1000  # checkpoints among which the largest is looked for


def shortage(home: Home, database: Database) -> str | None:
    """What a person must know to make room; None where a checkpoint of every worker, and one more, would fit."""
    with database.read.begin() as connection:
        largest, workers = connection.execute(_NEEDS).one()
    needed = LEAST_BYTES + (workers + 1) * largest
    free = shutil.disk_usage(home.path).free
    if free >= needed:
        return None
    return (
        f"the disk of {home.path} has {bytes_text(free)} left, less than the {bytes_text(needed)} that what is trained "
        "next may need; make room, for example with `t2f gc --quota SIZE`, and it goes on by itself"
    )


_recent = sa.select(t.checkpoints.c.bytes).order_by(t.checkpoints.c.id.desc()).limit(RECENT).subquery()
_NEEDS = sa.select(
    sa.select(sa.func.coalesce(sa.func.max(_recent.c.bytes), 0)).scalar_subquery(),
    sa.select(sa.func.count()).where(t.workers.c.ended.is_(None)).scalar_subquery(),
)
