"""What sweeps have of the devices over time: the sums, the queue that goes by them, and what is kept of it."""

import heapq
import itertools
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa

from scheduler import tables as t
from scheduler.fair_share import FORGET_SECONDS, FairShare, earned, fair_devices, wanting
from scheduler.store.queue import fairest
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.conftest import standing

ANY = [{}]  # labels of the workers that are alive


@pytest.mark.parametrize(
    ("found", "workers", "waiting"),
    [
        ([standing(1), standing(2)], ANY, {1, 2}),
        ([standing(1), standing(2, priority=60)], ANY, {2}),
        ([standing(1), standing(2, priority=None)], ANY, {1}),
        ([standing(1), standing(2, max_workers=1, running=1)], ANY, {1}),
        ([standing(1), standing(2, labels={"pool": "a"}, priority=60)], ANY, {1}),
        ([standing(1), standing(2, labels={"pool": "a"}, priority=60)], [{}, {"pool": "a"}], {2}),
        ([standing(1)], [], set()),
        ([], ANY, set()),
    ],
)
def test_who_waits_for_a_worker(found, workers, waiting):
    assert wanting(found, workers) == waiting


@pytest.mark.parametrize(
    ("found", "waiting", "fair"),
    [
        ([standing(1, devices=2.0), standing(2)], {1, 2}, {1: 1.0, 2: 1.0}),
        ([standing(1, devices=1.0, share=3.0), standing(2, devices=1.0)], {1, 2}, {1: 1.5, 2: 0.5}),
        # Who waits for nothing leaves what it does not hold to the others, and holds on to no more than its part.
        ([standing(1, devices=1.0), standing(2, devices=5.0)], {2}, {1: 1.0, 2: 5.0}),
        ([standing(1, devices=5.0), standing(2, devices=1.0)], {2}, {1: 3.0, 2: 3.0}),
        (
            [standing(1, devices=0.5), standing(2, devices=2.0), standing(3, devices=3.5)],
            {3},
            {1: 0.5, 2: 2.0, 3: 3.5},
        ),
        ([standing(1), standing(2)], {1, 2}, {1: 0.0, 2: 0.0}),
        ([], set(), {}),
    ],
)
def test_what_each_should_hold(found, waiting, fair):
    assert fair_devices(found, waiting) == pytest.approx(fair)


def test_credits_add_up_to_nothing_and_a_lone_sweep_earns_none():
    rivals = [standing(1, devices=3.0, share=0.7), standing(2, devices=1.0, share=2.0), standing(3)]
    changes = earned(rivals, ANY, 10.0)
    assert sum(changes.values()) == pytest.approx(0.0)
    assert changes[1] == pytest.approx(10 * (4 * 0.7 / 3.7 - 3))
    assert earned([standing(1, devices=3.0, share=0.7)], ANY, 10.0) == {}
    assert earned([standing(1, devices=3.0, priority=60), standing(2, priority=50)], ANY, 10.0) == {}


def test_who_neither_waits_nor_holds_forgets_its_credit():
    idle = standing(1, priority=None, credit=80.0)
    assert earned([idle], ANY, FORGET_SECONDS) == pytest.approx({1: -40.0})
    assert earned([replace(idle, credit=-0.005)], ANY, 0.5) == pytest.approx({1: 0.005})
    assert earned([replace(idle, credit=0.0)], ANY, 0.5) == {}


