"""Editing a sweep: what changes, what stays, who did it, and what is refused."""

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling, trial_reads
from scheduler import tables as t
from scheduler.states import SweepState
from t2f.errors import UserError
from tests.scheduler.acting import work_off
from tests.scheduler.conftest import DEMO_LIKE
from tests.scheduler.test_growing import GROW

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


def test_a_budget_is_raised_and_lifted(store, submit):
    submit(DEMO_LIKE + "budget: {wall: 1h, gpu_hours: 5, max_trials: 20}\n")
    assert edit(store, {"budget.wall": "2h"}).changes == {"budget.wall_seconds": (3600, 7200)}
    done = edit(store, {"budget.wall": None, "budget.gpu_hours": None})
    assert done.changes == {"budget.wall_seconds": (7200, None), "budget.gpu_hours": (5, None)}
    budget = sweep_of(store).resolved.budget
    assert (budget.wall_seconds, budget.gpu_hours, budget.max_trials) == (None, None, 20)
    edit(store, {"budget.max_trials": None})
    assert sweep_of(store).resolved.budget.max_trials is None


def test_a_random_sweep_needs_its_number_of_trials(store, submit):
    submit(RANDOM)
    with pytest.raises(UserError, match="max_trials is missing"):
        edit(store, {"budget.max_trials": None})


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


CONDITIONAL = DEMO_LIKE.replace(
    "  generator.learning_rate",
    "  loss.r1_gamma: {values: [0.1, 1], when: {loss.name: logistic-r1}}\n  generator.learning_rate",
)
CONDITIONAL += "constraints: [loss.r1_gamma < 3]\n"


def test_a_conditional_parameter_gets_further_values(store, submit):
    submit(text=CONDITIONAL)
    assert len(trials(store)) == 3 + 2 * 3
    changes = {"parameters.loss.r1_gamma": {"values": [0.1, 1, 2, 5], "when": {"loss.name": "logistic-r1"}}}
    done = edit(store, changes)
    assert list(done.changes) == ["parameters.loss.r1_gamma"]
    assert done.new_trials == 3, "those with 5 break the constraint"
    assert {trial.parameters["loss.r1_gamma"] for trial in trials(store)[9:]} == {2}
    with pytest.raises(UserError, match=r"loss.r1_gamma: when: loss.name = 'logistic-r1' never holds"):
        edit(store, {"parameters.loss.name": {"values": ["wgan-gp", "hinge"]}})


@pytest.mark.parametrize("grow", ["{population: 6, keep: 2}", "{population: 6, preset: pbt, truncate: 0.4}"])
def test_a_population_is_edited(store, submit, grow):
    submit(text=GROW.replace("{population: 6, keep: 2, children: 3}", grow) + "budget: {max_trials: 12}\n")
    done = edit(store, {"budget.max_trials": 20, "resources.priority": 80})
    assert (set(done.changes), done.new_trials) == ({"budget.max_trials", "resources.priority"}, 0)
    with pytest.raises(UserError, match="population = 6 is more than budget.max_trials = 5"):
        edit(store, {"budget.max_trials": 5})
    assert edit(store, {"parameters.loss.name": {"values": ["hinge", "wgan-gp"]}}).new_trials == 0


def test_of_several_objectives_the_budget_is_edited(store, submit):
    text = RANDOM.replace(
        "early_terminate: {type: halving, eta: 3, min_stage: 8}", "metric: [{name: text}, {name: swd}]"
    )
    submit(text=text)
    assert edit(store, {"budget.max_trials": 6}).new_trials == 2
    assert [one.metric for one in sweep_of(store).resolved.objectives] == ["text", "swd"]


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
