"""The queue's order, fair share, quotas, priorities and preemption, on a real database with a clock that tests move."""

import re

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling
from scheduler import tables as t
from scheduler.states import Outcome, RunState
from scheduler.store import Orders, StaleAttempt, queue
from scheduler.store.preempting import Running, victim
from scheduler.store.queue import Standing, fairest
from tests.scheduler.acting import claim, finish, start

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


def standing(sweep_id: int, **values) -> Standing:
    return Standing(
        **{"share": 1.0, "max_workers": None, "priority": 50, "running": 0, "devices": 0.0, **values}, sweep_id=sweep_id
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
        ([], None),
    ],
)
def test_whose_turn_it_is(standings, turn):
    found = fairest(standings)
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
    for statement in (queue._STANDINGS, queue._NEXT, queue._NEXT_EVALUATION):
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
    found = victim(ready, waiting, active)
    assert (found and found.stage_run_id) == expected


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
