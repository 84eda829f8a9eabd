"""Every act that writes, for the command line, the pages and the scheduler's loop alike.

`settle` is the loop's deciding half: it looks at the rows of one sweep and writes what follows from them. Every step of
it can be done twice, so a scheduler that dies between any two of them is followed by one that comes to the same end.
"""

import getpass
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from scheduler import reads
from scheduler.database import Database
from scheduler.ranking import Ranked
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.rungs import Entry, decide, is_rung
from scheduler.samplers import grid, grid_size, random_trial
from scheduler.states import RunState, SweepState, TrialState
from scheduler.store import Demand, NewTrial, Store, init_uri
from scheduler.sweepfile import ResolvedSweep
from t2f.data.files import sync
from t2f.errors import UserError
from t2f.spec import StageSpec, stage_keys

# Submitting


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a sweep comes down to before any trial is stopped."""

    trials: int
    stage_runs: Mapping[int, int]  # resolution -> distinct stage runs
    images: int  # real images shown over all distinct stage runs
    images_unshared: int

    @property
    def total(self) -> int:
        return sum(self.stage_runs.values())

    @property
    def saved(self) -> int:
        """Stage runs that sharing saves."""
        return self.trials * len(self.stage_runs) - self.total


def new_trials(resolved: ResolvedSweep) -> list[NewTrial]:
    """The trials that a sweep begins with."""
    if resolved.method == "random":
        count = resolved.budget.max_trials
        chosen = [random_trial(resolved.space, number) for number in range(count)]
        return [NewTrial(parameters=parameters, origin="random") for parameters in chosen]
    trials = [NewTrial(parameters=parameters, origin="grid") for parameters in grid(resolved.space)]
    limit = resolved.budget.max_trials
    if limit is not None and len(trials) > limit:
        raise UserError(
            f"the grid has {len(trials)} trials and budget.max_trials is {limit}; "
            "list fewer values, or use method: random"
        )
    return trials


def stage_tree(resolved: ResolvedSweep, trials: list[NewTrial]) -> Tree:
    """The distinct stage runs of these trials, by resolution."""
    keys: dict[int, set[str]] = {resolution: set() for resolution in resolved.space.plan.resolutions}
    images = unshared = 0
    for trial in trials:
        stages = resolved.space.stages(trial.parameters)
        for stage, key in zip(stages, stage_keys(stages), strict=True):
            unshared += stage.images
            if key not in keys[stage.resolution]:
                keys[stage.resolution].add(key)
                images += stage.images
    return Tree(
        trials=len(trials),
        stage_runs={resolution: len(found) for resolution, found in keys.items()},
        images=images,
        images_unshared=unshared,
    )


@dataclass(frozen=True, kw_only=True)
class InitBundle:
    """A model bundle that trials start from, and the files folder of the home that keeps it for the workers."""

    path: Path
    sha256: str  # of its weights
    files: Path

    def keep(self) -> None:
        """Copy it to where workers find it by its weights; one that is there already has the same."""
        place = self.files / init_uri(self.sha256)
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.copyfile(self.path, draft)
        sync(draft)
        draft.rename(place)
        sync(place.parent)


def submit_sweep(
    store: Store,
    resolved: ResolvedSweep,
    *,
    name: str,
    submitted: str,
    data_name: str,
    init: InitBundle | None = None,
    dry_run: bool = False,
) -> Tree:
    """Store a sweep with its trials and return what it comes down to; nothing is written by a dry run.

    init: the model bundle that its trials start from, which is kept with the home's files.
    """
    if resolved.method == "grid":
        # Refused before a million trials are built.
        limit = resolved.budget.max_trials or grid_size(resolved.space)
        if grid_size(resolved.space) > 100 * limit:
            raise UserError(f"the grid has {grid_size(resolved.space):,} trials and budget.max_trials is {limit}")
    trials = new_trials(resolved)
    tree = stage_tree(resolved, trials)
    taken = UserError(f"a sweep named {name!r} exists already; change the file's name:")
    if reads.find_sweep(store.database, name) is not None:
        raise taken
    if dry_run:
        return tree
    if init is not None:
        init.keep()
    try:
        store.create_sweep(
            name=name,
            submitted=submitted,
            resolved=resolved.to_json(),
            data_key=resolved.space.data_key,
            data_name=data_name,
            provenance=provenance(),
            created_by=getpass.getuser(),
            trials=trials,
        )
    except IntegrityError as error:
        raise taken from error
    return tree


def provenance() -> dict[str, Any]:
    """The code that a sweep was submitted with: commit, whether it was changed, package versions."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--untracked-files=no")
    packages = ("t2f", "torch", "numpy", "pillow", "ray", "sqlalchemy")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "packages": {package: importlib.metadata.version(package) for package in packages},
    }


# The scheduler's decisions


def settle(store: Store, sweep: Sweep) -> bool:
    """Write what follows from the rows of a sweep: demands, evaluations, promotions, ends of trials.

    True once no trial is open any more: the sweep can be ended.
    """
    database = store.database
    if sweep.state == SweepState.PAUSED:
        return False
    # Stage runs that another sweep has sealed are passed through at once: each round goes one stage on at most.
    for _ in range(len(sweep.resolved.space.plan.resolutions) + 1):
        trials = reads.trials(database, sweep.id)
        paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
        _request_evaluations(store, sweep, paths)
        _end_trials(store, sweep, trials, paths)
        if not _go_on(store, sweep, reads.trials(database, sweep.id), paths):
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


