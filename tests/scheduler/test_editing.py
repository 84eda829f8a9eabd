"""Editing a sweep: what changes, what stays, who did it, and what is refused."""

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling, trial_reads
from scheduler import tables as t
from scheduler.states import SweepState
from t2f.errors import UserError
from tests.scheduler.acting import work_off
from tests.scheduler.conftest import DEMO_LIKE

RANDOM = DEMO_LIKE.replace(
    "generator.learning_rate: {values: [0.001, 0.002, 0.004], from_stage: 8}",
    "generator.learning_rate: {distribution: log_uniform, min: 0.0001, max: 0.001, from_stage: 8}",
)
RANDOM += "method: random\nbudget: {max_trials: 4}\n"


def sweep_of(store):
    return reads.sweep(store.database, "s")


def trials(store):
    return reads.trials(store.database, sweep_of(store).id)


def edit(store, changes, **options):
    return commands.edit_sweep(store, sweep_of(store), changes, by="ada", **options)


def end(store, worker):
    while not settling.settle(store, sweep_of(store)):
        work_off(store, worker)
    settling.end_sweep(store, sweep_of(store))


def events(store, kind):
    with store.database.read.begin() as connection:
        return connection.execute(sa.select(t.events).where(t.events.c.kind == kind)).all()


def test_further_values_of_a_grid_are_further_trials(store, submit, worker):
    submit()
    end(store, worker)
    before = [(trial.id, trial.parameters, trial.state) for trial in trials(store)]
    done = edit(store, {"parameters.loss.name": {"values": ["wgan-gp", "logistic-r1", "hinge"]}})
    assert (done.new_trials, done.goes_on) == (3, True)
    assert sweep_of(store).state == SweepState.RUNNING
    assert [(trial.id, trial.parameters, trial.state) for trial in trials(store)][:6] == before
    assert [trial.parameters["loss.name"] for trial in trials(store)][6:] == ["hinge"] * 3
    (event,) = events(store, "sweep.edited")
    assert event.payload["by"] == "ada"
    (before, after) = event.payload["changes"]["parameters.loss.name"]
    assert (before["values"], after["values"]) == (["wgan-gp", "logistic-r1"], ["wgan-gp", "logistic-r1", "hinge"])
    end(store, worker)
    assert sweep_of(store).state == SweepState.COMPLETE


def test_other_bounds_and_more_trials_of_a_random_sweep(store, submit):
    submit(text=RANDOM)
    old = [trial.parameters for trial in trials(store)]
    done = edit(
        store,
        {
            "budget.max_trials": 7,
            "parameters.generator.learning_rate": {
                "distribution": "log_uniform",
                "min": 0.01,
                "max": 0.1,
                "from_stage": 8,
            },
        },
    )
    assert (done.new_trials, done.goes_on) == (3, False)
    assert [trial.parameters for trial in trials(store)][:4] == old
    assert all(0.01 <= trial.parameters["generator.learning_rate"] <= 0.1 for trial in trials(store)[4:])
    assert sweep_of(store).resolved.budget.max_trials == 7
    assert sweep_of(store).resolved.method == "random"


def test_priority_reaches_what_is_queued_already(store, submit):
    submit()
    edit(store, {"resources.priority": 90, "retry.code": 3})
    with store.database.read.begin() as connection:
        assert set(connection.scalars(sa.select(t.stage_runs.c.priority))) == {90}
    assert sweep_of(store).resolved.retry.code == 3
    assert sweep_of(store).resolved.retry.infrastructure == 10


def test_a_constant_of_its_own_stays_with_the_trials_that_have_it(store, submit):
    submit()
    stages = sweep_of(store).resolved.space.stages(trials(store)[0].parameters)
    edit(store, {"parameters.network.latent": {"values": [512, 24]}})
    assert sweep_of(store).resolved.space.stages(trials(store)[0].parameters) == stages
    assert len(trials(store)) == 6 + 12


def test_a_dry_run_writes_nothing(store, submit):
    submit()
    done = edit(store, {"resources.priority": 90}, dry_run=True)
    assert done.changes == {"resources.priority": (50, 90)}
    assert sweep_of(store).resolved.priority == 50
    assert not events(store, "sweep.edited")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, "'seed' cannot be edited; give parameters.SETTING"),
        ({"stages.images": [1]}, "cannot be edited"),
        ({"parameters.loss.nam": "hinge"}, "loss.name"),
        ({"parameters.loss.name": {"values": ["hinge", "hinge"]}}, "holds one twice"),
        ({"parameters.generator.learning_rate": {"values": [0.1]}}, "holds from 8 px on"),
        ({"parameters.loss.name": {"per_stage": ["hinge"] * 3}}, "give the same from_stage or per_stage"),
        ({"resources.priority": 101}, "from 0 to 100"),
        ({"budget.max_trials": 7.5}, "whole number"),
        ({"resources.priority": 50}, "nothing would change"),
        ({"parameters.loss.name": {"values": ["wgan-gp", "hinge"]}, "budget.max_trials": 6}, "9 trials and .* is 6"),
    ],
)
def test_edits_that_cannot_be(store, submit, changes, message):
    submit()
    before = trial_reads.submission(store.database, sweep_of(store).id)
    with pytest.raises(UserError, match=message):
        edit(store, changes)
    assert trial_reads.submission(store.database, sweep_of(store).id) == before
    assert len(trials(store)) == 6


def test_two_edits_of_the_same_row_do_not_undo_each_other(store, submit):
    sweep = submit()
    stale = sweep_of(store)
    edit(store, {"resources.priority": 90})
    before = trial_reads.submission(store.database, sweep.id).resolved
    assert not store.edit_sweep(
        sweep.id,
        before=stale.resolved.to_json(),
        resolved=stale.resolved.to_json(),
        trials=[],
        goes_on=False,
        changes={},
        by="eve",
    )
    assert trial_reads.submission(store.database, sweep.id).resolved == before
