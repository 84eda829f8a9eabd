"""The loop's deciding half: it looks at the rows of one sweep and writes what follows from them.

Every step can be done twice, so a scheduler that dies between any two of them is followed by one that comes to the same
end.
"""

from collections.abc import Mapping

from scheduler import reads
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.rungs import Entry, decide, is_rung
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
    """Write what follows from the rows of a sweep: demands, evaluations, promotions, ends of trials.

    True once no trial is open any more: the sweep can be ended.
    """
    database = store.database
    if sweep.state == SweepState.PAUSED:
        return False
    if sweep.state == SweepState.STOPPING:
        return _run_out(store, sweep)
    # Stage runs that another sweep has sealed are passed through at once: each round goes one stage on at most.
    for _ in range(len(sweep.resolved.space.plan.resolutions) + 1):
        trials = reads.trials(database, sweep.id)
        paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
        _request_evaluations(store, sweep, paths)
        _end_trials(store, sweep, trials, paths)
        if not _go_on(store, sweep, reads.trials(database, sweep.id), paths):
            break
    return not any(trial.is_open for trial in reads.trials(database, sweep.id))


def _run_out(store: Store, sweep: Sweep) -> bool:
    """Settle a sweep that was stopped: what is sealed is measured, and nothing more is begun."""
    paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    _request_evaluations(store, sweep, paths)
    _end_trials(store, sweep, reads.trials(store.database, sweep.id), paths)
    store.end_idle_trials(sweep.id, reason=sweep.error or "the sweep was stopped")
    return not any(trial.is_open for trial in reads.trials(store.database, sweep.id))


def _request_evaluations(store: Store, sweep: Sweep, paths: Mapping[int, list[StageRun]]) -> None:
    spec = sweep.resolved.evaluation
    unmeasured = {
        run.id for path in paths.values() for run in path if run.state == RunState.DONE and run.evaluation is None
    }
    if unmeasured:
        requests = [(run_id, spec.key, spec.to_json()) for run_id in sorted(unmeasured)]
        store.request_evaluations(requests, priority=sweep.resolved.priority)


def _end_trials(store: Store, sweep: Sweep, trials: list[Trial], paths: Mapping[int, list[StageRun]]) -> None:
    """Trials that came to an end without any choice: broken ones, and those through their last stage."""
    policy, metric = sweep.resolved.early_terminate, sweep.resolved.metric
    for trial in trials:
        path = paths.get(trial.id)
        if not trial.is_open or not path:
            continue
        last, final = path[-1], _final_resolution(sweep, trial)
        # One before the last breaks where its state was collected and is being rebuilt.
        broken = next((run for run in path if run.state in ENDS), None)
        if broken is not None:
            store.set_trial_states({trial.id: ENDS[broken.state]}, reason=broken.error)
        elif last.state == RunState.DONE and last.evaluation is not None:
            if last.evaluation.state == RunState.FAILED:
                store.set_trial_states({trial.id: TrialState.FAILED}, reason=last.evaluation.error)
            elif last.evaluation.state == RunState.DONE and last.resolution == final:
                store.set_trial_states({trial.id: TrialState.COMPLETE})
            elif (
                last.evaluation.state == RunState.DONE
                and not trial.skips_rungs
                and is_rung(policy, last.resolution, final)
                and last.evaluation.value(metric) is None
            ):
                # Without a value it could be neither promoted nor pruned, and the sweep would never end.
                reason = (
                    f"{metric} has no value at {last.resolution} px, so the rung there cannot rank it; "
                    "use another metric, or a later early_terminate.min_stage"
                )
                store.set_trial_states({trial.id: TrialState.FAILED}, reason=reason)


