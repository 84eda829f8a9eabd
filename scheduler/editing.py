"""Changing a sweep that is there: bounds and values of its parameters, its budget, priority and retries, more trials.

What was trained stays as it is: a trial keeps the values it was given, and nothing that decides a trial's stages can be
changed. The words are those of a sweep file, and the same reader checks them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from scheduler import reads, trial_reads
from scheduler.asking import ENQUEUED
from scheduler.limits import Budget, Resources
from scheduler.reads import Sweep, Trial
from scheduler.search.listed import distinct, grid
from scheduler.search.methods import LISTED
from scheduler.space import Parameter
from scheduler.states import SweepState
from scheduler.store import NewTrial, RetryBudget, Store
from scheduler.sweepfile import ResolvedSweep, SweepSpec, read_sweep
from t2f.errors import UserError
from t2f.trainfile import Section

Settable = TypeVar("Settable", Budget, Resources, RetryBudget)

SECTIONS = ("parameters", "budget", "resources", "retry")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What an edit changes."""

    changes: Mapping[str, tuple[Any, Any]]  # word -> before, after
    new_trials: int
    goes_on: bool  # an ended sweep is open again


def edit_sweep(store: Store, sweep: Sweep, changes: Mapping[str, Any], *, by: str, dry_run: bool = False) -> Edit:
    """Change a sweep by words such as `parameters.loss.name`, `budget.max_trials` or `resources.priority`.

    Each comes with what a sweep file would hold there. A dry run writes nothing.
    """
    if sweep.state == SweepState.STOPPING:
        raise UserError(f"the sweep {sweep.name!r} is being stopped; wait until it has stopped, then edit it")
    spec, given = _read(sweep, changes)
    changed = tuple(one for one in spec.parameters if one.name in given.get("parameters", {}))
    new = replace(
        sweep.resolved,
        space=replace(sweep.resolved.space, parameters=_parameters(sweep, changed)),
        budget=_updated(sweep.resolved.budget, spec.budget, given.get("budget", {})),
        resources=_updated(sweep.resolved.resources, spec.resources, given.get("resources", {})),
        retry=_updated(sweep.resolved.retry, spec.retry, given.get("retry", {})),
    )
    before = trial_reads.submission(store.database, sweep.id).resolved
    differences = _differences(sweep.resolved.to_json(), new.to_json())
    if not differences:
        raise UserError(f"nothing would change: {sweep.name!r} has these values already")
    trials = _further_trials(new, reads.trials(store.database, sweep.id))
    asks_for_more = new.method not in LISTED and (new.budget, new.space) != (
        sweep.resolved.budget,
        sweep.resolved.space,
    )
    edit = Edit(
        changes=differences,
        new_trials=len(trials),
        goes_on=not sweep.is_open and (bool(trials) or asks_for_more),
    )
    if dry_run:
        return edit
    written = store.edit_sweep(
        sweep.id,
        before=before,
        resolved=new.to_json(),
        trials=trials,
        goes_on=edit.goes_on,
        changes={word: list(pair) for word, pair in differences.items()},
        by=by,
    )
    if not written:
        raise UserError(f"the sweep {sweep.name!r} was changed by somebody else meanwhile; look at it and try again")
    return edit


def _read(sweep: Sweep, changes: Mapping[str, Any]) -> tuple[SweepSpec, dict[str, dict[str, Any]]]:
    """The words as a sweep file's reader takes them, and the words by section."""
    given: dict[str, dict[str, Any]] = {}
    for word, value in changes.items():
        section, _, name = word.partition(".")
        if section not in SECTIONS or not name:
            raise UserError(
                f"{word!r} cannot be edited; give parameters.SETTING, budget.WORD, resources.WORD or retry.WORD. "
                "What decides stages that are trained already needs a new sweep"
            )
        given.setdefault(section, {})[name] = value
    plan, old = sweep.resolved.space.plan, sweep.resolved
    # Conditions, constraints and the method's own words are about all parameters, so the reader sees the others too.
    parameters = {one.name: _written(one) for one in old.space.parameters}
    file: dict[str, Any] = {
        "name": sweep.name,
        "data": {"dataset": sweep.data_name},
        "preset": old.space.preset,
        "method": old.method,
        "metric": [{"name": one.metric, "goal": one.goal} for one in old.objectives],
        "stages": {name: list(getattr(plan, name)) for name in ("resolutions", "images", "fade", "batch")},
        "constraints": [constraint.text for constraint in old.space.constraints],
        **({} if old.growing is None else {"grow": old.growing.to_words()}),
        **given,
        "parameters": parameters | given.get("parameters", {}),
    }
    if old.budget.max_trials is not None:
        file["budget"] = {"max_trials": old.budget.max_trials, **given.get("budget", {})}
    return read_sweep(Section(file, f"editing {sweep.name}"), Path()), given


