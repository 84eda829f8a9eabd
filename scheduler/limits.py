"""How much a sweep may take, and when it begins: `budget`, `resources`, `after`, `share_prefix` of a sweep file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.labels import Labels, checked_labels
from t2f.errors import SpecError
from t2f.trainfile import Section, read_name

NUM_GPUS = "leave it at auto, and give a worker's share of a GPU where the workers start: t2f up --num-gpus 0.5"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What ends a sweep early; None: no limit."""

    max_trials: int | None = None
    gpu_hours: float | None = None  # of devices, over all attempts that the sweep bears
    wall_seconds: float | None = None  # since it was submitted

    @property
    def is_timed(self) -> bool:
        """Whether it can be spent by time passing."""
        return self.gpu_hours is not None or self.wall_seconds is not None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a sweep may take of the workers."""

    priority: int = 50  # 0 to 100; higher goes first
    share: float = 1.0  # weight in the fair share between sweeps of one priority
    max_workers: int | None = None  # stage runs of it at once
    labels: Labels = field(default_factory=dict)  # that a worker must have to train for it


def read_budget(file: Section, method: str) -> Budget:
    section = file.section("budget")
    section.only(("max_trials", "gpu_hours", "wall"))
    given = {word: value for word, value in section.content.items() if value is not None}  # null: no limit
    if method not in ("grid", "grow") and "max_trials" not in given:
        raise SpecError(
            f"{section.where}: max_trials is missing; method: {method} needs to know how many trials to draw"
        )
    return Budget(
        max_trials=section.whole("max_trials", low=1, high=1_000_000) if "max_trials" in given else None,
        gpu_hours=section.number("gpu_hours", low=1e-6, high=1e9) if "gpu_hours" in given else None,
        wall_seconds=_read_duration(section, "wall") if "wall" in given else None,
    )


def _read_duration(section: Section, key: str) -> float:
    value = section.content[key]
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= 1e9:
        raise SpecError(
            f"{section.at(key)} = {value!r} is not allowed; it must be a number above 0 with a unit: "
            "90s, 45m, 12h or 3d"
        )
    return seconds


def duration_text(seconds: float) -> str:
    """In the largest unit that gives at least 1: 1.5d, 2h, 45m, 20s."""
    for unit in ("d", "h", "m"):
        if seconds >= _SECONDS[unit]:
            return f"{round(seconds / _SECONDS[unit], 1):g}{unit}"
    return f"{seconds:.0f}s"


def read_resources(file: Section) -> Resources:
    section = file.section("resources")
    section.only(("num_gpus", "priority", "share", "max_workers", "labels"))
    if section.content.get("num_gpus", "auto") != "auto":
        raise SpecError(f"{section.at('num_gpus')} = {section.content['num_gpus']!r} is not allowed; {NUM_GPUS}")
    limited = "max_workers" in section.content
    return Resources(
        priority=section.whole("priority", default=50, low=0, high=100),
        share=float(section.number("share", default=1.0, low=0.01, high=1000.0)),
        max_workers=section.whole("max_workers", low=1, high=1_000_000) if limited else None,
        labels=checked_labels(section.mapping("labels"), section.at("labels")),
    )


def read_after(file: Section) -> str | None:
    """The sweep that must have ended before this one begins."""
    if "after" not in file.content:
        return None
    return read_name(file.below({"name": file.content["after"]}, "after", line=file.line_of("after")))


def read_share_prefix(file: Section) -> bool:
    """Whether trials share stage runs with whoever has the same; YAML's `off` is false."""
    value = file.content.get("share_prefix", True)
    words = {"on": True, "off": False}
    if isinstance(value, str):
        value = words.get(value, value)
    if not isinstance(value, bool):
        raise SpecError(f"{file.at('share_prefix')} = {value!r} is not allowed; it must be on or off")
    return value


def limits_json(*, resources: Resources, after: str | None, share_prefix: bool) -> dict[str, Any]:
    """As a sweep's row keeps them."""
    return {
        "priority": resources.priority,
        "share": resources.share,
        "max_workers": resources.max_workers,
        "labels": dict(resources.labels),
        "after": after,
        "share_prefix": share_prefix,
    }


def resources_from_json(stored: Mapping[str, Any]) -> Resources:
    return Resources(
        priority=stored["priority"],
        share=stored.get("share", 1.0),
        max_workers=stored.get("max_workers"),
        labels=stored.get("labels", {}),
    )