def shares_of(workers: int, sweeps: dict[int, tuple[float, float]], seconds: float) -> dict[int, float]:
    """Sweep id -> its part of the device time. sweeps: id -> share, seconds of each of its endless stage runs."""
    credit, served, running = Counter(), Counter(), {}
    now, numbers = 0.0, itertools.count()
    ends: list[tuple[float, int]] = []
    while now < seconds:
        standings = [standing(one, share=share, credit=credit[one]) for one, (share, _) in sweeps.items()]
        while len(running) < workers:
            held = Counter(running.values())
            turn = fairest([replace(one, devices=float(held[one.sweep_id])) for one in standings], {})
            number = next(numbers)
            running[number] = turn.sweep_id
            heapq.heappush(ends, (now + sweeps[turn.sweep_id][1], number))
        held = Counter(running.values())
        then = min(ends[0][0], now + 0.5)
        credit.update(earned([replace(one, devices=float(held[one.sweep_id])) for one in standings], ANY, then - now))
        for one, devices in held.items():
            served[one] += devices * (then - now)
        now = then
        while ends and ends[0][0] <= now:
            del running[heapq.heappop(ends)[1]]
    return {one: served[one] / (workers * now) for one in sweeps}


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "sweeps",
    [
        {1: (1.0, 1.3), 2: (3.0, 1.3)},
        {1: (1.0, 7.0), 2: (1.0, 60.0)},
        {1: (1.0, 60.0), 2: (1.0, 61.0), 3: (2.0, 400.0)},
        {1: (1.0, 3.0), 2: (10.0, 2.0)},
    ],
)
def test_over_time_every_sweep_gets_its_share_on_however_few_workers(workers, sweeps):
    longest = max(length for _, length in sweeps.values())
    found = shares_of(workers, sweeps, 30 * longest)
    whole = sum(share for share, _ in sweeps.values())
    assert found == pytest.approx({one: share / whole for one, (share, _) in sweeps.items()}, abs=0.04)


def test_a_debt_moves_no_more_than_one_worker():
    """A newcomer gets its part at any time, however long the other one had all devices to itself."""
    old, new = standing(1, devices=4.0, credit=-1e6), standing(2, devices=4.0, credit=1e6)
    assert fairest([old, new], {}).sweep_id == 2
    assert fairest([replace(old, devices=2.0), replace(new, devices=6.0)], {}).sweep_id == 1


def test_the_scheduler_writes_what_was_earned_and_the_next_claim_goes_by_it(store, submit):
    sweep = (
        "name: x\ndata: {dataset: tiny}\npreset: small\nseed: %d\n"
        "stages: {resolutions: [4, 8], images: [1000, 1000], batch: 8}\n"
        "parameters: {generator.learning_rate: {values: [0.001, 0.002, 0.003]}}\n"
        "probe: {captions: [long pink hair], seeds: 2, images: 16}\n"
    )
    old, new = (submit(sweep % seed, name=name).id for seed, name in enumerate(["old", "new"]))
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)

    def credits() -> dict[int, float]:
        with store.database.read.begin() as connection:
            return {row.id: row.credit for row in connection.execute(sa.select(t.sweeps))}

    def owner() -> int:
        with store.database.read.begin() as connection:
            return connection.scalar(sa.select(t.attempts.c.sweep_id).order_by(t.attempts.c.id.desc()).limit(1))

    share = FairShare(store, clock=iter([0.0, 4.0, 4.5, 6.0, 8.0, 9.0]).__next__)
    job = claim(store, worker)
    start(store, job)
    assert owner() == old
    share.turn(has_rivals=True)
    assert credits() == {old: 0.0, new: 0.0}, "nothing is known of the time before"
    share.turn(has_rivals=True)
    assert credits() == pytest.approx({old: -2.0, new: 2.0})
    finish(store, job)
    share.turn(has_rivals=True)
    assert credits() == pytest.approx({old: -2.0, new: 2.0}), "half a second later it is not written yet"
    job = claim(store, worker)
    while job.kind == "evaluate":
        start(store, job)
        finish(store, job, score=0.5)
        job = claim(store, worker)
    assert owner() == new
    share.turn(has_rivals=True)
    assert credits() == pytest.approx({old: -2.25, new: 2.25}), "then with what had been earned by then"
    share.turn(has_rivals=False)
    share.turn(has_rivals=False)
    assert credits() == pytest.approx({old: -1.25, new: 1.25}), "up to when the other one ended"
