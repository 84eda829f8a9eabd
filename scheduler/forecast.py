"""How long a training will take: learned from the attempts of this home that have ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.states import Outcome

NEWEST = 1000  # attempts that are looked at: machines and code change
# Where nothing was measured, one image at 2R px is taken for so much dearer than one at R px. Only order rests on it.
COST_OF_DOUBLING = 2.0


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What training at one resolution was measured to cost."""

    seconds_per_image: float
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What is known, by resolution."""

    by_resolution: Mapping[int, Speed] = field(default_factory=dict)

    def seconds(self, stages: Iterable[tuple[int, int]]) -> float:
        """Device seconds of stages (resolution, images), guessed from the nearest resolution where nothing is known."""
        return sum(images * self._seconds_per_image(resolution) for resolution, images in stages)

    def _seconds_per_image(self, resolution: int) -> float:
        if resolution in self.by_resolution:
            return self.by_resolution[resolution].seconds_per_image
        if not self.by_resolution:
            return 1e-3 * COST_OF_DOUBLING ** (resolution.bit_length() - 3)
        near = min(self.by_resolution, key=lambda known: (abs(known.bit_length() - resolution.bit_length()), known))
        doublings = resolution.bit_length() - near.bit_length()
        return self.by_resolution[near].seconds_per_image * COST_OF_DOUBLING**doublings


def speeds(database: Database) -> Speeds:
    """By resolution, from the newest attempts that came to a stage's end."""
    newest = (
        sa.select(t.attempts)
        .where(t.attempts.c.outcome == Outcome.DONE, t.attempts.c.started.is_not(None))
        .order_by(t.attempts.c.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    statement = (
        sa.select(
            t.stage_runs.c.resolution,
            sa.func.count().label("attempts"),
            sa.func.sum(newest.c.ended - newest.c.started).label("seconds"),
            sa.func.sum(t.stage_runs.c.images - newest.c.start_images).label("images"),
        )
        .join(t.stage_runs, t.stage_runs.c.id == newest.c.stage_run_id)
        .group_by(t.stage_runs.c.resolution)
    )
    with database.read.begin() as connection:
        return Speeds(
            by_resolution={
                row.resolution: Speed(seconds_per_image=float(row.seconds) / float(row.images), attempts=row.attempts)
                for row in connection.execute(statement)
                if row.images and row.seconds
            }
        )
