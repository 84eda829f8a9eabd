"""Submitting and settling: the same end whatever happens in between."""

import dataclasses
import itertools
import random
import subprocess
import sys

import pytest
import sqlalchemy as sa

from scheduler import commands, model_reads, promoting, reads, settling, submitting
from scheduler.states import RunState, SweepState, TrialState
from scheduler.store import StaleAttempt, Store
from scheduler.submitting import Tree
from scheduler.sweepfile import EarlyTermination
from scheduler.tables import metadata
from t2f.errors import UserError
from t2f.spec import StagePlan
from tests.scheduler.acting import claim, finish, finish_sweep, start, work_off
from tests.scheduler.conftest import DEMO_LIKE


def scores(job) -> float:
    """The logistic loss is better, and so is a higher learning rate."""
    settings = job.spec["stage"]["settings"] if job.kind == "evaluate" else {}
    return 0.2 + (settings.get("loss.name") == "logistic-r1") * 0.3 + 50 * settings.get("generator.learning_rate", 0)


def states(store, sweep) -> list[str]:
    return [str(trial.state) for trial in reads.trials(store.database, sweep.id)]


NO_STOPPING = """
name: s
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8], images: [40, 40], batch: 8}
parameters: {generator.learning_rate: {values: [0.001, 0.002, 0.003, 0.004, 0.005]}}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
EXPECTED = ["pruned"] * 4 + ["complete"] * 2


def test_the_tree_says_what_sharing_saves(store, resolved):
    tree = submitting.submit_sweep(store, resolved(DEMO_LIKE), name="s", submitted="", data_name="tiny", dry_run=True)
    assert tree == Tree(trials=6, stage_runs={4: 2, 8: 6, 16: 6}, images=14 * 40, images_unshared=18 * 40)
    assert (tree.total, tree.saved) == (14, 4)
    assert reads.sweeps(store.database) == [], "a dry run writes nothing"


def test_a_whole_sweep(store, submit, worker):
    sweep = submit()
    finish_sweep(store, sweep, worker, scores)
    assert states(store, sweep) == EXPECTED
    progress = reads.counts(store.database, sweep)
    assert progress.trained == 2 + 6 + 2
    assert progress.saved_by_sharing == 4
    ranked = [one.standing.number for one in reads.ranking(store.database, sweep)]
    assert ranked == [5, 4, 3, 2, 1, 0]
    assert reads.sweep(store.database, "s").state == SweepState.COMPLETE


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_completion_and_any_loss_gives_the_same_end(store, submit, clock, seed):
    """Workers die, are slow and finish in any order; a new scheduler settles again and again."""
    chance = random.Random(seed)
    sweep = submit()
    workers = [store.register_worker(name=f"w{n}", node="n", pid=n, device="cpu", share=1.0) for n in range(3)]
    jobs = []
    for _ in range(2000):
        act = chance.choice(("claim", "finish", "settle", "expire", "lose", "twice"))
        if act == "claim" and len(jobs) < 3:
            job = claim(store, chance.choice(workers), lease=10)
            if job is not None:
                start(store, job)
                jobs.append(job)
        elif act in ("finish", "twice") and jobs:
            job = jobs.pop(chance.randrange(len(jobs)))
            try:
                finish(store, job, score=scores(job))
                if act == "twice":
                    with pytest.raises(StaleAttempt):
                        finish(store, job, score=0.9)
            except StaleAttempt:
                pass
        elif act == "expire" and chance.random() < 0.05:
            clock.now += 11
            store.expire_leases()
        elif act == "lose" and jobs and chance.random() < 0.05:
            jobs.pop()  # the worker is gone and says nothing
        elif act == "settle" and settling.settle(store, sweep):
            break
        clock.now += 0.05
    assert states(store, sweep) == EXPECTED
    assert reads.ranking(store.database, sweep)[0].standing.number == 5


class Crash(Exception):  # noqa: N818
    pass


class CrashingStore(Store):
    """Dies at the n-th transaction, before or after it is committed."""

    def __init__(self, database, clock, *, at: int) -> None:
        super().__init__(database, clock=clock)
        self._left = at

    def _transaction(self):
        self._left -= 1
        if self._left < 0:
            raise Crash
        return super()._transaction()


def test_a_scheduler_that_dies_between_any_two_transactions_is_followed_by_one_that_comes_to_the_same_end(
    store, submit, worker, clock
):
    sweep = submit()
    crashes, over = 0, False
    while not over:
        for at in itertools.count():
            try:
                over = settling.settle(CrashingStore(store.database, clock, at=at), sweep)
                break
            except Crash:
                crashes += 1
        work_off(store, worker, scores, at_most=1)
    assert crashes > 5
    assert states(store, sweep) == EXPECTED


def test_settling_twice_changes_nothing(store, submit, worker):
    sweep = submit()
    work_off(store, worker, scores, at_most=3)
    settling.settle(store, sweep)
    before = everything(store)
    for _ in range(3):
        settling.settle(store, sweep)
    assert everything(store) == before


def everything(store) -> dict[str, list[tuple]]:
    with store.database.read.begin() as connection:
        return {name: connection.execute(sa.select(table)).all() for name, table in metadata.tables.items()}


def test_the_best_trial_becomes_the_model_once(store, submit, worker):
    sweep = submit()
    made = []

    def make_bundle(of, trial, run, checkpoint):
        made.append((of.name, trial.number, run.resolution, checkpoint.sealed))
        return f"models/{trial.number}", "h" * 64

    assert promoting.promote_best(store, sweep, make_bundle) is None
    while not settling.settle(store, sweep):
        work_off(store, worker, scores)
    for _ in range(2):
        assert promoting.promote_best(store, sweep, make_bundle).standing.number == 5
    assert made == [("s", 5, 16, 1)]
    assert model_reads.find_model(store.database, sweep.name, "best").uri == "models/5"


def test_a_best_model_that_cannot_be_written_says_how_it_is_made_later(store, submit, worker):
    sweep = submit()

    def make_bundle(*_):
        raise OSError(28, "No space left on device", "/models/s")

    while not settling.settle(store, sweep):
        work_off(store, worker, scores)
    with pytest.raises(UserError) as caught:
        promoting.promote_best(store, sweep, make_bundle)
    assert str(caught.value) == (
        "the best model, s/T5@16, could not be written: [Errno 28] No space left on device: '/models/s'; "
        "once that is mended, make it with `t2f promote s/T5@16`"
    )
    settling.end_sweep(store, sweep, fault=str(caught.value))
    ended = reads.sweep(store.database, "s")
    assert (ended.state, ended.error) == (SweepState.COMPLETE, str(caught.value))
    assert not ended.is_open


def test_a_new_best_is_promoted_while_the_sweep_runs_and_no_other(store, submit, worker):
    sweep = submit(NO_STOPPING)
    given = iter([0.5, 0.4, 0.7, 0.7, 0.6])  # of the last stage, one trial after another
    made = []

    def make_bundle(of, trial, run, checkpoint):
        made.append(run.evaluation.score)
        return f"models/{trial.number}", "h" * 64

    def promote():
        promoting.promote_best(store, sweep, make_bundle)

    def score(job) -> float:
        return next(given) if job.kind == "evaluate" and job.resolution == 8 else 0.0

    while not settling.settle(store, sweep, promote=promote):
        assert work_off(store, worker, score, at_most=1)
    assert made == [0.5, 0.7]
    promote()
    assert len(made) == 2, "the end of the sweep finds its best model there"


def test_a_trial_whose_evaluation_fails_fails_alone(store, submit, worker):
    sweep = submit()
    for _ in range(2):
        work_off(store, worker, scores, at_most=2)
        settling.settle(store, sweep)
    job = claim(store, worker)
    while job.kind != "evaluate" or job.resolution != 8:
        start(store, job)
        finish(store, job, score=0.5)
        settling.settle(store, sweep)
        job = claim(store, worker)
    start(store, job)
    store.evaluation_error(job.evaluation_id, job.attempt, error="same")
    again = claim(store, worker)
    while again.evaluation_id != job.evaluation_id:
        start(store, again)
        finish(store, again, score=scores(again))
        again = claim(store, worker)
    start(store, again)
    store.evaluation_error(again.evaluation_id, again.attempt, error="same")
    while not settling.settle(store, sweep):
        work_off(store, worker, scores)
    assert states(store, sweep).count("failed") == 1
    assert states(store, sweep).count("complete") == 2


def test_a_sweep_without_any_result_has_failed(store, submit, worker):
    sweep = submit()
    for _ in range(2):
        job = claim(store, worker)
        start(store, job)
        store.report_diverged(job.stage_run_id, job.attempt, evidence={"x": 1})
    assert settling.settle(store, sweep)
    settling.end_sweep(store, sweep)
    found = reads.sweep(store.database, "s")
    assert found.state == SweepState.FAILED
    assert "no trial came to a result" in found.error


def test_names_are_taken_once(store, submit, resolved):
    submit()
    with pytest.raises(UserError, match="exists already"):
        submitting.submit_sweep(store, resolved(DEMO_LIKE), name="s", submitted="", data_name="tiny")


def test_what_ended_cannot_be_canceled_or_paused(store, submit):
    sweep = submit()
    trial = reads.trials(store.database, sweep.id)[0]
    commands.cancel_trial(store, trial)
    with pytest.raises(UserError, match="is canceled already"):
        commands.cancel_trial(store, reads.trial(store.database, "s/T0"))
    commands.cancel_sweep(store, sweep)
    ended = reads.sweep(store.database, "s")
    for act in (commands.cancel_sweep, commands.pause_sweep, commands.resume_sweep):
        with pytest.raises(UserError, match="is canceled already"):
            act(store, ended)
    assert {trial.state for trial in reads.trials(store.database, sweep.id)} == {TrialState.CANCELED}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", "no trial's name"),
        ("s/T99", "there is no trial"),
        ("nope/T0", "there is no sweep 'nope'"),
        ("T-1", "no trial's name"),
        ("s/T\u00b2", "no trial's name"),
    ],
)
def test_trials_that_do_not_exist_are_named(store, submit, name, message):
    submit()
    with pytest.raises(UserError, match=message):
        reads.trial(store.database, name)


def test_a_short_name_must_be_unique(store, submit):
    submit(name="a")
    assert reads.trial(store.database, "T3").name == "a/T3"
    submit(name="b")
    with pytest.raises(UserError, match="not unique: a/T3, b/T3"):
        reads.trial(store.database, "T3")


def test_provenance_names_code_and_packages():
    found = submitting.provenance()
    assert found["packages"]["torch"].startswith("2.")
    assert found["commit"] is None or len(found["commit"]) == 40


def test_the_grid_of_the_first_sweep_trains_two_two_six_and_two(store, resolved, worker):
    """Two losses, three rates from 16 px on, 4 to 32 px: what is shared is trained once."""
    small = resolved(DEMO_LIKE)
    plan = StagePlan(resolutions=(4, 8, 16, 32), images=(40,) * 4, fade=(0.5,) * 4, batch=(8,) * 4)
    late = tuple(
        dataclasses.replace(parameter, from_stage=16) if parameter.from_stage else parameter
        for parameter in small.space.parameters
    )
    wanted = dataclasses.replace(
        small,
        space=dataclasses.replace(small.space, plan=plan, parameters=late),
        early_terminate=EarlyTermination(type="halving", eta=3, min_stage=16),
    )
    tree = submitting.submit_sweep(store, wanted, name="s", submitted="", data_name="tiny")
    assert (tree.trials, tree.stage_runs) == (6, {4: 2, 8: 2, 16: 6, 32: 6})
    sweep = reads.sweep(store.database, "s")
    while not settling.settle(store, sweep):
        assert work_off(store, worker, scores)
    progress = reads.progress(store.database, sweep)
    trained = [run.resolution for run in progress.stage_runs]
    assert {resolution: trained.count(resolution) for resolution in plan.resolutions} == {4: 2, 8: 2, 16: 6, 32: 2}
    assert reads.counts(store.database, sweep).saved_by_sharing == 6 * 3 + 2 - 12
    assert states(store, sweep) == EXPECTED


ONE_RUNG_MORE = DEMO_LIKE.replace("min_stage: 8", "min_stage: 4")


def to_the_end(store, sweep, worker) -> None:
    for _ in range(30):
        if settling.settle(store, sweep):
            return
        work_off(store, worker, scores)
    pytest.fail(f"the sweep hangs: {states(store, sweep)}")


def test_canceling_one_of_the_trials_on_a_stage_run_does_not_hold_the_others_up(store, submit, worker):
    sweep = submit(text=ONE_RUNG_MORE)
    work_off(store, worker, at_most=2)
    commands.cancel_trial(store, reads.trials(store.database, sweep.id)[0])
    to_the_end(store, sweep, worker)
    assert states(store, sweep)[0] == "canceled"
    assert "complete" in states(store, sweep)


def test_a_metric_without_a_value_at_a_rung_ends_the_trial_with_the_reason(store, submit, worker):
    sweep = submit(text=DEMO_LIKE + "metric: {name: swd}\n")  # swd begins at 16 px
    to_the_end(store, sweep, worker)
    assert states(store, sweep) == ["failed"] * 6
    with store.database.read.begin() as connection:
        reasons = connection.scalars(
            sa.select(metadata.tables["events"].c.payload).where(metadata.tables["events"].c.kind == "trial.failed")
        ).all()
    assert all("swd has no value at 8 px" in reason["reason"] for reason in reasons)


class Interrupted(Store):
    """Lets somebody else write just before the demands of a round are written."""

    def __init__(self, database, clock, act) -> None:
        super().__init__(database, clock=clock)
        self._act = act

    def demand(self, *args, **kwargs):
        self._act()
        return super().demand(*args, **kwargs)


def test_a_trial_canceled_while_its_next_stage_is_decided_wants_nothing(store, submit, worker, clock):
    sweep = submit()
    work_off(store, worker, at_most=2)

    def cancel() -> None:
        for trial in reads.trials(store.database, sweep.id):
            if trial.is_open:
                commands.cancel_trial(store, trial)

    settling.settle(Interrupted(store.database, clock, cancel), sweep)
    assert set(states(store, sweep)) == {"canceled"}
    while (job := claim(store, worker)) is not None:
        assert job.kind == "evaluate"
        start(store, job)
        finish(store, job)


def test_a_sweep_paused_while_its_next_stages_are_decided_starts_none(store, submit, worker, clock):
    sweep = submit()
    work_off(store, worker, at_most=2)
    settling.settle(Interrupted(store.database, clock, lambda: commands.pause_sweep(store, sweep)), sweep)
    while (job := claim(store, worker)) is not None:
        assert job.kind == "evaluate"
        start(store, job)
        finish(store, job)
    commands.resume_sweep(store, sweep)
    assert claim(store, worker).kind == "train"


def test_ending_a_sweep_that_was_canceled_meanwhile_leaves_it_canceled(store, submit, worker):
    sweep = submit()
    to_the_end(store, sweep, worker)
    commands.cancel_sweep(store, sweep)
    settling.end_sweep(store, sweep)
    assert reads.sweep(store.database, "s").state == SweepState.CANCELED


def test_a_broken_trial_keeps_its_path_and_can_be_retried(store, submit, worker):
    sweep = submit()
    job = claim(store, worker)
    start(store, job)
    store.report_diverged(job.stage_run_id, 1, evidence={"loss": "nan"})
    to_the_end(store, sweep, worker)
    settling.end_sweep(store, sweep)
    path = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    broken = [trial for trial in reads.trials(store.database, sweep.id) if trial.state == TrialState.DIVERGED]
    assert [[run.state for run in path[trial.id]] for trial in broken] == [["diverged"]] * 3
    commands.retry_trial(store, sweep, broken[1])
    again = reads.sweep(store.database, "s")
    assert again.state == SweepState.RUNNING
    to_the_end(store, again, worker)
    ended = {trial.id: trial.state for trial in reads.trials(store.database, sweep.id)}
    assert ended[broken[0].id] == TrialState.DIVERGED
    assert ended[broken[1].id] in (TrialState.COMPLETE, TrialState.PRUNED)
    with pytest.raises(UserError, match="only a failed or diverged trial can be retried"):
        commands.retry_trial(store, sweep, broken[1])


def test_a_retry_by_hand_has_fresh_budgets(store, submit, worker, clock):
    sweep = submit(text=DEMO_LIKE.replace("values: [wgan-gp, logistic-r1]", "value: wgan-gp"))
    for number in range(2):
        clock.now += 1000
        job = claim(store, worker)
        start(store, job)
        store.report_error(job.stage_run_id, job.attempt, error=f"{number}", infrastructure=False, progressed=True)
    settling.settle(store, sweep)
    assert set(states(store, sweep)) == {"failed"}
    commands.retry_trial(store, sweep, reads.trial(store.database, "s/T0"))
    job = claim(store, worker)
    start(store, job)
    store.report_error(job.stage_run_id, job.attempt, error="once more", infrastructure=False, progressed=True)
    assert states(store, sweep)[0] == "running"
    to_the_end(store, sweep, worker)
    assert states(store, sweep) == ["complete", "failed", "failed"]


def test_the_scheduler_decides_without_torch_and_ray():
    code = "import sys, scheduler.commands; print([name for name in ('torch', 'ray') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def stage_run_states(store):
    with store.database.read.begin() as connection:
        return set(connection.scalars(sa.select(metadata.tables["stage_runs"].c.state)))


def test_a_sweep_under_which_the_data_changed_is_paused_with_the_reason(store, submit):
    sweep = submit()
    assert stage_run_states(store) == {RunState.READY}
    assert not settling.pause_changed_data(store, sweep, sweep.data_key)
    assert not settling.pause_changed_data(store, sweep, None), "it may be just being replaced"
    assert reads.sweep(store.database, "s").state == SweepState.RUNNING
    assert settling.pause_changed_data(store, sweep, "f" * 64)
    paused = reads.sweep(store.database, "s")
    assert paused.state == SweepState.PAUSED
    assert "the data set 'tiny' changed: its key is ffffffffffff..." in paused.error
    assert stage_run_states(store) == {RunState.WAITING}, "none of its stage runs is started any more"
    commands.resume_sweep(store, paused)
    resumed = reads.sweep(store.database, "s")
    assert (resumed.state, resumed.error) == (SweepState.RUNNING, None)
    assert not settling.pause_changed_data(store, resumed, sweep.data_key)
