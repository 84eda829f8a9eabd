"""A W&B sweep configuration as a sweep file of ours, with a list of what had no counterpart.

Words and meanings: https://docs.wandb.ai/guides/sweeps/sweep-config-keys. `min` and `max` of their `log_uniform` are
exponents of e, those of `log_uniform_values` are the values themselves.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scheduler.sweepfile import METRICS, read_sweep
from t2f.errors import SpecError, UserError
from t2f.settings import SETTINGS, checked_value
from t2f.trainfile import Section

# Ours, and whether bounds are exponents. `q_` before a name adds the step.
DISTRIBUTIONS = {
    "uniform": ("uniform", False),
    "int_uniform": ("int_uniform", False),
    "log_uniform": ("log_uniform", True),
    "log_uniform_values": ("log_uniform", False),
}
WITHOUT_COUNTERPART = ("normal", "log_normal", "beta", "inv_log_uniform", "inv_log_uniform_values")
WORDS = ("name", "description", "method", "metric", "parameters", "early_terminate", "run_cap")
# What W&B does not say and a sweep file must; to be changed by whoever imports.
STAGES = {"resolutions": [4, 8, 16, 32], "kimg": [160, 160, 120, 80]}


@dataclass
class Import:
    """A sweep file's content, and what was left out or changed on the way, each with the reason."""

    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The sweep file as YAML, the notes as comments above it."""
        head = "".join(f"# {' '.join(note.split())}\n" for note in self.notes)  # a line each, whatever is quoted
        return head + yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, default_flow_style=None)


def checked_import(content: Mapping[str, Any], *, source: str, dataset: str, folder: Path) -> Import:
    """The same, read as a sweep file that lies in this folder: what is wrong with it is its last note."""
    found = import_wandb(content, source=source, dataset=dataset)
    try:
        read_sweep(Section(found.content, f"{source}, imported"), folder)
    except UserError as error:
        found.notes.append(f"to be mended before it is submitted: {error}")
    return found


def import_wandb(content: Mapping[str, Any], *, source: str, dataset: str) -> Import:
    """The sweep file for a W&B configuration. SpecError where that is none.

    dataset: the prepared data set to name, since W&B knows of none.
    """
    file = Section(content, source)
    parameters = file.mapping("parameters", required=True)
    found = Import(content={})
    found.content["name"] = _name(str(content.get("name", "imported")))
    found.content["data"] = {"dataset": dataset}
    found.content["method"] = _method(file, found)
    if "metric" in content:
        found.content["metric"] = _metric(file.section("metric"), found)
    found.content["stages"] = dict(STAGES)
    found.notes.append("stages: W&B knows none; these are the first ones of the article, set your own")
    found.content["parameters"] = _parameters(parameters, found, source)
    if "early_terminate" in content:
        found.content["early_terminate"] = _early_terminate(file.section("early_terminate"), found)
    if "run_cap" in content:
        found.content["budget"] = {"max_trials": file.whole("run_cap", low=1, high=1_000_000)}
    elif found.content["method"] != "grid":
        found.content["budget"] = {"max_trials": 20}
        found.notes.append("budget.max_trials: there is no run_cap, and a sweep must end; 20 trials")
    for word in content:
        if word not in WORDS:
            found.notes.append(f"{word}: has no counterpart and was left out")
    if "description" in content:
        found.notes.append(f"description: {' '.join(str(content['description']).split())}")
    return found


def _name(written: str) -> str:
    """A sweep's name out of any text."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in written).strip("-.")
    return kept[:100] or "imported"


def _method(file: Section, found: Import) -> str:
    method = file.choice("method", ("grid", "random", "bayes"), default="random")
    if method != "bayes":
        return method
    found.notes.append("method: bayes is imported as gp, which W&B's is too; tpe is the quicker choice for many trials")
    return "gp"


