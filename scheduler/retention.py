"""Which checkpoints are let go, decided from their rows.

- Inside a sealed stage a few moments are kept for timelapses, evenly over its images, as averaged weights alone. A
  stage that is still trained keeps its two newest checkpoints (the newer may be damaged) and the moments so far.
- The full state of a sealed stage is kept, and collected only over the quota: the oldest first, never of a stage run
  that an open trial is on. Its averaged weights stay. What was abandoned in the middle goes likewise, whole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from scheduler.states import BROKEN, RunState
from scheduler.store.rows import STATE

MOMENTS = 8  # checkpoints inside a stage that stay when it is sealed
NEWEST = 2  # checkpoints that a stage run can go on from while it is trained


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint as its row says, with what is known of its stage run."""

    id: int
    stage_run_id: int
    images: int
    attempt: int
    uri: str
    sha256: str
    bytes: int
    sealed: bool
    content: str
    created: float
    state: RunState
    stage_images: int  # when the stage ends
    is_wanted: bool  # by an open trial
    is_measured: bool  # an evaluation is about to read it


@dataclass(frozen=True, kw_only=True)
class Step:
    """Some checkpoints of one stage run that go, or shrink to their averaged weights."""

    checkpoints: tuple[Kept, ...]
    shrinks: bool
    why: str
    whole_run: bool = False  # an abandoned stage run loses all that it has


def thinned(checkpoints: Iterable[Kept]) -> list[Step]:
    """What goes whatever the quota: older checkpoints inside stages. They come by stage run, then by images."""
    steps = []
    for _, group in groupby(checkpoints, key=attrgetter("stage_run_id")):
        of_run = list(group)
        inside = [one for one in of_run if not one.sealed]
        is_sealed = of_run[0].state == RunState.DONE
        stay = moments(inside, of_run[0].stage_images)
        if not is_sealed:
            stay |= {one.id for one in [one for one in inside if one.content == STATE][-NEWEST:]}
        gone = tuple(one for one in inside if one.id not in stay)
        if gone:
            steps.append(Step(checkpoints=gone, shrinks=False, why="inside a stage, older than what is kept"))
        if is_sealed:
            steps += [
                Step(checkpoints=(one,), shrinks=True, why="a moment of a sealed stage: its averaged weights stay")
                for one in inside
                if one.id in stay and one.content == STATE
            ]
    return steps


def moments(inside: Sequence[Kept], stage_images: int) -> set[int]:
    """The ids of the checkpoints nearest to MOMENTS places, evenly over the stage's images, as far as it has come."""
    newest = {one.images: one for one in inside}  # of several attempts at one place the last
    found = set()
    for place in range(1, MOMENTS + 1):
        wanted = stage_images * place / (MOMENTS + 1)
        if newest and max(newest) >= wanted:
            found.add(newest[min(newest, key=lambda images: (abs(images - wanted), images))].id)
    return found


def over_quota(checkpoints: Iterable[Kept], *, used: int, quota: int, ema_bytes: Callable[[Kept], int]) -> list[Step]:
    """What is collected so that `used` bytes come down to `quota`, as far as that is possible: the oldest first.

    ema_bytes: what a checkpoint's averaged weights take.
    """
    runs = [list(group) for _, group in groupby(checkpoints, key=attrgetter("stage_run_id"))]
    candidates = [step for run in runs if (step := _collectable(run)) is not None]
    steps = []
    for step in sorted(candidates, key=lambda step: max(one.created for one in step.checkpoints)):
        if used <= quota:
            break
        freed = sum(one.bytes for one in step.checkpoints)
        if step.shrinks:
            freed -= sum(map(ema_bytes, step.checkpoints))
        if freed > 0:
            used -= freed
            steps.append(step)
    return steps


def _collectable(run: Sequence[Kept]) -> Step | None:
    first = run[0]
    if first.is_wanted or first.is_measured:
        return None
    if first.state == RunState.DONE:
        sealed = tuple(one for one in run if one.sealed and one.content == STATE)
        why = "over the quota: the full state of a sealed stage, which can be trained again"
        return Step(checkpoints=sealed, shrinks=True, why=why) if sealed else None
    inside = tuple(one for one in run if not one.sealed)
    if first.state in BROKEN and inside:
        why = f"over the quota: a {first.state} stage run that nobody wants"
        return Step(checkpoints=inside, shrinks=False, why=why, whole_run=True)
    return None
