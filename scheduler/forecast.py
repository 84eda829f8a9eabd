"""How long a training will take and what it leaves: learned from the attempts of this home that came to an end."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.labels import NO_LABELS, Labels, serves
from scheduler.states import Outcome
from t2f.spec import StagePlan, StageSpec

NEWEST = 1000  # attempts that are looked at: machines and code change
ENOUGH = 3  # attempts with the same settings, for the others to be left aside
# Where nothing was measured, an image at 2R px is taken for so much dearer than one at R px. Only order rests on it.
COST_OF_DOUBLING = 2.0
# What decides how long an image takes, besides the device and the resolution.
DEAR_SETTINGS = (
    "text.encoder",
    "text.hidden",
    "text.layers",
    "network.feature_base",
    "network.feature_max",
    "loss.name",
    "loss.penalty_interval",
    "augment.method",
    "compute.precision",
    "compute.micro_batch",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One attempt that trained a stage to its end."""

    resolution: int
    device: str
    settings: tuple[Any, ...]  # the batch, and the values of DEAR_SETTINGS
    images: int
    seconds: float
    num_bytes: int  # of the sealed checkpoint


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What training at one resolution was measured to cost."""

    seconds_per_image: float
    bytes_per_checkpoint: float
    attempts: int
    same_settings: bool  # only attempts with the same settings were used


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


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """The stage runs of one resolution; None where no attempt at it has been measured."""

    resolution: int
    stage_runs: int
    here: int  # of these, in the home already, for other sweeps: they cost nothing more
    seconds_per_1000_images: float | None
    attempts: int  # that this was learned from
    same_settings: bool
    device_seconds: float | None
    checkpoint_bytes: float | None  # of their sealed states


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a sweep will take if no trial is stopped early."""

    device: str | None  # that the speeds were measured on
    workers: int  # that are alive now and have the labels it wants
    stages: Sequence[StageForecast]
    device_seconds: float | None  # None: unknown at some resolution
    wall_seconds: float | None  # on the present workers; None without workers too
    checkpoint_bytes: float | None


def measured(database: Database) -> list[Measured]:
    """The newest attempts that came to a stage's end."""
    newest = (
        sa.select(t.attempts)
        .where(t.attempts.c.outcome == Outcome.DONE, t.attempts.c.started.is_not(None))
        .order_by(t.attempts.c.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    statement = (
        sa.select(newest, t.stage_runs.c.spec, t.stage_runs.c.resolution, t.stage_runs.c.images, t.checkpoints.c.bytes)
        .join(t.stage_runs, t.stage_runs.c.id == newest.c.stage_run_id)
        .join(
            t.checkpoints,
            sa.and_(
                t.checkpoints.c.stage_run_id == newest.c.stage_run_id,
                t.checkpoints.c.attempt == newest.c.number,
                t.checkpoints.c.sealed == 1,
            ),
        )
    )
    with database.read.begin() as connection:
        return [
            Measured(
                resolution=row.resolution,
                device=(row.numerics_class or "").partition(" | ")[0],
                settings=dear_settings(row.spec),
                images=row.images - (row.start_images or 0),
                seconds=row.ended - row.started,
                num_bytes=row.bytes,
            )
            for row in connection.execute(statement)
            if row.images > (row.start_images or 0) and row.ended > row.started
        ]


def dear_settings(stage: Mapping[str, Any]) -> tuple[Any, ...]:
    """Of a stage as `StageSpec.to_json()` gives it."""
    return (stage["batch"], *(stage["settings"].get(name) for name in DEAR_SETTINGS))


def speeds(attempts: Sequence[Measured], like: Mapping[int, tuple[Any, ...]]) -> Speeds:
    """By resolution: of the attempts with these settings where there are enough of them, else of all.

    like: resolution -> `dear_settings` of what is to be trained.
    """
    found = {}
    for resolution in {one.resolution for one in attempts}:
        here = [one for one in attempts if one.resolution == resolution]
        same = [one for one in here if one.settings == like.get(resolution)]
        used = same if len(same) >= ENOUGH else here
        found[resolution] = Speed(
            seconds_per_image=sum(one.seconds for one in used) / sum(one.images for one in used),
            bytes_per_checkpoint=sum(one.num_bytes for one in used) / len(used),
            attempts=len(used),
            same_settings=used is same,
        )
    return Speeds(by_resolution=found)


def forecast(
    database: Database | None,
    plan: StagePlan,
    stages: Sequence[StageSpec],
    stage_runs: Mapping[int, int],
    *,
    here: Mapping[int, int] | None = None,
    labels: Labels = NO_LABELS,
) -> Forecast:
    """What these distinct stage runs (resolution -> number) will take on the workers that are alive now.

    stages: of a typical trial, whose settings decide which attempts are like it. here: resolution -> those among the
    stage runs that need no training. labels: that a worker must have.
    """
    workers = [] if database is None else _devices_of_workers(database, labels)
    attempts = [] if database is None else measured(database)
    # Speeds of different devices are never mixed: the present workers' counts, else the one most was trained on.
    known = Counter(one.device for one in attempts)
    present = Counter(device for device in workers if device in known)
    device = next(iter((present or known).most_common(1)), (None, 0))[0]
    like = {stage.resolution: dear_settings(stage.to_json()) for stage in stages}
    learned = speeds([one for one in attempts if one.device == device], like)
    found, path = [], 0.0
    for resolution, images in zip(plan.resolutions, plan.images, strict=True):
        count, speed = stage_runs.get(resolution, 0), learned.by_resolution.get(resolution)
        new = count - (here or {}).get(resolution, 0)
        seconds = None if speed is None else images * speed.seconds_per_image
        path += seconds if seconds is not None and new else 0.0
        found.append(
            StageForecast(
                resolution=resolution,
                stage_runs=count,
                here=count - new,
                seconds_per_1000_images=None if speed is None else 1000 * speed.seconds_per_image,
                attempts=0 if speed is None else speed.attempts,
                same_settings=speed is not None and speed.same_settings,
                device_seconds=_cost(new, seconds),
                checkpoint_bytes=_cost(new, None if speed is None else speed.bytes_per_checkpoint),
            )
        )
    device_seconds = _total([one.device_seconds for one in found])
    wall = None
    if device_seconds is not None and workers:
        # No number of workers trains one path faster than its stages one after another.
        wall = max(device_seconds / len(workers), path)
    return Forecast(
        device=device,
        workers=len(workers),
        stages=found,
        device_seconds=device_seconds,
        wall_seconds=wall,
        checkpoint_bytes=_total([one.checkpoint_bytes for one in found]),
    )


def _devices_of_workers(database: Database, labels: Labels) -> list[str]:
    """Of those that are alive and have the labels."""
    alive = sa.select(t.workers.c.device, t.workers.c.labels).where(t.workers.c.ended.is_(None))
    with database.read.begin() as connection:
        return [worker.device for worker in connection.execute(alive) if serves(worker.labels, labels)]


def _cost(count: int, each: float | None) -> float | None:
    """What so many cost; nothing costs nothing, even where the cost of one is unknown."""
    return 0.0 if count == 0 else None if each is None else count * each


def _total(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(values)
