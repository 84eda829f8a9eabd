"""Trials that are asked for while a sweep runs, over real rows in a real database."""

import json
import math

import pytest
import sqlalchemy as sa

from scheduler import asking, commands, reads, search_reads, settling, submitting, telling
from scheduler import tables as t
from scheduler.search.listed import random_trial
from scheduler.search.told import ToldState
from scheduler.states import SweepState, TrialState
from scheduler.store import NewTrial, Store
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import SpecError, UserError
from tests.scheduler.acting import claim, finish, start, work_off

TPE = """
name: search
data: {dataset: tiny}
preset: small
seed: 3
method: tpe
stages: {resolutions: [4], images: [40], batch: 8}
parameters:
  generator.learning_rate: {distribution: log_uniform, min: 1e-5, max: 1e-1}
  discriminator.learning_rate: {distribution: log_uniform, min: 1e-5, max: 1e-1}
budget: {max_trials: 30}
parallel: 2
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
"""
STAGED = TPE.replace("[4], images: [40]", "[4, 8, 16], images: [40, 40, 40]")


def known_score(values: dict) -> float:
    """What stands for a training: best where both rates are 10^-2.5."""
    rates = (values["generator.learning_rate"], values["discriminator.learning_rate"])
    return math.exp(-sum((math.log10(rate) + 2.5) ** 2 for rate in rates) / 2)


def scores(job) -> float:
    return known_score(job.spec["stage"]["settings"]) if job.kind == "evaluate" else 0.5


def run_whole(store, sweep, worker, score=scores) -> None:
    for _ in range(500):
        if settling.settle(store, sweep):
            return
        work_off(store, worker, score)
    raise AssertionError("the sweep does not end")


def trials_of(store, sweep):
    return reads.trials(store.database, sweep.id)


def told(store, sweep):
    return telling.told_rows(store.database, sweep, trials_of(store, sweep), telling.steps_of(store.database, sweep))


def test_tpe_finds_better_values_than_random_with_as_many_trials(store, submit, worker):
    better = 0
    for seed in (0, 1, 2):
        sweep = submit(TPE.replace("seed: 3", f"seed: {seed}"), name=f"s{seed}")
        run_whole(store, sweep, worker)
        found = trials_of(store, sweep)
        assert [trial.number for trial in found] == list(range(30))
        assert {trial.state for trial in found} == {TrialState.COMPLETE}
        random = [known_score(random_trial(sweep.resolved.space, number)) for number in range(30)]
        better += max(known_score(trial.parameters) for trial in found) > max(random)
    assert better >= 2


def test_as_many_trials_have_work_as_parallel_says(store, submit, worker):
    sweep = submit(TPE)
    for _ in range(12):
        steps = telling.steps_of(store.database, sweep)
        found = trials_of(store, sweep)
        assert sum(telling.has_work(trial, steps.get(trial.id, [])) for trial in found) == 2
        job = claim(store, worker)
        start(store, job)
        finish(store, job, score=0.5)
        settling.settle(store, sweep)
    assert len(trials_of(store, sweep)) > 4


def test_without_parallel_there_is_one_trial_more_than_workers(store, submit):
    for number in range(3):
        store.register_worker(name=f"w{number}", node="n", pid=number, device="cpu", share=1.0)
    assert len(trials_of(store, submit(TPE.replace("parallel: 2\n", "")))) == 4


def test_only_workers_that_have_the_labels_are_counted(store, submit):
    for number, labels in enumerate([{}, {"pool": "a100"}, {"pool": "a100", "zone": "b"}, {"pool": "h100"}]):
        store.register_worker(name=f"w{number}", node="n", pid=number, device="cpu", share=1.0, labels=labels)
    text = TPE.replace("parallel: 2\n", "") + "resources: {labels: {pool: a100}}\n"
    assert len(trials_of(store, submit(text))) == 3


def test_asking_again_after_a_crash_gives_the_same_trials(store, submit, worker, clock):
    """The second scheduler knows only rows; the first one died before or after it wrote the trial."""
    sweep = submit(TPE)
    work_off(store, worker, scores)
    for _ in range(13):  # by turns trained and measured
        settling.settle(store, sweep)
        work_off(store, worker, scores)
    number = len(trials_of(store, sweep))

    class Dies(Store):
        def add_asked(self, *args, **kwargs):
            self.asked = args[1]
            raise KeyboardInterrupt

    proposals = []
    for _ in range(2):
        dying = Dies(store.database, clock=clock)
        with pytest.raises(KeyboardInterrupt):
            asking.ask_trials(dying, sweep)
        proposals.append([trial.parameters for trial in dying.asked])
    assert proposals[0] == proposals[1]
    assert asking.ask_trials(Store(store.database, clock=clock), sweep)
    assert [trial.parameters for trial in trials_of(store, sweep)[number:]] == proposals[0]


