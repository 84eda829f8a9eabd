"""The queue's order, fair share, quotas, priorities and preemption, on a real database with a clock that tests move."""

import re

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling
from scheduler import tables as t
from scheduler.states import Outcome, RunState
from scheduler.store import Orders, StaleAttempt, queue
from scheduler.store.preempting import Running, order
from scheduler.store.queue import fairest
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.conftest import standing

A100, H100 = {"pool": "a100"}, {"pool": "h100"}
SWEEP = """
name: one
data: {dataset: tiny}
preset: small
seed: %(seed)d
stages: {resolutions: [4, 8], images: [1000, 1000], batch: 8}
parameters: {generator.learning_rate: {values: [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008]}}
resources: {%(resources)s}
probe: {captions: [long pink hair], seeds: 2, images: 16}
checkpoint: {seconds: 10}
"""


@pytest.fixture
def queued(submit):
    """Submits a sweep of eight trials that shares nothing with the others."""
    seeds = iter(range(100))

    def do(name: str, resources: str = ""):
        return submit(SWEEP % {"seed": next(seeds), "resources": resources}, name=name)

    return do


@pytest.fixture
def workers(store) -> list[int]:
    return [store.register_worker(name=f"w{n}", node="n", pid=n, device="cpu", share=1.0) for n in range(6)]


def owner(store, job) -> str:
    with store.database.read.begin() as connection:
        return connection.scalar(
            sa.select(t.sweeps.c.name)
            .join(t.attempts, t.attempts.c.sweep_id == t.sweeps.c.id)
            .where(t.attempts.c.claim_id == job.claim_id)
        )


@pytest.mark.parametrize(
    ("standings", "turn"),
    [
        ([standing(1), standing(2, priority=60)], 2),
        ([standing(1, devices=2.0), standing(2, devices=1.0)], 2),
        ([standing(1, devices=2.0, share=4.0), standing(2, devices=1.0)], 1),
        ([standing(2), standing(1)], 1),
        ([standing(1, max_workers=2, running=2, priority=90), standing(2)], 2),
        ([standing(1, max_workers=0)], None),
        ([standing(1, labels={"pool": "h100"}, priority=90), standing(2)], 2),
        ([standing(1, labels={"pool": "a100", "zone": "b"}, priority=90), standing(2)], 2),
        ([standing(1, labels={"pool": "a100"}, priority=90), standing(2)], 1),
        ([standing(1, labels={"pool": "a100"}), standing(2, priority=90)], 2),
        ([standing(1, labels={"pool": "h100"})], None),
        ([], None),
    ],
)
def test_whose_turn_it_is(standings, turn):
    found = fairest(standings, {"pool": "a100"})
    assert (found and found.sweep_id) == turn


def test_sweeps_of_one_priority_share_the_workers_by_weight(store, queued, workers):
    queued("light")
    queued("heavy", "share: 2")
    jobs = [claim(store, worker) for worker in workers]
    owners = [owner(store, job) for job in jobs]
    assert (owners.count("light"), owners.count("heavy")) == (2, 4)


def test_priority_goes_before_the_fair_share(store, queued, workers):
    queued("low")
    queued("high", "priority: 60")
    assert {owner(store, claim(store, worker)) for worker in workers} == {"high"}


def test_a_quota_is_never_exceeded_and_others_take_what_it_leaves(store, queued, workers):
    queued("limited", "max_workers: 2, priority: 90")
    queued("other")
    jobs = [claim(store, worker) for worker in workers]
    owners = [owner(store, job) for job in jobs]
    assert owners == ["limited", "limited", "other", "other", "other", "other"]
    start(store, jobs[0])
    finish(store, jobs[0])
    assert owner(store, claim(store, workers[0])) == "limited"


def test_the_longest_way_to_go_first_then_the_oldest(store, queued, workers):
    sweep = queued("s")
    with store.database.write.begin() as connection:
        ids = connection.scalars(sa.select(t.stage_runs.c.id).order_by(t.stage_runs.c.id)).all()
        connection.execute(t.stage_runs.update().where(t.stage_runs.c.id == ids[5]).values(remaining=1e6))
    assert [claim(store, worker).stage_run_id for worker in workers[:3]] == [ids[5], ids[0], ids[1]]
    assert not settling.settle(store, sweep)


