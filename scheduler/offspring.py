"""New trials that come from one there is: a clone, a fork below one of its stages, an extension beyond its end."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scheduler import budgets, reads, trial_reads
from scheduler.reads import Sweep, Trial
from scheduler.space import Deviation, SearchSpace
from scheduler.states import SweepState, TrialState
from scheduler.store import NewTrial, Store
from t2f.errors import UserError
from t2f.settings import Value, checked_value, require_setting, scope_of
from t2f.spec import RESOLUTIONS, StagePlan, StageSpec, stage_keys


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A trial that comes from another one."""

    name: str | None  # None where it was a dry run
    of: str
    stages: Mapping[int, bool]  # px -> whether it is trained already, and so costs nothing


def clone_trial(
    store: Store, trial: Trial, *, values: Mapping[str, Any], seed: int | None = None, by: str, dry_run: bool = False
) -> Branch:
    """A new trial with the same parameters but for these settings, or another seed.

    It is judged at rungs as any other.
    """
    sweep = reads.sweep(store.database, trial.sweep_name)
    parameters, deviation = _changed(sweep.resolved.space, trial, _checked(values))
    if seed is not None:
        deviation = replace(deviation, seed=seed)
    keys = stage_keys(sweep.resolved.space.stages(parameters, deviation))
    if keys == stage_keys(_stages(sweep, trial)):
        raise UserError(
            f"a clone of {trial.name} with these settings would train nothing that it has not trained; "
            "give --set NAME=VALUE that changes something, or --seed"
        )
    attributes = _attributes(deviation, of=trial.name)
    return _add(
        store, sweep, NewTrial(parameters=parameters, origin="clone", attributes=attributes), by=by, dry_run=dry_run
    )


def fork_trial(
    store: Store, trial: Trial, resolution: int, *, values: Mapping[str, Any], by: str, dry_run: bool = False
) -> Branch:
    """A new trial on a trial's sealed stage of so many px, with other settings from the next stage on.

    It goes to its end whatever others reach.
    """
    sweep = reads.sweep(store.database, trial.sweep_name)
    checked = _checked(values)
    plan = _plan(sweep, trial)
    sealed = [run.resolution for run in trial_reads.stage_runs_of(store.database, trial.id) if run.weights_sha256]
    origin = f"{trial.name}@{resolution}"
    if resolution not in sealed:
        there = ", ".join(f"{one} px" for one in sealed) or "none yet"
        raise UserError(f"{trial.name} has no sealed stage of {resolution} px to fork from; sealed: {there}")
    later = [one for one in plan.resolutions if one > resolution]
    if not later:
        raise UserError(
            f"{resolution} px is the last stage of {trial.name}, so no later one can differ; fork from a stage before "
            f"it, or give it further ones: t2f trial extend {trial.name} --to {resolution * 2}"
        )
    for name in checked:
        if scope_of(name) == "architecture":
            raise UserError(
                f"{name} decides the shape of the weights, so it cannot change after {resolution} px; "
                f"train it from the start: t2f trial clone {trial.name} --set {name}={checked[name]}"
            )
    late = {one: dict(there) for one, there in trial.deviation.late.items()}
    for one in later:
        # At each stage, or a value that the sweep gives a later stage would undo it there.
        late[one] = {**late.get(one, {}), **checked}
    deviation = replace(trial.deviation, late=late)
    before, after = (
        stage_keys(_stages(sweep, trial)),
        stage_keys(sweep.resolved.space.stages(trial.parameters, deviation)),
    )
    if before == after:
        raise UserError(
            f"a fork of {origin} with these settings would train nothing that {trial.name} has not; "
            "give --set NAME=VALUE that changes something"
        )
    attributes = _attributes(deviation, of=origin, skips_rungs=True)
    new = NewTrial(parameters=trial.parameters, origin="fork", attributes=attributes)
    return _add(store, sweep, new, by=by, dry_run=dry_run)


def extend_trial(
    store: Store,
    trial: Trial,
    *,
    images: int | None = None,
    to: int | None = None,
    images_beyond: tuple[int, ...] = (),
    prepared_to: int,
    by: str,
    dry_run: bool = False,
) -> Branch:
    """A new trial that goes on where a complete one ended, or a pruned one was stopped.

    images: of its last stage, more than it had; the stage is trained again from its start, on the one before it, since
    its length is part of its recipe. to: the px of its new last stage; images_beyond: of each stage that this adds, or
    one number for all. prepared_to: the px up to which the data is prepared.
    """
    sweep = reads.sweep(store.database, trial.sweep_name)
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        raise UserError(
            f"{trial.name} is {trial.state}; only a complete trial can be extended, or a pruned one taken to its end"
        )
    if trial.state == TrialState.COMPLETE and images is None and to is None:
        raise UserError(
            f"{trial.name} is complete; give --images N for a longer last stage, or --to PX for more stages"
        )
    plan = _plan(sweep, trial)
    if images is not None:
        plan = _longer(trial, plan, images)
    if to is not None:
        plan = _deeper(trial, plan, to, images_beyond, prepared_to)
    elif images_beyond:
        raise UserError("--kimg says how long the further stages are; give --to PX with it")
    deviation = trial.deviation if plan == _plan(sweep, trial) else replace(trial.deviation, plan=plan)
    attributes = _attributes(deviation, of=trial.name, skips_rungs=True)
    new = NewTrial(parameters=trial.parameters, origin="extension", attributes=attributes)
    return _add(store, sweep, new, by=by, dry_run=dry_run)


