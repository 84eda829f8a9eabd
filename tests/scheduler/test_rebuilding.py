"""A collected stage run that is needed again: made ready, trained, compared, or given up, whatever happens."""

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling, trial_reads
from scheduler import tables as t
from scheduler.states import RunState, TrialState
from scheduler.store import CheckpointRow
from tests.scheduler.acting import claim, finish, start, work_off
from tests.scheduler.conftest import DEMO_LIKE

ONE_TRIAL = DEMO_LIKE.replace("values: [wgan-gp, logistic-r1]", "value: logistic-r1").replace(
    "values: [0.001, 0.002, 0.004]", "value: 0.001"
)


def rows(store, table=t.stage_runs):
    with store.database.read.begin() as connection:
        return connection.execute(sa.select(table).order_by(table.c.id)).all()


def states(store) -> list[str]:
    return [row.state for row in rows(store)]


def kinds(store) -> list[str]:
    return [row.kind for row in rows(store, t.events)]


def collect(store, *resolutions: int) -> None:
    """Shrink the sealed checkpoints of these resolutions."""
    for run in rows(store):
        for checkpoint in rows(store, t.checkpoints):
            if run.resolution in resolutions and checkpoint.stage_run_id == run.id and checkpoint.sealed:
                ema = CheckpointRow(images=checkpoint.images, uri=f"{checkpoint.uri}.ema", sha256="e" * 64, num_bytes=0)
                assert store.shrink_checkpoint(checkpoint.id, ema=ema)


@pytest.fixture
def ended(store, submit, worker):
    """A sweep of one trial, complete: stage runs 1, 2, 3 of 4, 8, 16 px."""
    sweep = submit(text=ONE_TRIAL)
    while not settling.settle(store, sweep):
        work_off(store, worker)
    settling.end_sweep(store, sweep)
    return reads.sweep(store.database, "s")


def fork(store, resolution: int, **values) -> str:
    settings = {name.replace("__", "."): value for name, value in values.items()} or {"generator.learning_rate": 0.004}
    trial = reads.trial(store.database, "s/T0")
    return commands.fork_trial(store, trial, resolution, values=settings, by="ada").name


def settle(store) -> bool:
    return settling.settle(store, reads.sweep(store.database, "s"))


def test_a_fork_below_a_whole_stage_run_needs_no_rebuilding(store, ended, worker):
    fork(store, 8)
    settle(store)
    assert states(store) == ["done", "done", "done", "ready"]


def test_a_fork_below_a_collected_one_waits_until_it_is_rebuilt(store, ended, worker):
    collect(store, 8, 16)
    fork(store, 8)
    settle(store)
    assert states(store) == ["done", "ready", "done", "waiting"]
    job = claim(store, worker)
    assert (job.stage_run_id, job.attempt, job.checkpoints) == (2, 2, ())
    assert job.parent.uri == "1/1/40"
    start(store, job)
    finish(store, job)
    assert states(store) == ["done", "done", "done", "ready"]
    assert "stage_run.rebuilt" in kinds(store)
    child = claim(store, worker)
    assert child.stage_run_id == 4
    assert child.parent.uri == "2/2/40", "the child is trained on the rebuilt state"
    start(store, child)
    finish(store, child)
    settle(store)
    work_off(store, worker)
    assert settle(store)
    assert reads.trial(store.database, "s/T1").state == TrialState.COMPLETE


def test_a_whole_collected_path_is_rebuilt_from_the_top(store, ended, worker):
    collect(store, 4, 8, 16)
    fork(store, 8)
    settle(store)
    assert states(store) == ["ready", "done", "done", "waiting"]
    order = []
    while (job := claim(store, worker)) is not None:
        order.append((job.kind, job.stage_run_id))
        start(store, job)
        finish(store, job)
    assert order == [("train", 1), ("train", 2), ("train", 4)]
    sealed = [row for row in rows(store, t.checkpoints) if row.sealed]
    assert [(row.stage_run_id, row.attempt, row.content) for row in sealed] == [
        (3, 1, "ema"),
        (1, 2, "state"),
        (2, 2, "state"),
        (4, 1, "state"),
    ]


def test_two_forks_at_once_are_served_by_one_rebuilding(store, ended, worker):
    collect(store, 8)
    fork(store, 8)
    fork(store, 8, discriminator__learning_rate=0.003)
    settle(store)
    assert states(store) == ["done", "ready", "done", "waiting", "waiting"]
    work_off(store, worker, at_most=1)
    assert states(store) == ["done", "done", "done", "ready", "ready"]


def seal_otherwise(store, job) -> None:
    store.seal(
        job.stage_run_id,
        job.attempt,
        images=40,
        uri="other",
        sha256="o" * 64,
        num_bytes=1,
        weights_sha256="x" * 64,
        seconds=1.0,
    )