def test_remaining_work_is_what_the_forecast_says_of_the_stages_to_come(store, submit, queued):
    queued("s")
    with store.database.read.begin() as connection:
        remaining = set(connection.scalars(sa.select(t.stage_runs.c.remaining)))
    assert remaining == {1000 * 1e-3 + 1000 * 2e-3}


def test_a_claim_reads_one_row_of_the_index_however_long_the_queue_is(store, queued):
    queued("s")
    for statement in (queue._STANDINGS, queue._NEXT, queue._NEXT_EVALUATIONS):
        sql = re.sub(r"__\[POSTCOMPILE_\w+\]", "'running'", str(statement.compile(store.database.write)))
        with store.database.read.begin() as connection:
            if connection.dialect.name != "sqlite":
                pytest.skip("the plan is read in SQLite's words")
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + re.sub(r"\?", "1", sql)).all()
        steps = [row[3] for row in plan]
        assert not [step for step in steps if "TEMP B-TREE" in step or "SCAN stage_runs" in step], steps
        assert not [step for step in steps if "SCAN evaluations" in step], steps


def test_a_priority_changes_while_a_sweep_runs(store, queued, workers):
    queued("first")
    queued("second")
    commands.edit_sweep(store, reads.sweep(store.database, "second"), {"resources.priority": 80}, by="test")
    assert {owner(store, claim(store, worker)) for worker in workers[:3]} == {"second"}
    assert reads.sweep(store.database, "second").resolved.priority == 80


# Labels


@pytest.fixture
def pools(store) -> dict[str, int]:
    """A worker of each pool, and one without labels."""
    labels = {"a100": {"pool": "a100", "ray.io/accelerator-type": "A100"}, "h100": {"pool": "h100"}, "plain": {}}
    return {
        name: store.register_worker(name=name, node="n", pid=1, device="cpu", share=1.0, labels=labels[name])
        for name in labels
    }


def test_a_claim_passes_over_sweeps_whose_labels_the_worker_does_not_have(store, queued, pools):
    queued("anywhere")
    queued("a", "labels: {pool: a100}, priority: 90")
    queued("h", "labels: {pool: h100}, priority: 80")
    queued("type", "labels: {ray.io/accelerator-type: A100, pool: a100}, priority: 95")
    assert owner(store, claim(store, pools["plain"])) == "anywhere"
    assert owner(store, claim(store, pools["h100"])) == "h"
    on_a100 = [owner(store, claim(store, pools["a100"])) for _ in range(17)]
    assert on_a100 == ["type"] * 8 + ["a"] * 8 + ["anywhere"]


def test_fair_share_and_quota_hold_among_the_sweeps_that_a_worker_serves(store, queued, pools):
    queued("a", "labels: {pool: a100}, max_workers: 1")
    queued("b", "labels: {pool: a100}, share: 2")
    queued("h", "labels: {pool: h100}, share: 1000")
    owners = [owner(store, claim(store, pools["a100"])) for _ in range(4)]
    assert owners == ["a", "b", "b", "b"]


def test_nothing_is_claimed_where_no_label_fits_and_the_same_claim_is_answered_again(store, queued, pools):
    queued("a", "labels: {pool: a100}")
    assert claim(store, pools["plain"]) is None
    assert claim(store, pools["h100"]) is None
    first = store.claim(pools["a100"], "again", lease_seconds=10)
    assert store.claim(pools["a100"], "again", lease_seconds=10) == first


def test_an_edit_of_the_labels_decides_from_the_next_claim_on(store, queued, pools):
    sweep = queued("a", "labels: {pool: a100}")
    assert claim(store, pools["h100"]) is None
    edit = commands.edit_sweep(store, sweep, {"resources.labels": {"pool": "h100"}}, by="me")
    assert edit.changes == {"resources.labels": (A100, H100)}
    assert claim(store, pools["a100"]) is None
    assert owner(store, claim(store, pools["h100"])) == "a"
    commands.edit_sweep(store, reads.sweep(store.database, "a"), {"resources.labels": {}}, by="me")
    assert owner(store, claim(store, pools["plain"])) == "a"


