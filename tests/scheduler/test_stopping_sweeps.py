"""Stopping a sweep and pausing a single trial, at any moment of what settles and trains meanwhile."""

import pytest
import sqlalchemy as sa

from scheduler import commands, reads, settling
from scheduler import tables as t
from scheduler.states import RunState, SweepState, TrialState
from scheduler.store import Store
from t2f.errors import UserError
from tests.scheduler.acting import claim, finish, start, work_off
from tests.scheduler.conftest import DEMO_LIKE

NO_RUNGS = DEMO_LIKE.replace("early_terminate: {type: halving, eta: 3, min_stage: 8}\n", "")


def sweep_of(store):
    return reads.sweep(store.database, "s")


def trial_states(store) -> list[str]:
    return [str(one.state) for one in reads.trials(store.database, sweep_of(store).id)]


def run_states(store) -> list[str]:
    with store.database.read.begin() as connection:
        return list(connection.scalars(sa.select(t.stage_runs.c.state).order_by(t.stage_runs.c.id)))


def end(store, worker) -> None:
    for _ in range(20):
        sweep = sweep_of(store)
        if settling.settle(store, sweep):
            settling.end_sweep(store, sweep)
            return
        work_off(store, worker)
    pytest.fail(f"the sweep hangs: {trial_states(store)}")


def stop(store) -> None:
    commands.stop_sweep(store, sweep_of(store), reason="stopped by ada")


def test_what_runs_is_finished_and_measured_and_nothing_more_begun(store, submit, worker):
    submit(text=NO_RUNGS)
    job = claim(store, worker)
    start(store, job)
    stop(store)
    assert sweep_of(store).state == SweepState.STOPPING
    assert trial_states(store) == ["running"] * 3 + ["canceled"] * 3
    assert run_states(store) == ["running", "canceled"]
    finish(store, job)
    settling.settle(store, sweep_of(store))
    assert run_states(store) == ["done", "canceled"], "no stage run of 8 px is begun"
    end(store, worker)
    assert (sweep_of(store).state, sweep_of(store).error) == (SweepState.STOPPED, "stopped by ada")
    assert trial_states(store) == ["pruned"] * 3 + ["canceled"] * 3
    assert reads.standings(store.database, sweep_of(store)), "what was trained is ranked"


def test_a_lost_worker_s_stage_run_is_still_finished(store, submit, worker, clock):
    submit(text=NO_RUNGS)
    start(store, claim(store, worker, lease=10))
    stop(store)
    clock.now += 11
    store.expire_leases()
    settling.settle(store, sweep_of(store))
    assert run_states(store)[0] == RunState.READY
    end(store, worker)
    assert run_states(store) == ["done", "canceled"]
    assert sweep_of(store).state == SweepState.STOPPED


def test_a_trial_whose_last_stage_is_just_sealed_is_complete(store, submit, worker):
    submit(text=NO_RUNGS)
    while "done" not in run_states(store)[8:]:
        settling.settle(store, sweep_of(store))
        work_off(store, worker, at_most=1)
    stop(store)
    end(store, worker)
    assert "complete" in trial_states(store)
    assert set(trial_states(store)) == {"complete", "pruned"}


def test_what_another_sweep_shares_goes_on_for_it(store, submit, worker):
    submit(text=NO_RUNGS)
    submit(text=NO_RUNGS, name="other")
    stop(store)
    end(store, worker)
    assert set(trial_states(store)) == {"canceled"}
    assert run_states(store) == ["ready", "ready"]
    other = reads.sweep(store.database, "other")
    while not settling.settle(store, other):
        work_off(store, worker)
    assert {one.state for one in reads.trials(store.database, other.id)} == {TrialState.COMPLETE}


