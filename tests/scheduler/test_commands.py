"""Submitting and settling: the same end whatever happens in between."""

import itertools
import random

import pytest
import sqlalchemy as sa

from scheduler import commands, reads
from scheduler.commands import Tree
from scheduler.states import SweepState, TrialState
from scheduler.store import StaleAttempt, Store
from scheduler.tables import metadata
from t2f.errors import UserError
from tests.scheduler.acting import claim, finish, start, work_off
from tests.scheduler.conftest import DEMO_LIKE


def scores(job) -> float:
    """The logistic loss is better, and so is a higher learning rate."""
    settings = job.spec["stage"]["settings"] if job.kind == "evaluate" else {}
    return 0.2 + (settings.get("loss.name") == "logistic-r1") * 0.3 + 50 * settings.get("generator.learning_rate", 0)


def states(store, sweep) -> list[str]:
    return [str(trial.state) for trial in reads.trials(store.database, sweep.id)]


EXPECTED = ["pruned"] * 4 + ["complete"] * 2


def test_the_tree_says_what_sharing_saves(store, resolved):
    tree = commands.submit_sweep(store, resolved(DEMO_LIKE), name="s", submitted="", data_name="tiny", dry_run=True)
    assert tree == Tree(trials=6, stage_runs={4: 2, 8: 6, 16: 6}, images=14 * 40, images_unshared=18 * 40)
    assert (tree.total, tree.saved) == (14, 4)
    assert reads.sweeps(store.database) == [], "a dry run writes nothing"


def test_a_whole_sweep(store, submit, worker):
    sweep = submit()
    while not commands.settle(store, sweep):
        assert work_off(store, worker, scores)
    commands.end_sweep(store, sweep)
    assert states(store, sweep) == EXPECTED
    progress = reads.progress(store.database, sweep)
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
        elif act == "settle" and commands.settle(store, sweep):
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
                over = commands.settle(CrashingStore(store.database, clock, at=at), sweep)
                break
            except Crash:
                crashes += 1
        work_off(store, worker, scores, at_most=1)
    assert crashes > 5
    assert states(store, sweep) == EXPECTED


def test_settling_twice_changes_nothing(store, submit, worker):
    sweep = submit()
    work_off(store, worker, scores, at_most=3)
    commands.settle(store, sweep)
    before = everything(store)
    for _ in range(3):
        commands.settle(store, sweep)
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

    assert commands.promote_best(store, sweep, make_bundle) is None
    while not commands.settle(store, sweep):
        work_off(store, worker, scores)
    for _ in range(2):
        assert commands.promote_best(store, sweep, make_bundle).standing.number == 5
    assert made == [("s", 5, 16, 1)]
    assert commands.find_model(store.database, sweep, "best").uri == "models/5"


def test_a_trial_whose_evaluation_fails_fails_alone(store, submit, worker):
    sweep = submit()
    for _ in range(2):
        work_off(store, worker, scores, at_most=2)
        commands.settle(store, sweep)
    job = claim(store, worker)
    while job.kind != "evaluate" or job.resolution != 8:
        start(store, job)
        finish(store, job, score=0.5)
        commands.settle(store, sweep)
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
    while not commands.settle(store, sweep):
        work_off(store, worker, scores)
    assert states(store, sweep).count("failed") == 1
    assert states(store, sweep).count("complete") == 2


def test_a_sweep_without_any_result_has_failed(store, submit, worker):
    sweep = submit()
    for _ in range(2):
        job = claim(store, worker)
        start(store, job)
        store.report_diverged(job.stage_run_id, job.attempt, evidence={"x": 1})
    assert commands.settle(store, sweep)
    commands.end_sweep(store, sweep)
    found = reads.sweep(store.database, "s")
    assert found.state == SweepState.FAILED
    assert "no trial came to a result" in found.error


def test_names_are_taken_once(store, submit, resolved):
    submit()
    with pytest.raises(UserError, match="exists already"):
        commands.submit_sweep(store, resolved(DEMO_LIKE), name="s", submitted="", data_name="tiny")


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
    found = commands.provenance()
    assert found["packages"]["torch"].startswith("2.")
    assert found["commit"] is None or len(found["commit"]) == 40