def test_evaluations_go_to_any_worker(store, queued, pools):
    sweep = queued("a", "labels: {pool: a100}")
    job = claim(store, pools["a100"])
    start(store, job)
    finish(store, job)
    settling.settle(store, sweep)
    measuring = claim(store, pools["plain"])
    assert (measuring.kind, measuring.stage_run_id) == ("evaluate", job.stage_run_id)
    assert claim(store, pools["plain"]) is None


def test_a_shared_stage_run_goes_to_the_workers_of_the_sweep_that_wanted_it_first(store, submit, pools):
    first = submit(SWEEP % {"seed": 0, "resources": "labels: {pool: a100}"}, name="first")
    second = submit(SWEEP % {"seed": 0, "resources": ""}, name="second")
    assert claim(store, pools["plain"]) is None
    store.cancel_sweep(first.id, reason="test")
    settling.settle(store, second)
    assert owner(store, claim(store, pools["plain"])) == "second"


def test_the_warm_child_is_still_taken_first(store, submit, pools):
    sweep = submit(SWEEP % {"seed": 0, "resources": "labels: {pool: a100}"}, name="s")
    jobs = [claim(store, pools["a100"]) for _ in range(8)]
    for job in jobs:
        start(store, job)
        finish(store, job)
    settling.settle(store, sweep)
    while (job := store.claim(pools["plain"], f"measure {len(jobs)}", lease_seconds=10)) is not None:
        start(store, job)
        finish(store, job)
        jobs.append(job)
    settling.settle(store, sweep)
    child = store.claim(pools["a100"], "warm", lease_seconds=10, warm_parent=jobs[5].stage_run_id)
    with store.database.read.begin() as connection:
        parent = connection.scalar(sa.select(t.stage_runs.c.parent_id).where(t.stage_runs.c.id == child.stage_run_id))
    assert parent == jobs[5].stage_run_id


# Preemption


def running(stage_run_id: int = 1, **values) -> Running:
    defaults = {"priority": 50, "ordered": False, "spared": False, "seconds_left": 1000.0, "checkpoint_seconds": 30.0}
    return Running(stage_run_id=stage_run_id, **{**defaults, **values})


URGENT = [standing(9, priority=90)]


@pytest.mark.parametrize(
    ("ready", "waiting", "active", "expected"),
    [
        (URGENT, 1, [running(1), running(2, priority=40)], 2),
        (URGENT, 1, [running(1), running(2, seconds_left=2000.0)], 2),
        (URGENT, 1, [running(1, priority=90)], None),
        (URGENT, 1, [running(1, spared=True)], None),
        (URGENT, 1, [running(1, seconds_left=59.0)], None),
        (URGENT, 1, [running(1, seconds_left=None)], 1),
        (URGENT, 1, [running(1, ordered=True), running(2)], None),
        (URGENT, 2, [running(1, ordered=True), running(2)], 2),
        ([standing(9, priority=90, max_workers=1, running=1)], 1, [running(1)], None),
        ([], 0, [running(1)], None),
    ],
)
def test_who_makes_room(ready, waiting, active, expected):
    found = order([(one, waiting) for one in ready], [], active)
    assert (found and found.leaves.stage_run_id) == expected


WANTS_A100 = standing(9, priority=90, labels=A100)
ON_A100, ON_H100 = running(1, labels=A100), running(2, priority=10, labels=H100)


@pytest.mark.parametrize(
    ("ready", "idle", "active", "expected"),
    [
        ([(WANTS_A100, 1)], [], [ON_A100, ON_H100], 1),
        ([(WANTS_A100, 1)], [], [ON_H100], None),
        ([(WANTS_A100, 1)], [H100], [ON_A100], 1),
        ([(WANTS_A100, 1)], [A100], [ON_A100], None),
        ([(WANTS_A100, 2)], [A100], [ON_A100], 1),
        # A worker that is left free is of no use to the other one.
        ([(WANTS_A100, 1)], [], [ON_A100, running(3, ordered=True, labels=H100)], 1),
        ([(WANTS_A100, 1)], [], [ON_A100, running(3, ordered=True, labels=A100)], None),
        # Where the most urgent one can use nobody's worker, the next one is looked at.
        ([(WANTS_A100, 1), (standing(8, priority=80), 1)], [], [ON_H100], 2),
        ([(WANTS_A100, 1), (standing(8, priority=5), 1)], [], [ON_H100], None),
    ],
)
def test_who_makes_room_where_labels_are_wanted(ready, idle, active, expected):
    found = order(ready, idle, active)
    assert (found and found.leaves.stage_run_id) == expected


