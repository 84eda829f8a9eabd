"""The loop's deciding half: it looks at what happened to one sweep and writes what follows from it.

Every step can be done twice, so a scheduler that dies between any two of them is followed by one that comes to the same
end: what happened is forgotten only once all that follows from it is written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from scheduler import asking, budgets, forecast, model_reads, pending, reads, waiting
from scheduler.advancing import branches_wanted, finalists_wanted, plan_round
from scheduler.forms import StageForms
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.registry import BEST
from scheduler.rounds import Rows
from scheduler.states import GOING_TRIALS, RunState, SweepState, TrialState
from scheduler.store import Demand, Fork, Store
from t2f.spec import StagePlan

# How a trial ends when its newest stage run ends so.
ENDS = {
    RunState.FAILED: TrialState.FAILED,
    RunState.DIVERGED: TrialState.DIVERGED,
    RunState.CANCELED: TrialState.CANCELED,
}
BATCH = 1000  # trials that are in memory at once


def settle(store: Store, sweep: Sweep, *, promote: Callable[[], object] = lambda: None) -> bool:
    """Write what follows from what happened to a sweep: demands, evaluations, promotions, children, ends of trials.

    True once no trial is open any more: the sweep can be ended. promote: called when a trial has come through its last
    stage with a better value than the sweep's best model has, or as the first one.
    """
    database = store.database
    if sweep.state == SweepState.STOPPING:
        return _run_out(store, sweep, promote, reason=sweep.error or "the sweep was stopped")
    if sweep.state == SweepState.PAUSED or sweep.resolved.own_loop or _is_kept_waiting(store, sweep):
        return False
    # The database's clock costs a writing transaction: each turn of each sweep would take one.
    spent = budgets.spent_budget(database, sweep, store.now()) if sweep.resolved.budget.is_timed else None
    if spent != sweep.spent:
        store.set_spent(sweep.id, spent)
    if spent is not None:
        return _run_out(store, sweep, promote, reason=f"the sweep's budget: {spent}")
    # Stage runs that another sweep has sealed are passed through at once: each round goes one stage on at most. Three
    # more: to see that a trial ended, to ask for another, and to begin it.
    for _ in range(len(sweep.resolved.space.plan.resolutions) + 3):
        changes = pending.changes(database, sweep.id)
        if not changes.ids and not changes.trial_ids:
            # After promotions, so that only trials which wait at a rung leave room for others.
            if not (asking.ask_trials(store, sweep) or _ask_finalists(store, sweep)):
                break
            continue
        demands = _Demands(store, sweep)
        for trials in _in_batches(store, changes.trial_ids):
            rows, ended = _settle_ends(store, sweep, trials, promote)
            going = _going_on(rows, [trial for trial in trials if trial.id not in ended])
            _fork(store, sweep, branches_wanted(rows, going))
            demands.write(going, rows.paths)
        _choose(store, sweep, demands)
        if demands.is_waiting:
            break
        store.forget_changes(changes.ids)
    if pending.has_open_trials(database, sweep.id):
        return False
    if asking.wants_more(store, sweep):
        return False
    return not sweep.resolved.replicate.trials or not finalists_wanted(_all_rows(store, sweep))


def _all_rows(store: Store, sweep: Sweep) -> Rows:
    return Rows(
        sweep=sweep,
        trials=reads.trials(store.database, sweep.id),
        paths=reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key),
        unused=reads.sweep(store.database, sweep.name).unused_rungs,
        more_trials=asking.wants_more(store, sweep),
    )


def _ask_finalists(store: Store, sweep: Sweep) -> bool:
    """Run the best again with fresh seeds, once everybody else has ended; whether there is somebody new."""
    if not sweep.resolved.replicate.trials or pending.has_open_trials(store.database, sweep.id):
        return False
    return _fork(store, sweep, finalists_wanted(_all_rows(store, sweep)))


def _fork(store: Store, sweep: Sweep, forks: Sequence[Fork]) -> bool:
    if forks:
        store.fork(sweep.id, forks)
    return bool(forks)


def _run_out(store: Store, sweep: Sweep, promote: Callable[[], object], *, reason: str) -> bool:
    """Settle a sweep that was stopped or has spent its budget: what runs is finished and measured, the rest ends."""
    changes = pending.changes(store.database, sweep.id)
    if changes.ids or changes.trial_ids:
        for trials in _in_batches(store, changes.trial_ids):
            _settle_ends(store, sweep, trials, promote)
        store.end_idle_trials(sweep.id, reason=reason)
        store.forget_changes(changes.ids)
    return not pending.has_open_trials(store.database, sweep.id)


def _settle_ends(
    store: Store, sweep: Sweep, trials: Sequence[Trial], promote: Callable[[], object]
) -> tuple[Rows, Mapping[int, TrialState]]:
    """Have what is sealed measured, end what has come to an end, promote a new best; the rows, and who ended how."""
    paths = reads.paths_of(store.database, [trial.id for trial in trials], sweep.resolved.evaluation.key)
    rows = Rows(sweep=sweep, trials=trials, paths=paths, unused=sweep.unused_rungs)
    _request_evaluations(store, sweep, paths)
    ended = _end_trials(store, rows)
    if _has_new_best(store, rows, ended):
        promote()
    return rows, ended


def _in_batches(store: Store, trial_ids: Iterable[int]) -> Iterator[list[Trial]]:
    left = iter(trial_ids)
    while batch := list(islice(left, BATCH)):
        yield reads.trials_of(store.database, batch)


def _is_kept_waiting(store: Store, sweep: Sweep) -> bool:
    """Whether the sweep that this one comes after keeps it from beginning; it fails where that will never end well."""
    waits = waiting.waits_for(store.database, sweep)
    if waits is None:
        return False
    reason, for_ever = waits
    if for_ever:
        store.cancel_sweep(sweep.id, reason=reason, state=SweepState.FAILED)
    return True


def _request_evaluations(store: Store, sweep: Sweep, paths: Mapping[int, list[StageRun]]) -> None:
    spec = sweep.resolved.evaluation
    unmeasured = {
        run.id for path in paths.values() for run in path if run.state == RunState.DONE and run.evaluation is None
    }
    if unmeasured:
        requests = [(run_id, spec.key, spec.to_json()) for run_id in sorted(unmeasured)]
        store.request_evaluations(requests, priority=sweep.resolved.priority)


def _end_trials(store: Store, rows: Rows) -> dict[int, TrialState]:
    """End trials that came to an end without any choice, broken ones and those through their last stage; how which."""
    metric = rows.sweep.resolved.metric
    ends: dict[str | None, dict[int, TrialState]] = {}  # reason -> trials and how they end
    for trial in rows.trials:
        path = rows.path(trial)
        if not trial.is_open or not path:
            continue
        last = path[-1]
        # One before the last breaks where its state was collected and is being rebuilt.
        broken = next((run for run in path if run.state in ENDS), None)
        if broken is not None:
            ends.setdefault(broken.error, {})[trial.id] = ENDS[broken.state]
        elif last.state == RunState.DONE and last.evaluation is not None:
            if last.evaluation.state == RunState.FAILED:
                ends.setdefault(last.evaluation.error, {})[trial.id] = TrialState.FAILED
            elif last.evaluation.state == RunState.DONE and last.resolution == rows.final(trial):
                ends.setdefault(None, {})[trial.id] = TrialState.COMPLETE
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
                ends.setdefault(reason, {})[trial.id] = TrialState.FAILED
    for reason, states in ends.items():
        store.set_trial_states(states, reason=reason)
    return {trial_id: state for states in ends.values() for trial_id, state in states.items()}


def _has_new_best(store: Store, rows: Rows, ended: Mapping[int, TrialState]) -> bool:
    """Whether one of the trials that came through just now is better than the sweep's best model."""
    paths = [rows.path(trial) for trial in rows.trials if ended.get(trial.id) == TrialState.COMPLETE]
    values = [value for path in paths if (value := rows.value(path[-1])) is not None]
    if not values:
        return False
    best = model_reads.find_model(store.database, rows.sweep.name, BEST)
    if best is None:
        return True
    measured = model_reads.measured(store.database, [best.stage_run_id])
    evaluation = measured.get((best.stage_run_id, rows.sweep.resolved.evaluation.key))
    known = None if evaluation is None else evaluation.value(rows.sweep.resolved.metric)
    return known is None or max(values) > rows.turned(known)


