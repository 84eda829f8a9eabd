"""The store: claims, fences, leases, retries, demands."""

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa

from scheduler import commands, model_reads, reads, settling
from scheduler import tables as t
from scheduler.states import RunState, SweepState, TrialState
from scheduler.store import Assignment, Orders, StaleAttempt
from tests.scheduler.acting import claim, finish, finish_sweep, start, work_off
from tests.scheduler.conftest import DEMO_LIKE


def run_row(store, stage_run_id: int) -> sa.Row:
    with store.database.read.begin() as connection:
        return connection.execute(sa.select(t.stage_runs).where(t.stage_runs.c.id == stage_run_id)).one()


def outcomes(store, stage_run_id: int) -> list[str]:
    return [attempt.outcome for attempt in reads.attempts(store.database, stage_run_id)]


def test_a_claim_is_one_transaction_of_attempt_lease_and_worker(store, submit, worker, clock):
    submit()
    job = claim(store, worker, lease=10)
    row = run_row(store, job.stage_run_id)
    assert (row.state, row.attempt, row.worker_id, row.lease_until) == (RunState.LEASED, 1, worker, clock.now + 10)
    assert (job.kind, job.attempt, job.resolution, job.parent, job.checkpoints) == ("train", 1, 4, None, ())
    (attempt,) = reads.attempts(store.database, job.stage_run_id)
    assert (attempt.number, attempt.claimed, attempt.outcome) == (1, clock.now, None)
    (busy,) = reads.workers(store.database)
    assert busy.doing["stage_run"] == job.stage_run_id


def test_an_assignment_carries_the_checkpoint_interval_of_its_sweep(store, submit, worker):
    submit(DEMO_LIKE + "checkpoint: {seconds: 7}\n")
    assert claim(store, worker).checkpoint_seconds == 7


def test_an_assignment_survives_json(store, submit, worker):
    submit()
    job = claim(store, worker)
    assert Assignment.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_a_claim_whose_answer_was_lost_is_given_again(store, submit, worker):
    submit()
    first = store.claim(worker, "same", lease_seconds=10)
    assert store.claim(worker, "same", lease_seconds=10) == first
    assert len(reads.attempts(store.database, first.stage_run_id)) == 1
    start(store, first)
    store.report_error(first.stage_run_id, 1, error="x", infrastructure=True, progressed=True)
    with pytest.raises(StaleAttempt):
        store.claim(worker, "same", lease_seconds=10)
    claim(store, worker)
    claim(store, worker)
    with pytest.raises(StaleAttempt):
        store.claim(worker, "same", lease_seconds=10)


def test_evaluations_come_first_then_what_is_warm_then_the_longest_way_to_go(store, submit, worker):
    sweep = submit()
    kinds, last = [], None
    for number in range(5):
        job = store.claim(worker, f"c{number}", lease_seconds=10, warm_parent=last if number < 4 else None)
        kinds.append((job.kind, job.resolution))
        last = job.stage_run_id
        start(store, job)
        finish(store, job)
        settling.settle(store, sweep)
    assert kinds == [("train", 4), ("evaluate", 4), ("train", 8), ("evaluate", 8), ("train", 4)]


def test_a_warm_child_is_preferred(store, submit, worker):
    sweep = submit()
    roots = [claim(store, worker), claim(store, worker)]
    for job in roots:
        start(store, job)
        finish(store, job)
    settling.settle(store, sweep)
    while (job := claim(store, worker)).kind == "evaluate":
        start(store, job)
        finish(store, job)
    for root in roots[::-1]:
        warm = store.claim(worker, f"warm {root.stage_run_id}", lease_seconds=10, warm_parent=root.stage_run_id)
        assert run_row(store, warm.stage_run_id).parent_id == root.stage_run_id


STALE_WRITES = {
    "start": lambda s, i, a: s.start(i, a, numerics_class="x", start_images=0),
    "beat": lambda s, i, a: s.beat(i, a, images=1, images_per_second=1, lease_seconds=10),
    "curves": lambda s, i, a: s.add_curves(i, a, [("loss", 1, 1.0)]),
    "checkpoint": lambda s, i, a: s.add_checkpoint(i, a, images=8, uri="u", sha256="x", num_bytes=1),
    "seal": lambda s, i, a: s.seal(i, a, images=8, uri="u", sha256="x", num_bytes=1, weights_sha256="x", seconds=1),
    "diverged": lambda s, i, a: s.report_diverged(i, a, evidence={"x": 1}),
    "error": lambda s, i, a: s.report_error(i, a, error="x", infrastructure=True, progressed=False),
    "preempted": lambda s, i, a: s.report_preempted(i, a),
    "cancel": lambda s, i, a: s.acknowledge_cancel(i, a),
}


