"""The store under any order of claims, beats, pauses, wake-ups, losses and cancels, with a clock that rules move.

Invariants: attempts strictly increase; at most one live lease a stage run; at most one completion; nothing is accepted
from an old attempt; every state has its event; and whatever happened, the sweep comes to an end.
`test_store_at_once.py` has several clients.

A seed has RUNS runs; the number of seeds is that of T2F_MACHINE_SEEDS (40: 2,000 runs), from T2F_MACHINE_FIRST_SEED on.
A test's name ends with its seed.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler import commands, reads, settling, submitting
from scheduler import tables as t
from scheduler.database import open_database
from scheduler.states import RunState
from scheduler.store import Assignment, Claimant, StaleAttempt, Store
from t2f.errors import UserError
from tests.scheduler.acting import finish, start
from tests.scheduler.conftest import Clock, Databases
from tests.scheduler.invariants import LEASE, TRIALS, assert_rows_agree, come_to_an_end, small_sweep

RUNS = 50
FIRST_SEED = int(os.environ.get("T2F_MACHINE_FIRST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("T2F_MACHINE_SEEDS", "4")))


Key = tuple[str, int]


def key_of(job: Assignment) -> Key:
    return (job.kind, job.stage_run_id if job.kind == "train" else job.evaluation_id)


class StoreMachine(RuleBasedStateMachine):
    databases: Databases  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        url = self._stack.enter_context(self.databases.new())
        self.clock = Clock()
        self.store = Store(open_database(url), clock=self.clock)
        self._stack.callback(self.store.database.close)
        self.jobs: list[Assignment] = []  # whatever a worker still believes to hold, zombies included
        self.live: dict[Key, tuple[int, float]] = {}  # attempt, end of its lease, as the rules granted them
        self.newest: dict[Key, int] = {}
        self.claims = 0

    @initialize()
    def submit(self) -> None:
        submitting.submit_sweep(self.store, small_sweep(), name="s", submitted="", data_name="tiny")
        self.workers = [
            self.store.register_worker(name=f"w{n}", node="n", pid=n, device="cpu", share=1.0) for n in range(2)
        ]
        self.settle()

    @property
    def sweep(self) -> reads.Sweep:
        return reads.sweep(self.store.database, "s")

    def row(self, job: Assignment) -> sa.Row:
        table = t.stage_runs if job.kind == "train" else t.evaluations
        with self.store.database.read.begin() as connection:
            return connection.execute(sa.select(table).where(table.c.id == key_of(job)[1])).one()

    def write(self, job: Assignment, act: Callable[[], object], *, ends: bool = False) -> None:
        """An act of a worker: refused without a trace where its attempt no longer counts."""
        attempt, lease_until = self.live.get(key_of(job), (0, 0.0))
        counts = attempt == job.attempt and self.clock.now <= lease_until
        before = self.row(job)
        try:
            act()
        except StaleAttempt:
            # One that counts is refused only what its state does not allow: sealing what was canceled, or unstarted.
            assert not counts or before.state != RunState.RUNNING
            assert self.row(job) == before
        else:
            assert counts, f"attempt {job.attempt} wrote, but {attempt} counts until {lease_until}"
            if ends:
                del self.live[key_of(job)]

    # What workers do

    @rule(worker=st.integers(0, 1), begins=st.booleans())
    def claim(self, worker: int, begins: bool) -> None:
        self.claims += 1
        self.take(self.store.claim(self.workers[worker], f"c{self.claims}", lease_seconds=LEASE), begins)

    @rule(begins=st.booleans())
    def claim_for_all(self, begins: bool) -> None:
        self.claims += 1
        claimants = [Claimant(worker_id=worker, claim_id=f"c{self.claims} {worker}") for worker in self.workers]
        for job in self.store.claim_all(claimants, lease_seconds=LEASE):
            self.take(job, begins)

    def take(self, job: Assignment | None, begins: bool) -> None:
        """What a worker was given, if anything."""
        if job is not None:
            assert job.attempt == self.newest.get(key_of(job), 0) + 1
            assert key_of(job) not in self.live, "leased twice"
            self.newest[key_of(job)] = job.attempt
            self.live[key_of(job)] = (job.attempt, self.clock.now + LEASE)
            self.jobs.append(job)
            if begins:
                self.write(job, lambda: start(self.store, job))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def claim_again_after_a_lost_answer(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        if self.live.get(key_of(job), (0, 0.0))[0] == job.attempt:
            again = self.store.claim(job.worker_id, job.claim_id, lease_seconds=LEASE)
            assert (key_of(again), again.attempt) == (key_of(job), job.attempt)
        elif job.kind == "train":
            with pytest.raises(StaleAttempt):
                self.store.claim(job.worker_id, job.claim_id, lease_seconds=LEASE)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.write(job, lambda: start(self.store, job))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), score=st.sampled_from([0.2, 0.5, 0.5, 0.8]))
    def end_well(self, data: st.DataObject, score: float) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.write(job, lambda: finish(self.store, job, score=score), ends=True)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))

        def renew() -> None:
            if job.kind == "train":
                self.store.beat(job.stage_run_id, job.attempt, images=8, images_per_second=1.0, lease_seconds=LEASE)
            else:
                self.store.beat_evaluation(job.evaluation_id, job.attempt, lease_seconds=LEASE)
            self.live[key_of(job)] = (job.attempt, self.clock.now + LEASE)

        granted = dict(self.live)
        counted = granted.get(key_of(job), (0, 0.0))
        try:
            renew()
        except StaleAttempt:
            assert counted[0] != job.attempt or self.clock.now > counted[1]
        else:
            assert counted[0] == job.attempt
            assert self.clock.now <= counted[1]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def wake_after_the_lease(self, data: st.DataObject) -> None:
        """A lease that is over is over, even before anybody has noticed."""
        key = data.draw(st.sampled_from(sorted(self.live)))
        attempt, lease_until = self.live[key]
        job = next(job for job in self.jobs if (key_of(job), job.attempt) == (key, attempt))
        self.clock.now = max(self.clock.now, lease_until + 0.5)
        before = self.row(job)
        for act in (start, finish):
            with pytest.raises(StaleAttempt):
                act(self.store, job)
        assert self.row(job) == before

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), infrastructure=st.booleans(), error=st.sampled_from(["OSError", "KeyError"]))
    def end_badly(self, data: st.DataObject, infrastructure: bool, error: str) -> None:
        job = data.draw(st.sampled_from(self.jobs))

        def report() -> None:
            if job.kind == "train":
                self.store.report_error(
                    job.stage_run_id, job.attempt, error=error, infrastructure=infrastructure, progressed=False
                )
            else:
                self.store.evaluation_error(job.evaluation_id, job.attempt, error=error)

        self.write(job, report, ends=True)

    @precondition(lambda self: any(job.kind == "train" for job in self.jobs))
    @rule(data=st.data(), how=st.sampled_from(["diverge", "preempt", "cancel"]))
    def end_otherwise(self, data: st.DataObject, how: str) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs if job.kind == "train"]))
        acts = {
            "diverge": lambda: self.store.report_diverged(job.stage_run_id, job.attempt, evidence={"loss": "nan"}),
            "preempt": lambda: self.store.report_preempted(job.stage_run_id, job.attempt),
            "cancel": lambda: self.store.acknowledge_cancel(job.stage_run_id, job.attempt),
        }
        if how == "cancel" and self.row(job).state != RunState.CANCELING:
            with pytest.raises(StaleAttempt):
                acts["cancel"]()
        else:
            self.write(job, acts[how], ends=True)

    # What the scheduler and people do

    @rule(seconds=st.sampled_from([0.5, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def expire(self) -> None:
        over = {key for key, (_, until) in self.live.items() if until < self.clock.now}
        assert self.store.expire_leases() == len(over)
        for key in over:
            del self.live[key]

    @rule()
    def settle(self) -> None:
        settling.settle(self.store, self.sweep)

    @rule(number=st.integers(0, TRIALS - 1))
    def cancel_trial(self, number: int) -> None:
        trial = reads.trials(self.store.database, self.sweep.id)[number]
        try:
            commands.cancel_trial(self.store, trial)
        except UserError:
            assert not trial.is_open

    @rule(number=st.integers(0, TRIALS - 1))
    def retry_trial(self, number: int) -> None:
        trial = reads.trials(self.store.database, self.sweep.id)[number]
        try:
            commands.retry_trial(self.store, self.sweep, trial)
        except UserError:
            assert trial.state not in ("failed", "diverged")

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        (commands.pause_sweep if paused else commands.resume_sweep)(self.store, self.sweep)

    # What holds after each step

    @invariant()
    def rows_agree(self) -> None:
        assert_rows_agree(self.store.database, num_trials=TRIALS)

    def teardown(self) -> None:
        try:
            if hasattr(self, "workers"):
                come_to_an_end(self.store, self.workers[0], self.sweep, self.clock)
                self.rows_agree()
        finally:
            self._stack.close()


def run(databases: Databases, *, seed_number: int, runs: int) -> None:
    class Machine(StoreMachine):
        pass

    Machine.databases = databases
    run_state_machine_as_test(
        seed(seed_number)(Machine),
        settings=settings(
            max_examples=runs,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=(Phase.generate,),  # shrinking over a real database takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_store_under_any_order_of_events(databases):
    run(databases, seed_number=0, runs=8)


@pytest.mark.slow
@pytest.mark.parametrize("seed_number", SEEDS)
def test_the_store_under_any_order_of_events_at_length(databases, seed_number):
    run(databases, seed_number=seed_number, runs=RUNS)