def _metric(metric: Section, found: Import) -> dict[str, str]:
    name, goal = str(metric.content.get("name", "score")), metric.content.get("goal", "minimize")
    if "target" in metric.content:
        found.notes.append("metric.target: has no counterpart and was left out; a sweep goes on to its budget's end")
    if name not in METRICS:
        found.notes.append(f"metric.name: {name!r} is none of ours; imported as score")
        return {"name": "score", "goal": "maximize"}
    if goal != METRICS[name]:
        found.notes.append(f"metric.goal: {name} can only be {METRICS[name]}d; {goal} was left out")
    return {"name": name, "goal": METRICS[name]}


def _parameters(written: Mapping[str, Any], found: Import, source: str, prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, one in written.items():
        full = f"{prefix}{name}".replace("/", ".")
        if isinstance(one, dict) and isinstance(one.get("parameters"), dict):
            result |= _parameters(one["parameters"], found, source, f"{full}.")
            continue
        if not isinstance(one, dict):
            raise SpecError(
                f"{source}: parameters.{full} = {one!r} is not allowed; give a mapping such as value: {one}"
            )
        setting = _setting(full)
        if setting is None:
            near = difflib.get_close_matches(full, SETTINGS, n=1, cutoff=0.4)
            hint = f"; the nearest is {near[0]}" if near else ""
            found.notes.append(f"parameters.{full}: is no setting of ours and was left out{hint}")
            continue
        if setting != full:
            found.notes.append(f"parameters.{full}: taken for {setting}")
        imported = _parameter(setting, one, found)
        if imported is not None:
            result[setting] = imported
    return result


def _setting(name: str) -> str | None:
    """Our setting of that name, or the only one whose last part it is."""
    if name in SETTINGS:
        return name
    ends = [setting for setting in SETTINGS if setting.rpartition(".")[2] == name]
    return ends[0] if len(ends) == 1 else None


def _parameter(name: str, one: Mapping[str, Any], found: Import) -> dict[str, Any] | None:
    try:
        imported = _range(name, one, found)
        if imported is not None:
            for value in imported.get("values", [imported[key] for key in ("value", "min", "max") if key in imported]):
                checked_value(name, value)
    except SpecError as error:
        found.notes.append(f"parameters.{name}: left out, {error}")
        return None
    return imported


def _range(name: str, one: Mapping[str, Any], found: Import) -> dict[str, Any] | None:
    section = Section(one, f"parameters.{name}")
    if "probabilities" in one:
        found.notes.append(f"parameters.{name}: probabilities have no counterpart; its values are equally likely")
    if "value" in one:
        return {"value": one["value"]}
    if "values" in one:
        if not isinstance(one["values"], list):
            raise SpecError(f"values = {one['values']!r:.100} is no list")
        return {"values": one["values"]}
    given = one.get("distribution") or ("int_uniform" if _are_whole(one) else "uniform")
    quantised, base = str(given).startswith("q_"), str(given).removeprefix("q_")
    if base not in DISTRIBUTIONS:
        known = "has no counterpart" if base in WITHOUT_COUNTERPART else "is no distribution that is known"
        found.notes.append(f"parameters.{name}: the distribution {given} {known}; it was left out")
        return None
    ours, is_exponent = DISTRIBUTIONS[base]
    bounds = [section.number(bound, low=-1e12, high=1e12) for bound in ("min", "max")]
    if is_exponent:
        bounds = [math.exp(min(bound, 700.0)) for bound in bounds]
    result: dict[str, Any] = {"distribution": ours, "min": bounds[0], "max": bounds[1]}
    if quantised:
        result["q"] = section.number("q", default=1, low=1e-12, high=1e12)
    return result


def _are_whole(one: Mapping[str, Any]) -> bool:
    return all(isinstance(one.get(bound), int) and not isinstance(one.get(bound), bool) for bound in ("min", "max"))


def _early_terminate(section: Section, found: Import) -> dict[str, Any]:
    section.choice("type", ("hyperband",), default="hyperband")
    found.notes.append(
        "early_terminate: W&B's hyperband compares with the runs that got as far, by iterations; here it is asha, "
        "which does so at the ends of stages"
    )
    for word in section.content:
        if word not in ("type", "eta"):
            found.notes.append(f"early_terminate.{word}: has no counterpart and was left out; see min_stage")
    return {"type": "asha", "eta": section.whole("eta", default=3, low=2, high=100)}