def test_two_trials_never_get_one_number(store, submit, worker):
    sweep = submit(TPE)
    work_off(store, worker, scores)
    settling.settle(store, sweep)
    work_off(store, worker, scores)

    class Slow(Store):
        """Somebody enqueues a trial between the proposal and its writing."""

        def add_asked(self, *args, **kwargs):
            commands.enqueue_trial(store, sweep, {"generator.learning_rate": 0.01})
            return super().add_asked(*args, **kwargs)

    assert not asking.ask_trials(Slow(store.database, clock=store._clock), sweep)
    assert [trial.origin for trial in trials_of(store, sweep)] == ["tpe", "tpe", "enqueued"]
    assert store.add_asked(sweep.id, [NewTrial(parameters={}, origin="tpe")], first=2) is False
    commands.pause_sweep(store, sweep)
    assert store.add_asked(sweep.id, [NewTrial(parameters={}, origin="tpe")], first=3) is False


def test_what_was_given_stays_and_the_rest_is_drawn(store, submit, worker):
    enqueue = "enqueue: [{generator.learning_rate: 0.003}]\n"
    sweep = submit(TPE + enqueue)
    first, second, *_ = trials_of(store, sweep)
    assert (first.origin, second.origin) == ("enqueued", "tpe")
    assert first.parameters["generator.learning_rate"] == 0.003
    assert set(first.parameters) == {"generator.learning_rate", "discriminator.learning_rate"}
    name = commands.enqueue_trial(store, sweep, {"discriminator.learning_rate": 0.002})
    assert reads.trial(store.database, name).parameters == {"discriminator.learning_rate": 0.002}
    settling.settle(store, sweep)
    assert set(reads.trial(store.database, name).parameters) == set(first.parameters)
    run_whole(store, sweep, worker)
    assert len(trials_of(store, sweep)) == 30, "enqueued trials are part of the budget"
    settling.end_sweep(store, sweep)
    with pytest.raises(UserError, match="'s' is complete already"):
        commands.enqueue_trial(store, sweep, {"discriminator.learning_rate": 0.002})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generator.learning_rat": 1}, "did you mean 'generator.learning_rate'"),
        (
            {"loss.drift": 1},
            "loss.drift is no parameter of this sweep; its parameters are generator.learning_rate, dis",
        ),
        ({"generator.learning_rate": 0.5}, "it must be a number from 1e-05 to 0.1"),
        ({"generator.learning_rate": "x"}, "generator.learning_rate = 'x' is not allowed"),
        ({}, "no parameter is given"),
    ],
)
def test_enqueued_parameters_are_checked(store, submit, given, message):
    sweep = submit(TPE)
    with pytest.raises(UserError) as caught:
        commands.enqueue_trial(store, sweep, given)
    assert message in str(caught.value)
    assert len(trials_of(store, sweep)) == 2


RUNGS = STAGED + "early_terminate: {type: asha, eta: 3, min_stage: 4}\n"


def test_trials_at_a_rung_make_room_and_are_told_with_their_places(store, submit, worker):
    sweep = submit(RUNGS.replace("max_trials: 30", "max_trials: 12"))
    run_whole(store, sweep, worker)
    found = trials_of(store, sweep)
    assert len(found) == 12
    assert {trial.state for trial in found} == {TrialState.COMPLETE, TrialState.PRUNED}
    rows = {row.number: row for row in told(store, sweep)}
    assert {row.state for row in rows.values()} == {ToldState.MEASURED}
    pruned = [rows[trial.number].places for trial in found if trial.state == TrialState.PRUNED]
    complete = [rows[trial.number].places for trial in found if trial.state == TrialState.COMPLETE]
    assert min(complete) > max(pruned)