@pytest.mark.parametrize("write", STALE_WRITES)
def test_a_zombie_may_write_nothing(store, submit, worker, clock, write):
    submit()
    old = claim(store, worker, lease=10)
    start(store, old)
    clock.now += 11
    # Even before anybody noticed: a lease that is over is over.
    with pytest.raises(StaleAttempt):
        STALE_WRITES[write](store, old.stage_run_id, old.attempt)
    assert store.expire_leases() == 1
    new = claim(store, worker, lease=10)
    assert (new.stage_run_id, new.attempt) == (old.stage_run_id, 2)
    start(store, new)
    before = run_row(store, old.stage_run_id)
    with pytest.raises(StaleAttempt):
        STALE_WRITES[write](store, old.stage_run_id, old.attempt)
    assert run_row(store, old.stage_run_id) == before
    finish(store, new)
    assert outcomes(store, old.stage_run_id) == ["lost", "done"]


def test_beats_renew_the_lease(store, submit, worker, clock):
    submit()
    job = claim(store, worker, lease=10)
    start(store, job)
    for _ in range(5):
        clock.now += 8
        found = store.beat(job.stage_run_id, 1, images=8, images_per_second=3.0, lease_seconds=10)
        assert found == Orders.CONTINUE
        assert store.expire_leases() == 0
    finish(store, job)


def test_a_lost_worker_frees_its_work_at_once(store, submit, worker):
    submit()
    job = claim(store, worker)
    start(store, job)
    store.lose_worker(worker, error="killed")
    assert run_row(store, job.stage_run_id).state == RunState.READY
    assert reads.workers(store.database) == []
    other = store.register_worker(name="w2", node="n", pid=2, device="cpu", share=1.0)
    again = claim(store, other)
    assert (again.stage_run_id, again.attempt) == (job.stage_run_id, 2)


def test_the_newest_checkpoint_comes_first(store, submit, worker, clock):
    submit()
    job = claim(store, worker)
    start(store, job)
    for images in (8, 16):
        store.add_checkpoint(job.stage_run_id, 1, images=images, uri=f"u{images}", sha256="x", num_bytes=1)
    clock.now += 100
    store.expire_leases()
    again = claim(store, worker)
    assert [row.images for row in again.checkpoints] == [16, 8]


def test_curves_of_a_replay_replace_themselves(store, submit, worker):
    submit()
    job = claim(store, worker)
    start(store, job)
    store.add_curves(job.stage_run_id, 1, [("loss", 8, 1.0), ("loss", 16, 2.0)])
    store.add_curves(job.stage_run_id, 1, [("loss", 16, 3.0)])
    with store.database.read.begin() as connection:
        rows = connection.execute(sa.select(t.curves.c.images, t.curves.c.value).order_by(t.curves.c.images)).all()
    assert rows == [(8, 1.0), (16, 3.0)]
    with pytest.raises(ValueError, match="finite"):
        store.add_curves(job.stage_run_id, 1, [("loss", 24, float("nan"))])


def fail(store, worker, clock, error: str, *, infrastructure: bool, progressed: bool) -> str:
    clock.now += 1000
    job = claim(store, worker)
    start(store, job)
    store.report_error(job.stage_run_id, job.attempt, error=error, infrastructure=infrastructure, progressed=progressed)
    return run_row(store, job.stage_run_id).state


def test_a_poison_stage_run_is_given_up_at_its_second_attempt(store, submit, worker, clock):
    sweep = submit(text=ONE_TRIAL)
    assert fail(store, worker, clock, "KeyError: x", infrastructure=False, progressed=False) == RunState.READY
    assert fail(store, worker, clock, "KeyError: x", infrastructure=False, progressed=False) == RunState.FAILED
    assert settling.settle(store, sweep)
    assert [trial.state for trial in reads.trials(store.database, sweep.id)] == [TrialState.FAILED]


def test_code_errors_have_a_small_budget_and_infrastructure_a_large_one(store, submit, worker, clock):
    submit(text=ONE_TRIAL + "retry: {code: 2, infrastructure: 3}\n")
    for number in range(2):
        state = fail(store, worker, clock, f"error {number}", infrastructure=False, progressed=True)
        assert state == RunState.READY
    assert fail(store, worker, clock, "error 3", infrastructure=False, progressed=True) == RunState.FAILED


