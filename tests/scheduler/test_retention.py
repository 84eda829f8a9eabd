"""Which checkpoints go: decided from rows alone."""

import pytest

from scheduler.retention import MOMENTS, Kept, moments, over_quota, thinned
from scheduler.states import RunState


def kept(id: int, *, run: int = 1, images: int = 40, sealed: bool = False, **changes) -> Kept:
    values = {"attempt": 1, "uri": f"{id}", "sha256": "", "bytes": 100, "content": "state", "created": float(id)}
    values |= {"state": RunState.DONE, "stage_images": 1000, "is_wanted": False, "is_measured": False}
    return Kept(id=id, stage_run_id=run, images=images, sealed=sealed, **{**values, **changes})


def inside(count: int, **changes) -> list[Kept]:
    return [kept(number, images=10 * number, **changes) for number in range(1, count + 1)]


def gone(steps, *, shrinks: bool) -> list[int]:
    return [one.id for step in steps if step.shrinks == shrinks for one in step.checkpoints]


def test_of_a_sealed_stage_moments_stay_evenly_as_averaged_weights():
    steps = thinned([*inside(99), kept(100, images=1000, sealed=True)])
    shrunk = gone(steps, shrinks=True)
    assert shrunk == [11, 22, 33, 44, 56, 67, 78, 89]
    assert len(shrunk) == MOMENTS
    assert sorted([*gone(steps, shrinks=False), *shrunk]) == list(range(1, 100))


def test_thinning_again_changes_nothing():
    left = [kept(one, images=10 * one, content="ema") for one in (11, 22, 33, 44, 56, 67, 78, 89)]
    assert thinned([*left, kept(100, images=1000, sealed=True)]) == []


def test_a_stage_in_training_keeps_its_newest_two_whole_and_its_moments():
    steps = thinned(inside(50, state=RunState.RUNNING))
    assert gone(steps, shrinks=True) == []
    assert set(range(1, 51)) - set(gone(steps, shrinks=False)) == {11, 22, 33, 44, 49, 50}
    assert thinned(inside(2, state=RunState.READY)) == []


def test_few_checkpoints_are_all_moments():
    assert moments(inside(3), 40) == {1, 2, 3}
    assert moments([], 40) == set()


def test_of_several_attempts_at_one_place_the_last_stays():
    twice = [kept(1, images=500), kept(2, images=500, attempt=2)]
    steps = thinned([*twice, kept(3, images=1000, sealed=True)])
    assert (gone(steps, shrinks=False), gone(steps, shrinks=True)) == ([1], [2])


def sealed(id: int, **changes) -> Kept:
    return kept(id, run=id, sealed=True, images=1000, **changes)


def collected(checkpoints, quota: int) -> list[int]:
    used = sum(one.bytes for one in checkpoints)
    return [
        step.checkpoints[0].id for step in over_quota(checkpoints, used=used, quota=quota, ema_bytes=lambda one: 20)
    ]


@pytest.mark.parametrize(
    ("quota", "expected"), [(1000, []), (300, []), (299, [1]), (220, [1]), (219, [1, 2]), (0, [1, 2, 3])]
)
def test_the_oldest_are_collected_until_the_quota_holds(quota, expected):
    assert collected([sealed(1), sealed(2), sealed(3)], quota) == expected


def test_the_oldest_by_when_they_were_sealed():
    assert collected([sealed(1, created=9.0), sealed(2, created=1.0)], 150) == [2]


@pytest.mark.parametrize(
    "changes",
    [
        {"is_wanted": True},
        {"is_measured": True},
        {"content": "ema"},
        {"state": RunState.RUNNING},
        {"bytes": 20},
    ],
)
def test_these_are_never_collected(changes):
    assert collected([sealed(1, **changes)], 0) == []


@pytest.mark.parametrize("state", [RunState.CANCELED, RunState.FAILED, RunState.DIVERGED])
def test_what_was_abandoned_in_the_middle_goes_whole(state):
    (step,) = over_quota(inside(2, state=state), used=200, quota=0, ema_bytes=lambda one: 20)
    assert (step.shrinks, step.whole_run, len(step.checkpoints)) == (False, True, 2)
    assert over_quota(inside(2, state=state, is_wanted=True), used=200, quota=0, ema_bytes=lambda one: 20) == []
    assert over_quota(inside(2, state=RunState.READY), used=200, quota=0, ema_bytes=lambda one: 20) == []