def test_what_is_told_of_running_failed_and_canceled_trials(store, submit, worker):
    sweep = submit(STAGED.replace("parallel: 2", "parallel: 4"))
    first, second, third, fourth = trials_of(store, sweep)
    job = claim(store, worker)
    start(store, job)
    finish(store, job)
    store.set_trial_states({second.id: TrialState.FAILED})
    store.set_trial_states({third.id: TrialState.CANCELED})
    rows = {row.number: row for row in told(store, sweep)}
    assert rows[first.number].state == ToldState.RUNNING
    assert (rows[second.number].state, rows[second.number].places) == (ToldState.FAILED, (0.0,))
    assert third.number not in rows
    assert rows[fourth.number].state == ToldState.RUNNING


LATE = STAGED.replace(
    "budget:", "  optimizer.beta1: {distribution: uniform, min: 0, max: 0.9, from_stage: 16}\nbudget:"
).replace("max_trials: 30", "max_trials: 6")


def test_a_late_parameter_is_drawn_when_the_trial_gets_there(store, submit, worker):
    sweep = submit(LATE + "early_terminate: {type: halving, eta: 3, min_stage: 8}\n")
    assert all("optimizer.beta1" not in trial.parameters for trial in trials_of(store, sweep))
    run_whole(store, sweep, worker)
    for trial in trials_of(store, sweep):
        assert ("optimizer.beta1" in trial.parameters) == (trial.state == TrialState.COMPLETE), trial
    rows = {row.number: row for row in told(store, sweep)}
    complete = [trial for trial in trials_of(store, sweep) if trial.state == TrialState.COMPLETE]
    assert all(rows[trial.number].parameters == trial.parameters for trial in complete)
    specs = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)[complete[0].id]
    betas = [run.spec["settings"]["optimizer.beta1"] for run in specs]
    assert betas == [0.0, 0.0, complete[0].parameters["optimizer.beta1"]], "before 16 px the preset's holds"


def test_drawing_late_is_a_pure_function(store, submit, worker):
    sweep = submit(LATE)
    trial = trials_of(store, sweep)[0]
    rows = told(store, sweep)
    first = asking.draw_late(sweep.resolved, trial, 16, rows)
    assert first == asking.draw_late(sweep.resolved, trial, 16, rows)
    assert first.keys() - trial.parameters.keys() == {"optimizer.beta1"}
    assert asking.draw_late(sweep.resolved, trial, 8, rows) == trial.parameters


def test_a_late_value_that_was_drawn_but_never_used_is_not_told(store, submit, worker):
    text = LATE.replace("method: tpe", "method: random").replace("parallel: 2\n", "")
    sweep = submit(text + "early_terminate: {type: halving, eta: 3, min_stage: 4}\n")
    run_whole(store, sweep, worker)
    rows = {row.number: row for row in told(store, sweep)}
    for trial in trials_of(store, sweep):
        assert "optimizer.beta1" in trial.parameters, "random draws it at once"
        assert ("optimizer.beta1" in rows[trial.number].parameters) == (trial.state == TrialState.COMPLETE)


def test_a_space_that_is_used_up_ends_the_sweep_with_a_reason(store, submit, worker):
    text = TPE.replace("{distribution: log_uniform, min: 1e-5, max: 1e-1}", "{values: [0.001, 0.002]}")
    sweep = submit(text)
    run_whole(store, sweep, worker)
    assert len(trials_of(store, sweep)) == 4
    reason = search_reads.end_of_search(store.database, sweep.id)
    assert reason.startswith("tpe stopped before its 5th trial: every combination has been tried")
    again = Store(store.database, clock=store._clock)
    assert asking.wants_more(again, sweep), "a new scheduler does not know it yet"
    assert settling.settle(again, sweep)
    assert not asking.wants_more(again, sweep)
    with store.database.read.begin() as connection:
        events = connection.scalars(sa.select(t.events.c.kind).where(t.events.c.kind == "sweep.exhausted")).all()
    assert len(events) == 1


def test_a_late_value_that_nothing_allows_ends_its_trial(store, submit, worker):
    sweep = submit(LATE)
    stored = sweep.resolved.to_json() | {"constraints": ["optimizer.beta1 > 1"]}
    with store._transaction() as (connection, _):
        connection.execute(t.sweeps.update().values(resolved=stored))
    sweep = reads.sweep(store.database, "s")
    run_whole(store, sweep, worker)
    assert {trial.state for trial in trials_of(store, sweep)} == {TrialState.FAILED}
    with store.database.read.begin() as connection:
        reasons = connection.scalars(sa.select(t.events.c.payload).where(t.events.c.kind == "trial.failed")).all()
    assert "none of 1,010 proposals in a row keeps the constraints optimizer.beta1 > 1" in reasons[0]["reason"]