def _going_on(rows: Rows, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that go on without being chosen: those that begin, and those at the end of a stage that is no rung."""
    going = []
    for trial in trials:
        path = rows.path(trial)
        if trial.state not in GOING_TRIALS:
            continue
        if path and (path[-1].state != RunState.DONE or path[-1].resolution >= rows.final(trial)):
            continue
        if not path or not rows.is_judged(trial, path[-1].resolution):
            going.append(trial)
    return going


def _choose(store: Store, sweep: Sweep, demands: "_Demands") -> None:
    """At every stage end where somebody waits for a choice, write what `advancing` decides.

    In the order of `Plan`: whatever dies in between finds the rest to be done.
    """
    plan = sweep.resolved.space.plan
    stages = [stage for stage, px in enumerate(plan.resolutions) if sweep.resolved.may_choose_at(px)]
    if not any(pending.waits_for_choice(store.database, sweep, stage) for stage in stages):
        return
    rows = _all_rows(store, sweep)
    found = plan_round(rows)
    if found.unused:
        store.drop_rungs(sweep.id, {rung: figure.to_json() for rung, figure in found.unused.items()})
    if found.controls:
        store.mark_controls(sweep.id, found.controls)
    _fork(store, sweep, found.forks)
    for reason in sorted(set(found.pruned.values())):
        those = [trial_id for trial_id, why in found.pruned.items() if why == reason]
        store.set_trial_states(dict.fromkeys(those, TrialState.PRUNED), reason=reason)
    demands.write(found.going, rows.paths)


def _next_resolution(sweep: Sweep, trial: Trial, path: Sequence[StageRun]) -> int:
    return sweep.resolved.space.plan_of(trial.deviation).resolutions[len(path)]


class _Demands:
    """Writes what trials want next; made anew for each turn, as the speeds it forecasts by are those of now."""

    def __init__(self, store: Store, sweep: Sweep) -> None:
        self._store, self._sweep = store, sweep
        self._forms = StageForms(sweep.resolved.space)
        self._speeds: forecast.Speeds | None = None
        self._forecasts: dict[tuple[StagePlan, int], float] = {}
        self.is_waiting = False  # whether a sampler still computes what some trial's next stage needs

    def write(self, trials: Sequence[Trial], paths: Mapping[int, list[StageRun]]) -> None:
        """The next stage of each, with what it leaves open drawn first."""
        nexts = {trial.id: _next_resolution(self._sweep, trial, paths.get(trial.id, [])) for trial in trials}
        trials, still_computed = asking.completed(self._store, self._sweep, nexts, trials)
        self.is_waiting = self.is_waiting or still_computed
        if not trials:
            return
        if self._speeds is None:
            self._speeds = forecast.speeds(forecast.measured(self._store.database), {})
        demands = [self._next(trial, paths.get(trial.id, [])) for trial in trials]
        self._store.demand(self._sweep.id, demands, priority=self._sweep.resolved.priority)

    def _next(self, trial: Trial, path: Sequence[StageRun]) -> Demand:
        keys = tuple(run.key for run in path)
        deviation = trial.deviation
        parent = keys[-1] if keys else self._sweep.resolved.root(trial.name)
        stage = self._forms.stage(trial.parameters, len(keys), parent, deviation)
        plan = self._sweep.resolved.space.plan_of(deviation)
        remaining = self._remaining(plan, len(keys))
        return Demand(trial_id=trial.id, keys=(*keys, stage.key), spec=stage.spec, remaining=remaining)

    def _remaining(self, plan: StagePlan, stage: int) -> float:
        """Forecast seconds from the beginning of that stage to the end of the plan."""
        if (plan, stage) not in self._forecasts:
            left = zip(plan.resolutions[stage:], plan.images[stage:], strict=True)
            self._forecasts[plan, stage] = self._speeds.seconds(left)
        return self._forecasts[plan, stage]


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


def end_sweep(store: Store, sweep: Sweep, *, fault: str | None = None) -> None:
    """Mark a settled sweep as complete, as stopped, or as failed where no trial came to a result.

    A sweep that was given another trial meanwhile is left open. fault: what a person is to mend although it ended.
    """
    states = set(reads.trial_counts(store.database, sweep.id))
    spent = reads.sweep(store.database, sweep.name).spent
    error = None
    if spent is not None and states - {TrialState.COMPLETE}:
        state, error = SweepState.STOPPED, f"the budget: {spent}"
    elif states & {TrialState.COMPLETE, TrialState.PRUNED} or not states:
        state = SweepState.COMPLETE
    elif states == {TrialState.CANCELED}:
        state = SweepState.CANCELED
    else:
        state, error = SweepState.FAILED, "no trial came to a result; see its trials"
    store.end_sweep(sweep.id, state, error=error, fault=fault)
