"""What a trial is to its sweep beyond its parameters: child, random control, promoted by hand, fresh seed.

It stands in the trial's attributes, all under the names below; a trial without any is judged at every rung.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.space import Deviation
from t2f.settings import Value


@dataclass(frozen=True, kw_only=True)
class Role:
    parent: int | None = None  # number of the trial that it began from
    passes: int = 0  # px: it began above this rung, so its parent was judged there and it is not
    control: int | None = None  # px of the rung that would have stopped it, and let it go on by chance
    promoted: int | None = None  # px of the rung that stopped it before a person let it go on
    forked: tuple[str, ...] = ()  # where it has got its children: "16" (px), or FINALISTS
    skips_rungs: bool = False  # never judged, and wins no place: forks by hand, extensions, finalists

    @property
    def free_from(self) -> float:
        """px of the rung from which on nobody judges it any more."""
        return min((rung for rung in (self.control, self.promoted) if rung is not None), default=float("inf"))

    def counts_at(self, resolution: int) -> bool:
        """Whether it is one of those that are compared at this rung; a control takes nobody's place at a later one."""
        return not self.skips_rungs and self.passes < resolution <= self.free_from

    def is_judged_at(self, resolution: int) -> bool:
        """Whether the rung decides if it goes on."""
        return self.counts_at(resolution) and resolution < self.free_from

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Role":
        return cls(
            parent=attributes.get("parent"),
            passes=attributes.get("passes", 0),
            control=attributes.get("control"),
            promoted=attributes.get("promoted"),
            forked=tuple(attributes.get("forked", ())),
            skips_rungs=bool(attributes.get("skips_rungs")),
        )


FINALISTS = "finalists"  # in Role.forked: its fresh seeds have been asked for


def describe(origin: str, attributes: Mapping[str, Any]) -> str:
    """What a reader must know of a trial beside its parameters, in a line; empty for one like all others."""
    role = Role.of(attributes)
    found = []
    if origin == "replicate":
        found.append(f"fresh seed of T{role.parent}: {attributes['deviation']['seed']}")
    elif origin == "branch":
        found.append(f"branch of T{role.parent} after {role.passes} px")
    elif origin == "grow":
        changes = Deviation.of(attributes).late
        found.append(f"grown from T{role.parent} after {role.passes} px{_changes(changes, after=role.passes)}")
    elif "of" in attributes:  # a clone, a fork, an extension
        found.append(f"{origin} of {attributes['of']}{_departures(attributes)}")
    if role.control is not None:
        found.append(f"random control since {role.control} px")
    if role.promoted is not None:
        found.append(f"promoted by hand at {role.promoted} px")
    return "; ".join(found)


def _departures(attributes: Mapping[str, Any]) -> str:
    """What a trial that a person made from another does otherwise."""
    deviation = Deviation.of(attributes)
    after = int(attributes["of"].partition("@")[2] or 0)
    found = _changes(deviation.late, after=after)
    if deviation.seed is not None:
        found += f", seed {deviation.seed}"
    if deviation.plan is not None:
        found += f", to {deviation.plan.final_resolution} px with {deviation.plan.images[-1]:,} images there"
    return found


def _changes(late: Mapping[int, Mapping[str, Value]], *, after: int) -> str:
    """What a child does otherwise than its parent, from the stages that come; each change where it begins."""
    parts, now = [], dict[str, Value]()
    for resolution, values in sorted(late.items()):
        for name, value in values.items():
            if resolution > after and now.get(name) != value:
                parts.append(f"{name} {f'{value:.4g}' if isinstance(value, float) else value} from {resolution} px")
            now[name] = value
    return f": {', '.join(parts)}" if parts else ""