def test_a_sampler_that_fails_pauses_its_sweep(store, submit, monkeypatch):
    def broken(space, told, number, seed):
        raise SpecError("no more ideas")

    monkeypatch.setattr(asking, "sampler_of", lambda *args, **kwargs: broken)
    sweep = submit(TPE)
    found = reads.sweep(store.database, sweep.name)
    assert (found.state, found.error) == (SweepState.PAUSED, "no more ideas; resume the sweep to try again")
    assert trials_of(store, sweep) == []
    monkeypatch.undo()
    asking._MEMORIES.clear()
    commands.resume_sweep(store, sweep)
    settling.settle(store, reads.sweep(store.database, sweep.name))
    assert len(trials_of(store, sweep)) == 2


def test_results_of_an_earlier_sweep_are_told(store, submit, resolved, worker):
    earlier = submit(TPE.replace("max_trials: 30", "max_trials: 12"), name="earlier")
    run_whole(store, earlier, worker)
    narrow = TPE.replace("min: 1e-5", "min: 1e-4") + "warm_start: earlier\n"
    later = submit(narrow, name="later")
    used, results = telling.warm_start(store.database, later.resolved)
    inside = [
        trial.number for trial in trials_of(store, earlier) if all(value >= 1e-4 for value in trial.parameters.values())
    ]
    assert results == 12
    assert sorted(-1 - row.number for row in used) == inside
    assert 0 < len(used) < 12
    run_whole(store, later, worker)
    rows = told(store, later)
    assert [row.number for row in rows] == sorted(row.number for row in rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("warm_start: earlier", "warm_start: nobody", "there is no sweep 'nobody'"),
        ("warm_start", "metric: {name: swd}\nwarm_start", "the metrics of earlier are score, here swd"),
        ("preset: small", "preset: modern", "the preset of earlier are small, here modern"),
        ("  discriminator.learning_rate", "  loss.drift", "parameters that vary of earlier are discriminator.learning"),
    ],
)
def test_a_sweep_that_means_something_else_is_no_start(store, submit, resolved, old, new, message):
    submit(TPE, name="earlier")
    with pytest.raises(SpecError) as caught:
        submit((TPE + "warm_start: earlier\n").replace(old, new), name="later")
    assert message in str(caught.value)
    assert [sweep.name for sweep in reads.sweeps(store.database)] == ["earlier"], "nothing is written"


def test_sweeps_stored_before_there_was_a_search_are_read(resolved):
    whole = resolved(TPE.replace("method: tpe", "method: random").replace("parallel: 2\n", ""))
    stored = json.loads(json.dumps(whole.to_json()))
    for word in ("objectives", "search", "constraints"):
        del stored[word]
    assert ResolvedSweep.from_json(stored) == whole


def test_a_dry_run_says_what_the_tree_stands_for(store, resolved):
    whole = resolved(TPE)
    tree = submitting.submit_sweep(store, whole, name="s", submitted="", data_name="tiny", dry_run=True)
    assert (tree.trials, tree.stage_runs) == (30, {4: 30})
    assert submitting.notes(whole, tree, None) == [
        "tpe asks for up to 30 trials as results come in; in this tree random ones stand for them"
    ]
    grid = resolved(
        TPE.replace("method: tpe", "method: grid")
        .replace("parallel: 2\n", "constraints: [generator.learning_rate < discriminator.learning_rate]\n")
        .replace("{distribution: log_uniform, min: 1e-5, max: 1e-1}", "{values: [0.001, 0.002, 0.004]}")
    )
    tree = submitting.submit_sweep(store, grid, name="s", submitted="", data_name="tiny", dry_run=True)
    assert tree.trials == 3
    assert submitting.notes(grid, tree, None) == ["3 of 9 combinations keep the constraints"]
    few = resolved(
        TPE.replace("method: tpe", "method: random")
        .replace("parallel: 2\n", "")
        .replace("{distribution: log_uniform, min: 1e-5, max: 1e-1}", "{values: [0.001, 0.002]}")
    )
    tree = submitting.submit_sweep(store, few, name="s", submitted="", data_name="tiny", dry_run=True)
    assert tree.trials == 4
    assert submitting.notes(few, tree, None) == ["26 of 30 draws repeated earlier ones and were dropped"]