def _go_on(store: Store, sweep: Sweep, trials: list[Trial], paths: Mapping[int, list[StageRun]]) -> bool:
    """Demand the next stage of every trial that may go on, and stop those that may not; whether anything was done."""
    policy = sweep.resolved.early_terminate
    final = sweep.resolved.space.plan.final_resolution
    open_trials = [trial for trial in trials if trial.state in (TrialState.WAITING, TrialState.RUNNING)]
    going = [trial for trial in open_trials if not paths.get(trial.id)]
    arrived: dict[int, list[Trial]] = {}  # at a rung
    for trial in open_trials:
        path = paths.get(trial.id)
        if not path or path[-1].state != RunState.DONE or path[-1].resolution >= _final_resolution(sweep, trial):
            continue
        if trial.skips_rungs or not is_rung(policy, path[-1].resolution, final):
            going.append(trial)
        else:
            arrived.setdefault(path[-1].resolution, []).append(trial)
    pruned: dict[int, list[int]] = {}
    for resolution, here in sorted(arrived.items()):
        decision = decide(
            policy,
            rung_entries(sweep, trials, paths, resolution),
            complete=not any(_may_still_reach(trial, paths.get(trial.id, []), resolution) for trial in open_trials),
        )
        going += [trial for trial in here if paths[trial.id][-1].id in decision.promoted]
        pruned[resolution] = [trial.id for trial in here if paths[trial.id][-1].id in decision.pruned]
    for resolution, trial_ids in pruned.items():
        if trial_ids:
            reason = f"not among the best 1/{policy.eta} at {resolution} px"
            store.set_trial_states(dict.fromkeys(trial_ids, TrialState.PRUNED), reason=reason)
    demands = [_next_demand(sweep.resolved, trial, paths.get(trial.id, [])) for trial in going]
    if demands:
        store.demand(sweep.id, demands, priority=sweep.resolved.priority)
    return bool(demands)


def _final_resolution(sweep: Sweep, trial: Trial) -> int:
    return (trial.deviation.plan or sweep.resolved.space.plan).final_resolution


def _may_still_reach(trial: Trial, path: list[StageRun], resolution: int) -> bool:
    """Whether an open trial has yet to arrive at this rung."""
    return trial.is_open and not trial.skips_rungs and (not path or path[-1].resolution < resolution)


def rung_entries(
    sweep: Sweep, trials: list[Trial], paths: Mapping[int, list[StageRun]], resolution: int
) -> list[Entry]:
    """The distinct stage runs of one resolution among this sweep's trials.

    A canceled trial takes its stage run out only where no other trial of the sweep is on it.
    """
    on_run: dict[int, list[Trial]] = {}
    runs: dict[int, StageRun] = {}
    for trial in trials:
        for run in paths.get(trial.id, []):
            if run.resolution == resolution:
                runs[run.id] = run
                on_run.setdefault(run.id, []).append(trial)
    return [_rung_entry(sweep, run, on_run[run.id]) for run in runs.values()]


def _rung_entry(sweep: Sweep, run: StageRun, trials: list[Trial]) -> Entry:
    sign = 1 if sweep.resolved.goal == "maximize" else -1
    evaluation = run.evaluation
    measured = evaluation is not None and evaluation.state == RunState.DONE
    value = evaluation.value(sweep.resolved.metric) if measured else None
    is_out = (
        run.state in ENDS
        or all(trial.state == TrialState.CANCELED for trial in trials)
        or (evaluation is not None and evaluation.state == RunState.FAILED)
        or (measured and value is None)
    )
    return Entry(
        stage_run_id=run.id,
        first_trial=min(trial.number for trial in trials),
        value=None if value is None else sign * value,
        is_out=is_out,
    )


def _next_demand(resolved: ResolvedSweep, trial: Trial, path: list[StageRun]) -> Demand:
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
    """Mark a settled sweep as complete, or as failed where no trial came to a result; one that was stopped as stopped.

    A sweep that was given another trial meanwhile is left open.
    """
    states = {trial.state for trial in reads.trials(store.database, sweep.id)}
    if states & {TrialState.COMPLETE, TrialState.PRUNED} or not states:
        store.end_sweep(sweep.id, SweepState.COMPLETE)
    elif states == {TrialState.CANCELED}:
        store.end_sweep(sweep.id, SweepState.CANCELED)
    else:
        store.end_sweep(sweep.id, SweepState.FAILED, error="no trial came to a result; see its trials")
