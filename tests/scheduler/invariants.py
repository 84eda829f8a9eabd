"""A small sweep to disturb, and what must hold of its rows whatever happened."""

import sqlalchemy as sa

from scheduler import commands, reads, settling
from scheduler import tables as t
from scheduler.database import Database
from scheduler.objectives import Objective
from scheduler.space import Parameter, SearchSpace
from scheduler.states import ACTIVE, OPEN_TRIALS, Outcome, RunState
from scheduler.store import Store
from scheduler.sweepfile import Budget, EarlyTermination, ResolvedSweep
from t2f.probe import EvaluationSpec
from t2f.spec import StagePlan
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.conftest import Clock

LEASE = 10.0
TRIALS = 4


def small_sweep() -> ResolvedSweep:
    """Two roots, two late values each, one rung at 8 px."""
    plan = StagePlan(resolutions=(4, 8, 16), images=(40,) * 3, fade=(0.5,) * 3, batch=(8,) * 3)
    parameters = (
        Parameter(name="loss.name", values=("wgan-gp", "logistic-r1")),
        Parameter(name="generator.learning_rate", values=(0.001, 0.002), from_stage=8),
    )
    return ResolvedSweep(
        method="grid",
        objectives=(Objective(metric="score", goal="maximize"),),
        space=SearchSpace(data_key="d", seed=0, preset="small", plan=plan, parameters=parameters),
        early_terminate=EarlyTermination(type="halving", eta=2, min_stage=4),
        budget=Budget(),
        evaluation=EvaluationSpec(
            captions=("a face",), seeds=1, num_images=16, split="validation", data_key="d", judge_sha256="j"
        ),
        checkpoint_seconds=30.0,
    )


def assert_rows_agree(database: Database, *, num_trials: int) -> None:
    with database.read.begin() as connection:
        runs = connection.execute(sa.select(t.stage_runs)).all()
        evaluations = connection.execute(sa.select(t.evaluations)).all()
        attempts = connection.execute(sa.select(t.attempts)).all()
        events = connection.execute(
            sa.select(t.events).where(t.events.c.kind.like("stage_run.%")).order_by(t.events.c.id)
        ).all()
        trials = connection.execute(sa.select(t.trials)).all()
        demands = connection.execute(sa.select(t.demands)).all()
    assert len(trials) == num_trials
    open_trials = {trial.id for trial in trials if trial.state in OPEN_TRIALS}
    told = {event.stage_run_id: event.kind for event in events}
    for run in runs:
        mine = [attempt for attempt in attempts if attempt.stage_run_id == run.id]
        assert sorted(attempt.number for attempt in mine) == list(range(1, run.attempt + 1))
        live = [attempt.number for attempt in mine if attempt.ended is None]
        assert live == ([run.attempt] if run.state in ACTIVE else [])
        assert (run.lease_until is not None) == (run.state in ACTIVE)
        done = sum(attempt.outcome == Outcome.DONE for attempt in mine)
        assert done == (run.state == RunState.DONE), "completed at most once"
        assert told[run.id] == f"stage_run.{run.state}"
        wanted = [
            demand.paused for demand in demands if demand.stage_run_id == run.id and demand.trial_id in open_trials
        ]
        if run.state == RunState.READY:
            assert 0 in wanted, "ready, but nobody wants it"
    for evaluation in evaluations:
        assert (evaluation.lease_until is not None) == (evaluation.state in ACTIVE)


def come_to_an_end(store: Store, worker: int, sweep: reads.Sweep, clock: Clock) -> None:
    """Resume the sweep, and do whatever is still to be done."""
    commands.resume_sweep(store, sweep)
    for _ in range(100):
        clock.now += 100
        store.expire_leases()
        job = claim(store, worker)
        if job is not None:
            start(store, job)
            finish(store, job)
        elif settling.settle(store, reads.sweep(store.database, sweep.name)):
            settling.end_sweep(store, sweep)
            break
    left = [str(one.state) for one in reads.trials(store.database, sweep.id)]
    assert not reads.sweep(store.database, sweep.name).is_open, left
