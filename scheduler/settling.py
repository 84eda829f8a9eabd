"""The loop's deciding half: it looks at the rows of one sweep and writes what follows from them.

Every step can be done twice, so a scheduler that dies between any two of them is followed by one that comes to the same
end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scheduler import reads
from scheduler.advancing import Plan, finalists_wanted, plan_round
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.rounds import Rows
from scheduler.states import RunState, SweepState, TrialState
from scheduler.store import Demand, Store
from scheduler.sweepfile import ResolvedSweep
from t2f.spec import StageSpec, stage_keys

# How a trial ends when its newest stage run ends so.
ENDS = {
    RunState.FAILED: TrialState.FAILED,
    RunState.DIVERGED: TrialState.DIVERGED,
    RunState.CANCELED: TrialState.CANCELED,
}


def settle(store: Store, sweep: Sweep) -> bool:
    """Write what follows from the rows of a sweep: demands, evaluations, promotions, children, ends of trials.

    True once no trial is open any more: the sweep can be ended.
    """
    database = store.database
    if sweep.state == SweepState.PAUSED:
        return False
    unused = dict(sweep.unused_rungs)
    # Stage runs that another sweep has sealed are passed through at once: each round goes one stage on at most.
    for _ in range(len(sweep.resolved.space.plan.resolutions) + 1):
        trials = reads.trials(database, sweep.id)
        rows = Rows(
            sweep=sweep,
            trials=trials,
            paths=reads.paths(database, sweep.id, sweep.resolved.evaluation.key),
            unused=unused,
        )
        _request_evaluations(store, sweep, rows.paths)
        _end_trials(store, rows)
        rows = replace(rows, trials=reads.trials(database, sweep.id))
        plan = plan_round(rows)
        plan.forks += finalists_wanted(rows)
        unused |= plan.unused
        _carry_out(store, rows, plan)
        if not (plan.going or plan.forks or plan.pruned):
            break
    return not any(trial.is_open for trial in reads.trials(database, sweep.id))


def _request_evaluations(store: Store, sweep: Sweep, paths: Mapping[int, list[StageRun]]) -> None:
    spec = sweep.resolved.evaluation
    unmeasured = {
        run.id for path in paths.values() for run in path if run.state == RunState.DONE and run.evaluation is None
    }
    if unmeasured:
        requests = [(run_id, spec.key, spec.to_json()) for run_id in sorted(unmeasured)]
        store.request_evaluations(requests, priority=sweep.resolved.priority)


def _end_trials(store: Store, rows: Rows) -> None:
    """Trials that came to an end without any choice: broken ones, and those through their last stage."""
    metric = rows.sweep.resolved.metric
    for trial in rows.trials:
        path = rows.path(trial)
        if not trial.is_open or not path:
            continue
        last = path[-1]
        if last.state in ENDS:
            store.set_trial_states({trial.id: ENDS[last.state]}, reason=last.error)
        elif last.state == RunState.DONE and last.evaluation is not None:
            if last.evaluation.state == RunState.FAILED:
                store.set_trial_states({trial.id: TrialState.FAILED}, reason=last.evaluation.error)
            elif last.evaluation.state == RunState.DONE and last.resolution == rows.final(trial):
                store.set_trial_states({trial.id: TrialState.COMPLETE})
            elif (
                last.evaluation.state == RunState.DONE
                and rows.is_judged(trial, last.resolution)
                and last.evaluation.value(metric) is None
            ):
                # Without a value it could be neither promoted nor pruned, and the sweep would never end.
                reason = (
                    f"{metric} has no value at {last.resolution} px, so the rung there cannot rank it; "
                    "use another metric, or a later min_stage"
                )
                store.set_trial_states({trial.id: TrialState.FAILED}, reason=reason)


def _carry_out(store: Store, rows: Rows, plan: Plan) -> None:
    """Write a plan; each step stands by itself, in the order that `Plan` says."""
    sweep = rows.sweep
    if plan.unused:
        store.drop_rungs(sweep.id, {rung: figure.to_json() for rung, figure in plan.unused.items()})
    if plan.controls:
        store.mark_controls(sweep.id, plan.controls)
    if plan.forks:
        store.fork(sweep.id, plan.forks)
    for reason in sorted(set(plan.pruned.values())):
        those = [trial_id for trial_id, why in plan.pruned.items() if why == reason]
        store.set_trial_states(dict.fromkeys(those, TrialState.PRUNED), reason=reason)
    demands = [_next_demand(sweep.resolved, trial, rows.path(trial)) for trial in plan.going]
    if demands:
        store.demand(sweep.id, demands, priority=sweep.resolved.priority)


def _next_demand(resolved: ResolvedSweep, trial: Trial, path: Sequence[StageRun]) -> Demand:
    stages: tuple[StageSpec, ...] = resolved.space.stages(trial.parameters, trial.deviation)
    wanted = len(path)
    return Demand(trial_id=trial.id, keys=stage_keys(stages[: wanted + 1]), spec=stages[wanted].to_json())


def pause_changed_data(store: Store, sweep: Sweep, data_key: str | None) -> bool:
    """Pause a sweep whose prepared data is no longer what it was submitted with; whether it is so.

    data_key: that of the data set which has its data's name now; None, where none can be read, changes nothing: it may
    be just being replaced, and workers say what they miss.
    """
    if data_key is None or data_key == sweep.data_key:
        return False
    if sweep.state != SweepState.PAUSED:
        reason = (
            f"the data set {sweep.data_name!r} changed: its key is {data_key[:12]}..., the sweep was submitted with "
            f"{sweep.data_key[:12]}...; prepare the old data again under this name and resume, or submit a new sweep"
        )
        store.set_sweep_paused(sweep.id, paused=True, error=reason)
    return True


def end_sweep(store: Store, sweep: Sweep) -> None:
    """Mark a settled sweep as complete, or as failed where no trial came to a result."""
    states = {trial.state for trial in reads.trials(store.database, sweep.id)}
    if states & {TrialState.COMPLETE, TrialState.PRUNED} or not states:
        store.set_sweep_state(sweep.id, SweepState.COMPLETE)
    elif states == {TrialState.CANCELED}:
        store.set_sweep_state(sweep.id, SweepState.CANCELED)
    else:
        store.set_sweep_state(sweep.id, SweepState.FAILED, error="no trial came to a result; see its trials")