def _written(parameter: Parameter) -> dict[str, Any]:
    """A parameter as a sweep file has it."""
    if parameter.later:
        return {"per_stage": [*parameter.values, *(value for _, value in parameter.later)]}
    words = {
        "values": list(parameter.values) or None,
        "distribution": parameter.distribution,
        "min": parameter.low,
        "max": parameter.high,
        "q": parameter.step,
        "from_stage": parameter.from_stage,
        "when": parameter.to_json()["when"] or None,
    }
    return {word: value for word, value in words.items() if value is not None}


# Words of a sweep file -> their fields, where the two differ.
_FIELDS = {"wall": "wall_seconds"}


def _updated(old: Settable, read: Settable, given: Mapping[str, Any]) -> Settable:
    """The old values but for what the words gave; null is none."""
    if not given:
        return old
    default = type(read)()
    named = {_FIELDS.get(word, word) for word in given}
    return replace(
        old,
        **{
            one.name: getattr(read, one.name)
            for one in fields(read)
            if one.name in named or getattr(read, one.name) != getattr(default, one.name)
        },
    )


def _parameters(sweep: Sweep, changed: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """The sweep's parameters with the changed ones in their places and new ones at the end."""
    known = {parameter.name: parameter for parameter in sweep.resolved.space.parameters}
    for parameter in changed:
        old = known.get(parameter.name)
        if old is not None and (old.from_stage, old.later) != (parameter.from_stage, parameter.later):
            since = "the start" if old.from_stage is None else f"{old.from_stage} px"
            raise UserError(
                f"parameters.{parameter.name} holds from {since} on in {sweep.name!r}; since when a value holds and "
                "how it changes from stage to stage decides trials that are there, so give the same from_stage or "
                "per_stage, or submit a new sweep"
            )
        known[parameter.name] = parameter
    return tuple(known.values())


def _further_trials(resolved: ResolvedSweep, there: list[Trial]) -> list[NewTrial]:
    """The trials that the changed grid or number of random trials has beyond those there; other methods ask later."""
    known = [dict(trial.parameters) for trial in there]
    if resolved.method == "grid":
        new = [NewTrial(parameters=one, origin="grid") for one in grid(resolved.space) if one not in known]
        limit = resolved.budget.max_trials
        if limit is not None and len(there) + len(new) > limit:
            raise UserError(
                f"the sweep would have {len(there) + len(new)} trials and budget.max_trials is {limit}; "
                "list fewer values, or raise budget.max_trials in the same edit"
            )
        return new
    limit = resolved.budget.max_trials
    # A population's further trials are children, which are made at stages' ends.
    if resolved.method not in LISTED or resolved.growing is not None or limit is None:
        return []
    enqueued = sum(trial.origin == ENQUEUED for trial in there)
    drawn = sum(trial.origin == resolved.method for trial in there)
    chosen, _ = distinct(resolved.space, resolved.method, max(0, limit - enqueued))
    return [NewTrial(parameters=one, origin=resolved.method) for one in chosen[drawn:] if one not in known]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    old = {parameter["name"]: parameter for parameter in before["parameters"]}
    for parameter in after["parameters"]:
        if old.get(parameter["name"]) != parameter:
            found[f"parameters.{parameter['name']}"] = (_range(old.get(parameter["name"])), _range(parameter))
    for section in ("budget", "retry"):
        for name, value in after[section].items():
            if before[section].get(name) != value:
                found[f"{section}.{name}"] = (before[section].get(name), value)
    for name in ("priority", "share", "max_workers", "labels"):
        if before[name] != after[name]:
            found[f"resources.{name}"] = (before[name], after[name])
    return found


def _range(parameter: Mapping[str, Any] | None) -> Any:
    """What is said of a parameter: what is not empty."""
    if parameter is None:
        return None
    return {name: value for name, value in parameter.items() if name != "name" and value not in (None, [], {})}