# How a trial ends when its newest stage run ends so.
ENDS = {
    RunState.FAILED: TrialState.FAILED,
    RunState.DIVERGED: TrialState.DIVERGED,
    RunState.CANCELED: TrialState.CANCELED,
}


def _end_trials(store: Store, sweep: Sweep, trials: list[Trial], paths: Mapping[int, list[StageRun]]) -> None:
    """Trials that came to an end without any choice: broken ones, and those through their last stage."""
    final = sweep.resolved.space.plan.final_resolution
    policy, metric = sweep.resolved.early_terminate, sweep.resolved.metric
    for trial in trials:
        path = paths.get(trial.id)
        if not trial.is_open or not path:
            continue
        last = path[-1]
        if last.state in ENDS:
            store.set_trial_states({trial.id: ENDS[last.state]}, reason=last.error)
        elif last.state == RunState.DONE and last.evaluation is not None:
            if last.evaluation.state == RunState.FAILED:
                store.set_trial_states({trial.id: TrialState.FAILED}, reason=last.evaluation.error)
            elif last.evaluation.state == RunState.DONE and last.resolution == final:
                store.set_trial_states({trial.id: TrialState.COMPLETE})
            elif (
                last.evaluation.state == RunState.DONE
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
    plan = sweep.resolved.space.plan
    open_trials = [trial for trial in trials if trial.state in (TrialState.WAITING, TrialState.RUNNING)]
    going = [trial for trial in open_trials if not paths.get(trial.id)]
    pruned: dict[int, list[int]] = {}
    for resolution in plan.resolutions[:-1]:
        here = [trial for trial in open_trials if paths.get(trial.id) and _is_done_at(paths[trial.id], resolution)]
        if not here:
            continue
        if not is_rung(policy, resolution, plan.final_resolution):
            going += here
            continue
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


def _is_done_at(path: list[StageRun], resolution: int) -> bool:
    return path[-1].resolution == resolution and path[-1].state == RunState.DONE


def _may_still_reach(trial: Trial, path: list[StageRun], resolution: int) -> bool:
    """Whether an open trial has yet to arrive at this rung."""
    return trial.is_open and (not path or path[-1].resolution < resolution)


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
    stages: tuple[StageSpec, ...] = resolved.space.stages(trial.parameters)
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


# The best model

# Writes a bundle file of a sealed stage run and returns (uri, sha256); it needs torch, so the caller brings it.
MakeBundle = Callable[[Sweep, Trial, StageRun, sa.Row], tuple[str, str]]


def promote_best(store: Store, sweep: Sweep, make_bundle: MakeBundle) -> Ranked | None:
    """Give the alias `best` of this sweep to its best trial's model; None where nothing is ranked yet."""
    database = store.database
    ranked = reads.ranking(database, sweep)
    if not ranked:
        return None
    best = ranked[0]
    known = find_model(database, sweep, "best")
    if known is not None and known.stage_run_id == best.standing.stage_run_id:
        return best
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)[best.standing.trial_id]
    run = next(run for run in path if run.id == best.standing.stage_run_id)
    trial = next(trial for trial in reads.trials(database, sweep.id) if trial.id == best.standing.trial_id)
    uri, sha256 = make_bundle(sweep, trial, run, reads.sealed_checkpoint(database, run.id))
    store.register_model(
        name=sweep.name, trial_id=trial.id, stage_run_id=run.id, uri=uri, sha256=sha256, aliases=["best"]
    )
    return best


def find_model(database: Database, sweep: Sweep, alias: str) -> reads.Model | None:
    """The version of a sweep's model that has this alias."""
    found = [model for model in reads.models(database) if model.name == sweep.name and alias in model.aliases]
    return found[0] if found else None


# What people do to sweeps and trials


def pause_sweep(store: Store, sweep: Sweep) -> None:
    """No new stage runs; what runs goes on."""
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=True))


def resume_sweep(store: Store, sweep: Sweep) -> None:
    _require_open(store, sweep, store.set_sweep_paused(sweep.id, paused=False))


def cancel_sweep(store: Store, sweep: Sweep) -> None:
    """End every open trial; stage runs that nobody else wants are killed."""
    _require_open(store, sweep, store.cancel_sweep(sweep.id, reason="the sweep was canceled"))


def cancel_trial(store: Store, trial: Trial) -> None:
    """End one trial; what it shares with others goes on for them."""
    if not store.set_trial_states({trial.id: TrialState.CANCELED}, reason="canceled"):
        state = reads.trial(store.database, trial.name).state
        raise UserError(f"{trial.name} is {state} already; only a trial that has not ended can be canceled")


def retry_trial(store: Store, sweep: Sweep, trial: Trial) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets; an ended sweep is open again."""
    if not store.retry_trial(trial.id, evaluation_key=sweep.resolved.evaluation.key):
        state = reads.trial(store.database, trial.name).state
        raise UserError(f"{trial.name} is {state}; only a failed or diverged trial can be retried")


def _require_open(store: Store, sweep: Sweep, was_open: bool) -> None:
    # The store decides, in the transaction that writes: the sweep may have ended since the caller looked at it.
    if not was_open:
        state = reads.sweep(store.database, sweep.name).state
        raise UserError(f"the sweep {sweep.name!r} is {state} already; only a sweep that has not ended can be changed")
