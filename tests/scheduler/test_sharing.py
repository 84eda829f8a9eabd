"""What a submission tells of stage runs that other sweeps have trained, and what is told of them afterwards."""

import pytest
import sqlalchemy as sa

from dashboard import facts
from scheduler import commands, reads, settling, submitting
from scheduler import tables as t
from scheduler.forecast import forecast
from scheduler.sharing import stage_runs_here
from t2f.spec import stage_keys
from tests.scheduler.acting import claim, finish, finish_sweep, start

SWEEP = """
name: one
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
parameters:
  loss.name: {values: [%(losses)s]}
  generator.learning_rate: {values: [%(rates)s], from_stage: 8}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
FIRST = SWEEP % {"losses": "logistic-r1, hinge", "rates": "0.001, 0.002"}
SECOND = SWEEP % {"losses": "hinge, wgan-gp", "rates": "0.002, 0.003"}


@pytest.fixture
def told(store, resolved):
    """resolution -> stage runs of a sweep that are there, as told and as slow hashing of every trial finds them."""

    def look(text: str) -> dict[int, int]:
        sweep = resolved(text)
        trials = submitting.new_trials(sweep)
        found = stage_runs_here(store.database, sweep, trials)
        with store.database.read.begin() as connection:
            there = set(connection.scalars(sa.select(t.stage_runs.c.key)))
        keys = [stage_keys(sweep.space.stages(trial.parameters)) for trial in trials]
        slow = {
            resolution: len({path[index] for path in keys} & there)
            for index, resolution in enumerate(sweep.space.plan.resolutions)
        }
        assert found == {resolution: count for resolution, count in slow.items() if count}
        return found

    return look


def test_a_submission_knows_what_other_sweeps_have_or_want(store, submit, resolved, worker, told):
    assert told(FIRST) == {}
    first = submit(FIRST, name="first")
    assert told(SECOND) == {4: 1}, "what is wanted and not trained yet counts too"
    finish_sweep(store, first, worker)
    assert told(SECOND) == {4: 1, 8: 1, 16: 1}
    assert told(FIRST) == {4: 2, 8: 4, 16: 4}
    tree = submitting.submit_sweep(store, resolved(SECOND), name="x", submitted="", data_name="tiny", dry_run=True)
    assert (tree.stage_runs, tree.here) == ({4: 2, 8: 4, 16: 4}, {4: 1, 8: 1, 16: 1})


def test_what_was_canceled_and_what_shares_nothing_does_not_count(store, submit, resolved):
    first = submit(FIRST, name="first")

    def here(text: str) -> dict[int, int]:
        return stage_runs_here(store.database, resolved(text), submitting.new_trials(resolved(text)))

    assert here(FIRST) == {4: 2}
    assert here(FIRST + "share_prefix: off\n") == {}
    commands.cancel_sweep(store, first)
    assert here(FIRST) == {}
    assert stage_runs_here(None, resolved(FIRST), submitting.new_trials(resolved(FIRST))) == {}


def test_the_forecast_leaves_out_what_is_there(store, submit, resolved, worker, clock):
    first = submit(FIRST, name="first")
    while not settling.settle(store, first):
        job = claim(store, worker)
        start(store, job)
        clock.now += 1.0
        finish(store, job)
    sweep = resolved(SECOND)
    runs, stages = {4: 2, 8: 4, 16: 4}, submitting.typical_stages(sweep)
    whole = forecast(store.database, sweep.space.plan, stages, runs)
    rest = forecast(store.database, sweep.space.plan, stages, runs, here={4: 2, 8: 1})
    assert [one.here for one in rest.stages] == [2, 1, 0]
    assert [one.checkpoint_bytes for one in whole.stages] == [2.0, 4.0, 4.0]
    assert [one.checkpoint_bytes for one in rest.stages] == [0.0, 3.0, 4.0]
    unknown = forecast(None, sweep.space.plan, stages, runs, here=runs)
    assert [one.device_seconds for one in unknown.stages] == [0.0, 0.0, 0.0], "there is nothing to be known of"


def test_a_stage_run_of_another_sweep_is_saved_and_not_trained(store, submit, worker):
    first = submit(FIRST, name="first")
    finish_sweep(store, first, worker)
    second = submit(SECOND, name="second")
    finish_sweep(store, second, worker)
    told = {sweep.name: reads.counts(store.database, sweep) for sweep in (first, second)}
    assert {name: (one.trained, one.of_others, one.saved_by_sharing) for name, one in told.items()} == {
        "first": (10, 0, 2),
        "second": (7, 3, 5),
    }
    shown = facts.sweep(store.database, "second", limit=10, offset=0).sharing
    assert (shown.wanted, shown.stage_runs, shown.of_others, shown.saved) == (12, 10, 3, 5)
    assert (shown.seconds_trained, shown.seconds_saved) == (7.0, 5.0)
