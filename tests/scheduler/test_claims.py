"""Claims, starts and seals of many at a time: they come to what as many single ones come to."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler import reads, settling, submitting
from scheduler import tables as t
from scheduler.database import open_database
from scheduler.states import RunState, WorkerState
from scheduler.store import Assignment, Claimant, Seal, StaleAttempt, Start, Store
from tests.scheduler.acting import finish, start
from tests.scheduler.conftest import Clock, Databases
from tests.scheduler.invariants import assert_rows_agree
from tests.scheduler.test_queue import SWEEP

POOLS = ({}, {"pool": "a100"}, {"pool": "h100"})
LEASE = 10.0


def situation(store: Store, resolved: Callable[[str], Any], seed: int) -> list[Claimant]:
    """Some sweeps of all kinds, some of their work under way or done, and idle workers of all kinds."""
    chance = random.Random(seed)
    for number in range(chance.randint(1, 4)):
        wishes = [f"priority: {chance.choice((50, 50, 80))}", f"share: {chance.choice((1, 2, 0.5))}"]
        if chance.random() < 0.4:
            wishes.append(f"max_workers: {chance.randint(1, 4)}")
        if chance.random() < 0.4:
            wishes.append(f"labels: {{pool: {chance.choice(('a100', 'h100'))}}}")
        text = SWEEP % {"seed": number, "resources": ", ".join(wishes)}
        submitting.submit_sweep(store, resolved(text), name=f"s{number}", submitted=text, data_name="tiny")
        settling.settle(store, reads.sweep(store.database, f"s{number}"))
    idle = []
    for number in range(chance.randint(1, 14)):
        labels = dict(chance.choice(POOLS))
        about = {"node": "n", "pid": 1, "device": "cpu", "share": chance.choice((1.0, 0.5)), "labels": labels}
        idle.append(store.register_worker(name=f"w{number}", **about))
    others = [
        store.register_worker(name=f"o{n}", node="n", pid=1, device="cpu", share=1.0, labels=labels)
        for n, labels in enumerate(POOLS)
    ]
    for number in range(chance.randint(0, 6)):
        job = store.claim(chance.choice(others), f"before {number}", lease_seconds=1e6)
        if job is not None and chance.random() < 0.7:
            start(store, job)
            finish(store, job)
    store.add_credit({sweep.id: chance.uniform(-2, 2) for sweep in reads.open_sweeps(store.database)})
    for sweep in reads.open_sweeps(store.database):
        settling.settle(store, sweep)  # asks for evaluations, and for the next stages
    return [Claimant(worker_id=worker, claim_id=f"claim of {worker}") for worker in idle]


def rows(store: Store) -> dict[str, list[sa.Row]]:
    """All that a claim may change; events without their order among those of one moment."""
    with store.database.read.begin() as connection:
        found = {
            table.name: connection.execute(sa.select(table).order_by(table.c.id)).all()
            for table in (t.stage_runs, t.evaluations, t.workers)
        }
        attempts = [column for column in t.attempts.c if column.name != "id"]
        found["attempts"] = sorted(connection.execute(sa.select(*attempts)).all(), key=lambda row: row.claim_id)
        events = sa.select(t.events.c.kind, t.events.c.stage_run_id, t.events.c.at)
        found["events"] = sorted(map(tuple, connection.execute(events)), key=str)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_claims_together_are_those_of_one_after_another(databases: Databases, resolved, seed: int):
    outcomes = []
    for together in (False, True):
        with databases.new() as url:
            store = Store(open_database(url), clock=Clock())
            claimants = situation(store, resolved, seed)
            if together:
                jobs = store.claim_all(claimants, lease_seconds=LEASE)
            else:
                given = {
                    one.claim_id: store.claim(one.worker_id, one.claim_id, lease_seconds=LEASE)
                    for one in alike(store, claimants)
                }
                jobs = [given[one.claim_id] for one in claimants]
            outcomes.append((jobs, rows(store)))
            store.database.close()
    assert outcomes[0] == outcomes[1]


def alike(store: Store, claimants: list[Claimant]) -> list[Claimant]:
    """In the order in which they choose: those with the labels of the first one, and so on."""
    labels = {worker.id: worker.labels for worker in reads.workers(store.database)}
    first = [labels[one.worker_id] for one in claimants]
    return sorted(claimants, key=lambda one: first.index(labels[one.worker_id]))


@pytest.fixture
def hired(store) -> list[int]:
    return [store.register_worker(name=f"w{n}", node="n", pid=n, device="cpu", share=1.0) for n in range(6)]


@pytest.fixture
def jobs(store, resolved, hired) -> list[Assignment]:
    """Six stage runs of a sweep, each leased to a worker."""
    text = SWEEP % {"seed": 0, "resources": ""}
    submitting.submit_sweep(store, resolved(text), name="s", submitted=text, data_name="tiny")
    settling.settle(store, reads.sweep(store.database, "s"))
    return store.claim_all(claimants(hired), lease_seconds=LEASE)


def claimants(workers: list[int], **values: Any) -> list[Claimant]:
    return [Claimant(worker_id=worker, claim_id=f"c{worker}", **values) for worker in workers]


def starts(jobs: list[Assignment]) -> list[Start]:
    return [
        Start(stage_run_id=job.stage_run_id, attempt=job.attempt, numerics_class="none", start_images=number)
        for number, job in enumerate(jobs)
    ]


def seals(jobs: list[Assignment]) -> list[Seal]:
    return [
        Seal(
            stage_run_id=job.stage_run_id,
            attempt=job.attempt,
            images=1000 + number,
            uri=f"{job.stage_run_id}/{job.attempt}/1000",
            sha256="s" * 64,
            num_bytes=number,
            weights_sha256=f"{number:064}",
            seconds=float(number),
        )
        for number, job in enumerate(jobs)
    ]


def run_rows(store: Store, jobs: list[Assignment]) -> list[sa.Row]:
    with store.database.read.begin() as connection:
        found = {row.id: row for row in connection.execute(sa.select(t.stage_runs))}
    return [found[job.stage_run_id] for job in jobs]


def test_each_gets_a_stage_run_of_its_own_and_a_repeated_claim_the_same(store, hired, jobs):
    assert len({job.stage_run_id for job in jobs}) == 6
    assert [job.worker_id for job in jobs] == hired
    assert store.claim_all(claimants(hired), lease_seconds=LEASE) == jobs
    doing = {worker.id: worker for worker in reads.workers(store.database)}
    assert all(doing[job.worker_id].state == WorkerState.BUSY for job in jobs)
    assert all(doing[job.worker_id].doing["stage_run"] == job.stage_run_id for job in jobs)
    assert_rows_agree(store.database, num_trials=8)


def test_one_who_claimed_before_keeps_its_work_and_the_others_get_theirs(store, hired, jobs):
    late = [store.register_worker(name=f"late{n}", node="n", pid=n, device="cpu", share=1.0) for n in range(3)]
    again = store.claim_all(claimants([late[0], hired[2], late[1], late[2]]), lease_seconds=LEASE)
    assert again[1] == jobs[2]
    assert [job is None for job in again] == [False, False, False, True]  # eight trials
    assert not {again[0].stage_run_id, again[2].stage_run_id} & {job.stage_run_id for job in jobs}


def test_starts_and_seals_write_what_each_said(store, jobs):
    assert store.start_all(starts(jobs)) == {}
    assert [(row.state, row.images) for row in run_rows(store, jobs)] == [(RunState.RUNNING, n) for n in range(6)]
    assert store.seal_all(seals(jobs)) == {}
    for number, (row, job) in enumerate(zip(run_rows(store, jobs), jobs, strict=True)):
        assert (row.state, row.images, row.seconds) == (RunState.DONE, 1000 + number, number)
        assert (row.weights_sha256, row.worker_id, row.lease_until) == (f"{number:064}", None, None)
        sealed = reads.sealed_checkpoint(store.database, job.stage_run_id)
        assert (sealed.images, sealed.bytes) == (1000 + number, number)
        (attempt,) = reads.attempts(store.database, job.stage_run_id)
        assert (attempt.start_images, attempt.outcome) == (number, "done")
    assert_rows_agree(store.database, num_trials=8)


def test_of_an_attempt_that_no_longer_counts_nothing_is_written_and_of_the_others_all(store, clock, jobs):
    store.start_all(starts(jobs))
    clock.now += LEASE / 2
    store.beat(jobs[0].stage_run_id, 1, images=1, images_per_second=1.0, lease_seconds=LEASE)
    clock.now += LEASE / 2 + 1
    before = run_rows(store, jobs)
    refused = store.seal_all(seals(jobs))
    assert set(refused) == {job.stage_run_id for job in jobs[1:]}
    assert all(isinstance(error, StaleAttempt) for error in refused.values())
    after = run_rows(store, jobs)
    assert after[0].state == RunState.DONE
    assert after[1:] == before[1:]
    with pytest.raises(StaleAttempt, match="attempt 1 may not write"):
        finish(store, jobs[1])


def test_one_illegal_move_undoes_all(store, jobs):
    store.start_all(starts(jobs))
    before = run_rows(store, jobs)
    twice = seals(jobs)
    same_place = [*twice[:-1], Seal(**{**vars(twice[-1]), "images": None})]
    with pytest.raises(sa.exc.IntegrityError):
        store.seal_all(same_place)
    assert run_rows(store, jobs) == before


def test_nothing_to_do_is_done(store):
    assert store.claim_all([], lease_seconds=LEASE) == []
    assert store.start_all([]) == {}
    assert store.seal_all([]) == {}


def test_each_takes_the_child_of_what_it_has_in_memory(store, hired, jobs):
    store.start_all(starts(jobs))
    store.seal_all(seals(jobs))
    settling.settle(store, reads.sweep(store.database, "s"))
    evaluations = store.claim_all([Claimant(worker_id=w, claim_id=f"e{w}") for w in hired], lease_seconds=LEASE)
    assert {job.kind for job in evaluations} == {"evaluate"}
    for job in evaluations:
        start(store, job)
        finish(store, job)
    settling.settle(store, reads.sweep(store.database, "s"))
    warm = [
        Claimant(worker_id=worker, claim_id=f"warm {worker}", warm_parent=job.stage_run_id)
        for worker, job in zip(hired, reversed(jobs), strict=True)
    ]
    found = store.claim_all(warm, lease_seconds=LEASE)
    parents = {job.claim_id: run.parent_id for job, run in zip(found, run_rows(store, found), strict=True)}
    assert parents == {one.claim_id: one.warm_parent for one in warm}
    sealed = {job.stage_run_id: number for number, job in enumerate(jobs)}
    assert [job.parent.num_bytes for job in found] == [sealed[one.warm_parent] for one in warm]