def beat(store, job, **values) -> Orders:
    return store.beat(
        job.stage_run_id, job.attempt, **{"images": 100, "images_per_second": 1.0, "lease_seconds": 1e6, **values}
    )


def test_a_preempted_stage_run_leaves_goes_on_later_and_is_spared_for_ten_minutes(store, queued, workers, clock):
    queued("low", "priority: 10")
    low = claim(store, workers[0], lease=1e6)
    start(store, low)
    assert beat(store, low) == Orders.CONTINUE
    assert store.preempt() is None, "nothing more urgent is ready"
    queued("high", "priority: 90")
    assert store.preempt() == low.stage_run_id
    assert store.preempt() == low.stage_run_id or store.preempt() is None
    assert beat(store, low) == Orders.PREEMPT
    where = {"images": 100, "uri": "1/1/100", "sha256": "c" * 64, "num_bytes": 1}
    store.add_checkpoint(low.stage_run_id, low.attempt, **where)
    store.report_preempted(low.stage_run_id, low.attempt)
    with pytest.raises(StaleAttempt):
        beat(store, low)
    assert owner(store, claim(store, workers[0])) == "high"
    others = [claim(store, workers[1], lease=1e6) for _ in range(7)]
    assert {owner(store, job) for job in others} == {"high"}
    again = claim(store, workers[2], lease=1e6)
    assert (again.stage_run_id, again.attempt) == (low.stage_run_id, 2)
    assert [row.images for row in again.checkpoints] == [100]
    start(store, again)
    queued("higher", "priority: 95")
    for job in others:
        start(store, job)
        beat(store, job, images_per_second=1e3)  # as good as done
    assert store.preempt() is None, "the only one that could make room was preempted just now"
    clock.now += 601
    beat(store, again)
    assert store.preempt() == again.stage_run_id
    attempts = reads.attempts(store.database, low.stage_run_id)
    assert [attempt.outcome for attempt in attempts] == [Outcome.PREEMPTED, None]


def test_only_a_worker_that_the_urgent_sweep_can_use_is_freed(store, queued, pools):
    queued("low", "priority: 10")
    jobs = {name: claim(store, worker, lease=1e6) for name, worker in pools.items()}
    for job in jobs.values():
        start(store, job)
        beat(store, job)
    queued("nobody's", "priority: 90, labels: {pool: tpu}")
    assert store.preempt() is None
    queued("urgent", "priority: 80, labels: {pool: h100}, max_workers: 1")
    assert store.preempt() == jobs["h100"].stage_run_id
    assert store.preempt() is None, "its one stage run will find the worker that was ordered free"
    assert [beat(store, jobs[name]) for name in ("a100", "h100", "plain")] == [
        Orders.CONTINUE,
        Orders.PREEMPT,
        Orders.CONTINUE,
    ]


def test_nobody_leaves_while_an_idle_worker_can_take_what_waits(store, queued, pools):
    queued("low", "priority: 10")
    low = claim(store, pools["h100"], lease=1e6)
    start(store, low)
    beat(store, low)
    queued("urgent", "priority: 90, labels: {pool: h100}, max_workers: 1")
    also = store.register_worker(name="also", node="n", pid=1, device="cpu", share=1.0, labels=H100)
    assert store.preempt([pools["a100"], also]) is None
    assert store.preempt([pools["a100"]]) == low.stage_run_id


def test_a_cancel_goes_before_a_preemption(store, queued, workers):
    sweep = queued("low", "priority: 10")
    job = claim(store, workers[0])
    start(store, job)
    queued("high", "priority: 90")
    store.preempt()
    store.cancel_sweep(sweep.id, reason="test")
    assert beat(store, job) == Orders.CANCEL
    store.acknowledge_cancel(job.stage_run_id, job.attempt)
    with store.database.read.begin() as connection:
        state = connection.scalar(sa.select(t.stage_runs.c.state).where(t.stage_runs.c.id == job.stage_run_id))
    assert state == RunState.CANCELED