def test_a_stage_run_that_is_lost_again_and_again_is_given_up(store, submit, worker, clock):
    submit(text=ONE_TRIAL + "retry: {infrastructure: 3}\n")
    for _ in range(3):
        clock.now += 1000
        job = claim(store, worker)
        clock.now += 1000
        store.expire_leases()
        assert run_row(store, job.stage_run_id).state == RunState.READY
    clock.now += 1000
    claim(store, worker)
    clock.now += 1000
    store.expire_leases()
    assert run_row(store, job.stage_run_id).state == RunState.FAILED


def test_the_first_retry_comes_at_once_and_later_ones_wait(store, submit, worker, clock):
    submit(text=ONE_TRIAL)
    for pause in (0, 1, 2, 4):
        job = claim(store, worker, lease=1)
        clock.now += 2
        store.expire_leases()
        if pause:
            clock.now += pause - 0.5
            assert claim(store, worker) is None
            clock.now += 0.5
        assert run_row(store, job.stage_run_id).ready_at <= clock.now


ONE_TRIAL = """
name: one
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: 40, batch: 8}
"""


def test_divergence_ends_the_trials_on_the_stage_run(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    start(store, job)
    store.report_diverged(job.stage_run_id, 1, evidence={"curve": "loss_d", "value": "nan"})
    settling.settle(store, sweep)
    states = [trial.state for trial in reads.trials(store.database, sweep.id)]
    assert states == ["diverged"] * 3 + ["running"] * 3
    assert "curve = loss_d" in run_row(store, job.stage_run_id).error


def test_canceling_one_demand_leaves_the_others_whole(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    start(store, job)
    trials = reads.trials(store.database, sweep.id)
    for trial in trials[:2]:
        commands.cancel_trial(store, trial)
        assert store.beat(job.stage_run_id, 1, images=1, images_per_second=1, lease_seconds=10) == Orders.CONTINUE
    commands.cancel_trial(store, trials[2])
    assert store.beat(job.stage_run_id, 1, images=1, images_per_second=1, lease_seconds=10) == Orders.CANCEL
    store.acknowledge_cancel(job.stage_run_id, 1)
    assert run_row(store, job.stage_run_id).state == RunState.CANCELED
    settling.settle(store, sweep)
    assert [trial.state for trial in reads.trials(store.database, sweep.id)] == ["canceled"] * 3 + ["running"] * 3


def test_a_canceled_stage_run_is_ready_again_when_somebody_wants_it(store, submit, worker):
    first = submit(name="first")
    commands.cancel_sweep(store, first)
    assert claim(store, worker) is None
    submit(name="second")
    job = claim(store, worker)
    assert job is not None
    assert run_row(store, job.stage_run_id).attempt == 1


def test_pausing_a_sweep_stops_new_stage_runs_only(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    start(store, job)
    commands.pause_sweep(store, sweep)
    assert claim(store, worker) is None
    finish(store, job)
    paused = reads.sweep(store.database, sweep.name)
    assert settling.settle(store, paused) is False
    commands.resume_sweep(store, paused)
    assert claim(store, worker) is not None


def test_two_sweeps_share_and_the_shared_work_is_done_once(store, submit, worker):
    first = submit(name="first")
    while not settling.settle(store, first):
        assert work_off(store, worker)
    second = submit(name="second")
    assert work_off(store, worker) == 0, "everything is there already"
    assert settling.settle(store, second)
    assert [r.standing.number for r in reads.ranking(store.database, second)] == [
        r.standing.number for r in reads.ranking(store.database, first)
    ]


def test_priority_decides_between_sweeps(store, submit, worker):
    submit(name="low")
    submit(text=ONE_TRIAL + "seed: 5\nresources: {priority: 90}\n", name="high")
    assert claim(store, worker).spec["seed"] == 5


def test_one_scheduler_leads(store, clock):
    assert store.lead("a", 10) == 1
    assert store.lead("b", 10) is None
    assert store.lead("a", 10) == 1
    clock.now += 11
    assert store.lead("b", 10) == 2
    assert store.lead("a", 10) is None
    store.resign("b", 2)
    assert store.lead("a", 10) == 3


def test_an_alias_points_to_one_version(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    trial = reads.trials(store.database, sweep.id)[0]
    for version in (1, 2):
        found = store.register_model(
            name="s", trial_id=trial.id, stage_run_id=job.stage_run_id, uri=f"u{version}", sha256="x", aliases=["best"]
        )
        assert found == version
    assert [(model.version, model.aliases) for model in model_reads.models(store.database)] == [(2, ("best",)), (1, ())]


CLAIM_ALL = """
import sys, uuid
from scheduler.database import open_database
from scheduler.store import Store
from tests.scheduler.acting import finish, start
store = Store(open_database(sys.argv[1]))
worker = store.register_worker(name=sys.argv[2], node="n", pid=1, device="cpu", share=1.0)
while (job := store.claim(worker, uuid.uuid4().hex, lease_seconds=60)) is not None:
    start(store, job)
    finish(store, job)
    print(job.stage_run_id)
"""

MANY = """
name: many
data: {dataset: tiny}
preset: small
stages: {resolutions: [4], images: 40, batch: 8}
method: random
budget: {max_trials: 60}
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 1e-4, max: 1e-2}
"""


def test_two_processes_claim_everything_once(store, submit):
    submit(text=MANY)
    command = [sys.executable, "-c", CLAIM_ALL, store.database.url]
    runs = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    claimed = [int(line) for run in runs for line in run.communicate(timeout=120)[0].split()]
    assert all(run.returncode == 0 for run in runs)
    assert len(claimed) == 60
    assert len(set(claimed)) == 60
    with store.database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.stage_runs.c.state))) == {RunState.DONE}
        assert set(connection.scalars(sa.select(t.stage_runs.c.attempt))) == {1}


def test_faults_of_the_machine_and_of_the_code_have_budgets_apart(store, submit, worker, clock):
    submit(text=ONE_TRIAL)
    assert fail(store, worker, clock, "OSError: disk", infrastructure=True, progressed=True) == RunState.READY
    assert fail(store, worker, clock, "KeyError: x", infrastructure=False, progressed=True) == RunState.READY
    assert fail(store, worker, clock, "KeyError: y", infrastructure=False, progressed=True) == RunState.FAILED
    assert outcomes(store, 1) == ["infrastructure", "error", "error"]


def test_reported_faults_of_the_machine_use_their_budget_up(store, submit, worker, clock):
    submit(text=ONE_TRIAL + "retry: {infrastructure: 3}\n")
    found = [fail(store, worker, clock, f"disk {n}", infrastructure=True, progressed=True) for n in range(4)]
    assert found == [RunState.READY] * 3 + [RunState.FAILED]


def test_an_evaluation_that_never_fails_the_same_way_is_given_up_too(store, submit, worker, clock):
    sweep = submit(text=ONE_TRIAL)
    job = claim(store, worker)
    start(store, job)
    finish(store, job)
    settling.settle(store, sweep)
    for number in range(11):
        clock.now += 1000
        job = claim(store, worker)
        assert job.kind == "evaluate"
        start(store, job)
        store.evaluation_error(job.evaluation_id, job.attempt, error=f"at 0x{number}")
    with store.database.read.begin() as connection:
        assert connection.scalar(sa.select(t.evaluations.c.state)) == RunState.FAILED


def test_a_lost_stage_run_of_a_paused_sweep_waits(store, submit, worker, clock):
    sweep = submit(text=ONE_TRIAL)
    job = claim(store, worker)
    commands.pause_sweep(store, sweep)
    clock.now += 100
    store.expire_leases()
    clock.now += 100
    assert run_row(store, job.stage_run_id).state == RunState.WAITING
    assert claim(store, worker) is None
    commands.resume_sweep(store, sweep)
    assert claim(store, worker).attempt == 2


def test_what_has_ended_keeps_its_state(store, submit):
    sweep = submit()
    trial = reads.trials(store.database, sweep.id)[0]
    assert store.cancel_sweep(sweep.id, reason="x")
    assert not store.cancel_sweep(sweep.id, reason="x")
    assert not store.end_sweep(sweep.id, SweepState.COMPLETE)
    assert not store.set_sweep_paused(sweep.id, paused=True)
    assert store.set_trial_states({trial.id: TrialState.COMPLETE}) == frozenset()
    assert reads.sweep(store.database, "s").state == SweepState.CANCELED
    assert reads.trials(store.database, sweep.id)[0].state == TrialState.CANCELED


def test_every_change_of_state_has_its_event(store, submit, worker):
    sweep = submit(text=ONE_TRIAL)
    finish_sweep(store, sweep, worker)
    with store.database.read.begin() as connection:
        kinds = connection.scalars(sa.select(t.events.c.kind).order_by(t.events.c.id)).all()
    training = [f"stage_run.{state}" for state in ("ready", "leased", "running", "done")]
    measuring = [f"evaluation.{state}" for state in ("ready", "leased", "running", "done")]
    assert [kind for kind in kinds if kind.startswith("stage_run")] == training * 2
    assert [kind for kind in kinds if kind.startswith("evaluation")] == measuring * 2
    assert [kind for kind in kinds if kind.startswith("trial")] == ["trial.running", "trial.complete"]