def test_other_bits_in_the_same_class_fail_the_stage_run_and_the_trial_and_keep_what_was_sealed(store, ended, worker):
    collect(store, 8)
    fork(store, 8)
    settle(store)
    job = claim(store, worker)
    start(store, job)
    seal_otherwise(store, job)
    assert states(store)[1] == RunState.FAILED
    assert "stage_run.rebuilt_differently" in kinds(store)
    assert "in the same class of numerics" in rows(store)[1].error
    kept = [row for row in rows(store, t.checkpoints) if row.stage_run_id == 2]
    assert [(row.content, row.uri) for row in kept] == [("ema", "2/1/40.ema")]
    assert rows(store)[1].weights_sha256 == "w" * 64
    assert settle(store)
    assert reads.trial(store.database, "s/T1").state == TrialState.FAILED
    assert reads.trial(store.database, "s/T0").state == TrialState.COMPLETE
    sweep = reads.sweep(store.database, "s")
    commands.retry_trial(store, sweep, reads.trial(store.database, "s/T1"))
    settle(store)
    assert (states(store)[1], states(store)[3]) == ("ready", "canceled")
    work_off(store, worker)
    settle(store)
    work_off(store, worker)
    assert states(store)[3] == "done"


def test_other_bits_in_another_class_are_said_and_taken(store, ended, worker):
    collect(store, 8)
    fork(store, 8)
    settle(store)
    job = claim(store, worker)
    store.start(job.stage_run_id, job.attempt, numerics_class="other", start_images=0)
    seal_otherwise(store, job)
    assert states(store) == ["done", "done", "done", "ready"]
    (event,) = [row for row in rows(store, t.events) if row.kind == "stage_run.rebuilt_differently"]
    assert event.payload == {"numerics_classes": ["other", "test"], "sealed": "w" * 64, "rebuilt": "x" * 64}


@pytest.mark.parametrize("moment", ["ready", "leased", "running"])
def test_a_rebuilding_that_nobody_wants_any_more_leaves_what_was_sealed(store, ended, worker, moment):
    collect(store, 8)
    name = fork(store, 8)
    settle(store)
    job = None if moment == "ready" else claim(store, worker)
    if moment == "running":
        start(store, job)
    commands.cancel_trial(store, reads.trial(store.database, name))
    if job is not None:
        assert states(store)[1] == "canceling"
        store.acknowledge_cancel(job.stage_run_id, job.attempt)
    assert states(store) == ["done", "done", "done", "canceled"]
    assert rows(store)[1].images == 40
    again = fork(store, 8)
    settle(store)
    assert states(store) == ["done", "ready", "done", "waiting"]
    work_off(store, worker)
    settle(store)
    work_off(store, worker)
    assert settle(store)
    assert reads.trial(store.database, again).state == TrialState.COMPLETE


def test_a_demand_that_comes_while_a_rebuilding_is_given_up_starts_it_again(store, ended, worker):
    collect(store, 8)
    first = fork(store, 8)
    settle(store)
    job = claim(store, worker)
    start(store, job)
    commands.cancel_trial(store, reads.trial(store.database, first))
    fork(store, 8, discriminator__learning_rate=0.003)
    settle(store)
    assert states(store)[1] == "canceling"
    store.acknowledge_cancel(job.stage_run_id, job.attempt)
    settle(store)
    assert states(store)[1] == "ready"
    work_off(store, worker)
    assert states(store)[4] == "done"


def test_a_lost_worker_s_rebuilding_is_tried_again_with_a_fresh_budget(store, ended, worker, clock):
    collect(store, 8)
    fork(store, 8)
    settle(store)
    start(store, claim(store, worker, lease=10))
    clock.now += 11
    store.expire_leases()
    assert states(store) == ["done", "ready", "done", "waiting"]
    assert work_off(store, worker) == 2


def test_a_paused_fork_pauses_its_rebuilding(store, ended, worker):
    collect(store, 8)
    name = fork(store, 8)
    settle(store)
    commands.pause_trial(store, reads.trial(store.database, name))
    assert claim(store, worker) is None
    commands.resume_trial(store, reads.trial(store.database, name))
    assert work_off(store, worker) == 2


def test_nothing_is_collected_that_an_open_trial_is_on_or_an_evaluation_will_read(store, ended, worker):
    fork(store, 8)
    settle(store)
    ema = CheckpointRow(images=40, uri="e", sha256="e" * 64, num_bytes=0)
    of_run = {row.stage_run_id: row.id for row in rows(store, t.checkpoints)}
    assert not store.shrink_checkpoint(of_run[2], ema=ema), "the fork is on it"
    store.request_evaluations([(3, "other", {})], priority=50)
    assert not store.shrink_checkpoint(of_run[3], ema=ema), "it is to be measured"
    work_off(store, worker)
    assert store.shrink_checkpoint(of_run[3], ema=ema)
    assert not store.shrink_checkpoint(of_run[3], ema=ema), "once"


def test_what_is_kept_is_said(store, ended):
    collect(store, 8)
    runs = trial_reads.stage_runs_of(store.database, reads.trial(store.database, "s/T0").id)
    assert [run.content for run in runs] == ["state", "ema", "state"]