def test_a_sweep_stopped_while_its_next_stages_are_decided_begins_none(store, submit, worker, clock):
    submit(text=NO_RUNGS)
    work_off(store, worker)
    settling.settle(store, sweep_of(store))
    work_off(store, worker)

    class Interrupted(Store):
        def demand(self, *args, **kwargs):
            if sweep_of(store).state == SweepState.RUNNING:
                stop(store)
            return super().demand(*args, **kwargs)

    settling.settle(Interrupted(store.database, clock=clock), sweep_of(store))
    begun = len(run_states(store))
    end(store, worker)
    assert len(run_states(store)) == begun
    assert sweep_of(store).state == SweepState.STOPPED


def test_a_paused_sweep_can_be_stopped(store, submit, worker, clock):
    submit(text=NO_RUNGS)
    start(store, claim(store, worker, lease=10))
    commands.pause_sweep(store, sweep_of(store))
    clock.now += 11
    store.expire_leases()
    assert run_states(store) == ["waiting", "waiting"]
    stop(store)
    assert run_states(store) == ["ready", "canceled"], "what was begun is finished, although a pause held it up"
    end(store, worker)
    assert sweep_of(store).state == SweepState.STOPPED


def test_stopping_is_once_and_can_be_canceled(store, submit, worker):
    submit(text=NO_RUNGS)
    start(store, claim(store, worker))
    stop(store)
    for act in (commands.pause_sweep, commands.resume_sweep):
        with pytest.raises(UserError, match="is stopping already"):
            act(store, sweep_of(store))
    with pytest.raises(UserError, match="is stopping already"):
        stop(store)
    commands.cancel_sweep(store, sweep_of(store))
    assert sweep_of(store).state == SweepState.CANCELED
    with pytest.raises(UserError, match="is canceled already"):
        stop(store)


def test_a_paused_trial_holds_only_itself_up(store, submit, worker):
    submit(text=NO_RUNGS)
    paused = reads.trial(store.database, "s/T0")
    commands.pause_trial(store, paused)
    assert run_states(store) == ["ready", "ready"], "T1 and T2 share its stage run"
    for _ in range(10):
        settling.settle(store, sweep_of(store))
        work_off(store, worker)
    assert trial_states(store) == ["paused"] + ["complete"] * 5
    assert not settling.settle(store, sweep_of(store)), "the sweep waits for it"
    with pytest.raises(UserError, match="is paused already"):
        commands.pause_trial(store, paused)
    commands.resume_trial(store, paused)
    end(store, worker)
    assert trial_states(store) == ["complete"] * 6
    for act in (commands.pause_trial, commands.resume_trial):
        with pytest.raises(UserError, match="s/T0 is complete"):
            act(store, paused)


def test_a_trial_alone_on_its_stage_run_takes_it_out_of_the_queue(store, submit, worker):
    submit(text=NO_RUNGS)
    work_off(store, worker)
    settling.settle(store, sweep_of(store))
    commands.pause_trial(store, reads.trial(store.database, "s/T0"))
    assert run_states(store) == ["done"] * 2 + ["waiting"] + ["ready"] * 5
    commands.pause_sweep(store, sweep_of(store))
    commands.resume_sweep(store, sweep_of(store))
    assert run_states(store) == ["done"] * 2 + ["waiting"] + ["ready"] * 5, "it stays paused when its sweep goes on"
    commands.pause_sweep(store, sweep_of(store))
    commands.resume_trial(store, reads.trial(store.database, "s/T0"))
    assert set(run_states(store)[2:]) == {"waiting"}, "the sweep is paused still"
    commands.resume_sweep(store, sweep_of(store))
    assert set(run_states(store)[2:]) == {"ready"}


def test_a_trial_paused_while_its_next_stage_is_decided_waits_there(store, submit, worker, clock):
    submit(text=NO_RUNGS)
    work_off(store, worker)

    class Interrupted(Store):
        def demand(self, *args, **kwargs):
            trial = reads.trial(store.database, "s/T0")
            if trial.state != TrialState.PAUSED:
                commands.pause_trial(store, trial)
            return super().demand(*args, **kwargs)

    settling.settle(Interrupted(store.database, clock=clock), sweep_of(store))
    assert run_states(store) == ["done"] * 2 + ["waiting"] + ["ready"] * 5