def _longer(trial: Trial, plan: StagePlan, images: int) -> StagePlan:
    if images <= plan.images[-1]:
        raise UserError(
            f"--images {images:,} is not allowed; the last stage of {trial.name} has {plan.images[-1]:,} images, "
            "so give more"
        )
    return replace(plan, images=(*plan.images[:-1], images))


def _deeper(trial: Trial, plan: StagePlan, to: int, images_beyond: tuple[int, ...], prepared_to: int) -> StagePlan:
    further = [one for one in RESOLUTIONS if plan.final_resolution < one <= to]
    if to not in further:
        allowed = ", ".join(str(one) for one in RESOLUTIONS if one > plan.final_resolution) or "nothing more"
        raise UserError(
            f"--to {to} is not allowed; {trial.name} ends at {plan.final_resolution} px, so give one of {allowed}"
        )
    if to > prepared_to:
        raise UserError(
            f"--to {to} is not allowed; the data is prepared up to {prepared_to} px, and preparing it again under "
            "another resolution would be another data set: submit a sweep on that"
        )
    if len(images_beyond) not in (1, len(further)):
        raise UserError(
            f"--kimg has {len(images_beyond)} values for {len(further)} further stages "
            f"({', '.join(map(str, further))} px); give one for each, or one for all"
        )
    each = images_beyond if len(images_beyond) == len(further) else images_beyond * len(further)
    fade = plan.fade[-1] if len(plan.fade) > 1 else 0.5
    return StagePlan(
        resolutions=(*plan.resolutions, *further),
        images=(*plan.images, *each),
        fade=(*plan.fade, *[fade] * len(further)),
        batch=(*plan.batch, *[plan.batch[-1]] * len(further)),
    )


def _plan(sweep: Sweep, trial: Trial) -> StagePlan:
    return sweep.resolved.space.plan_of(trial.deviation)


def _stages(sweep: Sweep, trial: Trial) -> tuple[StageSpec, ...]:
    return sweep.resolved.space.stages(trial.parameters, trial.deviation)


def _checked(values: Mapping[str, Any]) -> dict[str, Value]:
    return {require_setting(name): checked_value(name, value) for name, value in values.items()}


def _changed(space: SearchSpace, trial: Trial, values: Mapping[str, Value]) -> tuple[dict[str, Value], Deviation]:
    """The parameters with these values; a setting that the sweep does not try deviates from the first stage on."""
    tried = {parameter.name for parameter in space.parameters}
    chosen = {**trial.parameters, **{name: value for name, value in values.items() if name in tried}}
    parameters: dict[str, Value] = {}
    for parameter in space.parameters:
        # What was chosen under another value of its condition has no meaning any more.
        if parameter.name in chosen and (parameter.name in values or parameter.is_active(parameters)):
            parameters[parameter.name] = chosen[parameter.name]
    late = {one: dict(there) for one, there in trial.deviation.late.items()}
    others = {name: value for name, value in values.items() if name not in tried}
    for there in late.values():
        for name in values:
            there.pop(name, None)
    if others:
        first = space.plan.resolutions[0]
        late[first] = {**late.get(first, {}), **others}
    return parameters, replace(trial.deviation, late={one: there for one, there in late.items() if there})


def _attributes(deviation: Deviation, *, of: str, skips_rungs: bool = False) -> dict[str, Any]:
    attributes: dict[str, Any] = {"of": of}
    if skips_rungs:
        attributes["skips_rungs"] = True
    if deviation.to_json():
        attributes["deviation"] = deviation.to_json()
    return attributes


def _add(store: Store, sweep: Sweep, new: NewTrial, *, by: str, dry_run: bool) -> Branch:
    budgets.require_budget(store, sweep)
    of = new.attributes["of"]
    stages = sweep.resolved.space.stages(new.parameters, Deviation.of(new.attributes))
    keys = stage_keys(stages)
    # A sweep whose trials share nothing trains forks from the start too.
    trained = trial_reads.trained_keys(store.database, keys) if sweep.resolved.share_prefix else set()
    number = 0
    if not dry_run:
        number = store.add_trial(sweep.id, new, of=of, by=by)
    elif sweep.state == SweepState.STOPPING:
        number = None
    if number is None:
        raise UserError(
            f"the sweep {sweep.name!r} is being stopped or is gone; wait until it has stopped "
            f"(t2f sweep show {sweep.name}), then it takes trials again"
        )
    return Branch(
        name=None if dry_run else f"{sweep.name}/T{number}",
        of=of,
        stages={stage.resolution: key in trained for stage, key in zip(stages, keys, strict=True)},
    )
