"""The search space: what a sweep tries, and from a trial's parameters to its stages."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scheduler.search.constraints import Constraint
from t2f.errors import SpecError
from t2f.settings import PRESETS, Settings, Value, checked_value
from t2f.spec import SentenceSpec, StagePlan, StageSpec, TrainingSpec

DISTRIBUTIONS = ("uniform", "log_uniform", "int_uniform", "int_log_uniform")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One setting that is tried: a list of values (one value: a constant), or a distribution."""

    name: str
    values: tuple[Value, ...] = ()
    distribution: str | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None  # values are rounded to multiples of it
    from_stage: int | None = None  # px; before it the preset's value holds
    later: tuple[tuple[int, Value], ...] = ()  # (px, value): a constant that is another one from these stages on
    # Other parameters, and the value or values of each under which this one is tried.
    when: Mapping[str, Value | tuple[Value, ...]] = field(default_factory=dict)

    @property
    def varies(self) -> bool:
        return self.distribution is not None or len(self.values) > 1

    def is_active(self, chosen: Mapping[str, Value]) -> bool:
        """Whether it is tried, given the parameters before it."""
        return all(other in chosen and chosen[other] in self.allowed(other) for other in self.when)

    def allowed(self, other: str) -> tuple[Value, ...]:
        """The values of another parameter under which this one is tried."""
        values = self.when[other]
        return values if isinstance(values, tuple) else (values,)

    def to_json(self) -> dict[str, Any]:
        later = [list(pair) for pair in self.later]
        when = {other: list(value) if isinstance(value, tuple) else value for other, value in self.when.items()}
        return {**self.__dict__, "values": list(self.values), "later": later, "when": when}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Parameter":
        later = tuple((resolution, value) for resolution, value in stored["later"])
        when = {other: tuple(value) if isinstance(value, list) else value for other, value in stored["when"].items()}
        return cls(**{**stored, "values": tuple(stored["values"]), "later": later, "when": when})


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """In what a trial departs from its sweep beyond its parameters: a fork, an extension, a finalist's fresh seed."""

    seed: int | None = None
    plan: StagePlan | None = None  # its own stages, longer or deeper than the sweep's
    late: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)  # px -> settings that change from there on

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["late"] = {str(resolution): dict(values) for resolution, values in self.late.items()}
        return {name: value for name, value in found.items() if value not in (None, {})}

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Deviation":
        """That of a trial with these attributes."""
        stored = attributes.get("deviation")
        return cls.from_json(stored) if stored else NONE

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Deviation":
        plan = stored.get("plan")
        return cls(
            seed=stored.get("seed"),
            plan=StagePlan(**{name: tuple(values) for name, values in plan.items()}) if plan else None,
            late={int(resolution): values for resolution, values in stored.get("late", {}).items()},
        )


NONE = Deviation()


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What the trials of a sweep have in common, and in what they may differ."""

    data_key: str
    seed: int
    preset: str
    plan: StagePlan
    parameters: tuple[Parameter, ...]  # a parameter comes after those that its `when` names
    init_sha256: str | None = None  # weights of the model bundle that new layers start from
    sentence: SentenceSpec | None = None  # what reads captions under text.encoder: sentence
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for parameter in self.parameters:
            foreign = set(parameter.when) - known
            if foreign:
                raise SpecError(
                    f"parameters.{parameter.name}: when names {sorted(foreign)}, which is no parameter above it; "
                    "move that one up, or remove the condition"
                )
            known.add(parameter.name)

    @property
    def text_encoders(self) -> frozenset[Value]:
        """Every text.encoder that a trial may have."""
        tried = [parameter.values for parameter in self.parameters if parameter.name == "text.encoder"]
        preset = Settings().with_values(PRESETS[self.preset]).text.encoder
        return frozenset(tried[0] if tried else (preset,))

    @property
    def varying(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters if parameter.varies)

    def due(self, chosen: Mapping[str, Value], stage: int) -> "SearchSpace":
        """What a trial that begins this stage draws from: what it has is constant, what begins later is left out."""
        now = tuple(
            replace(parameter, values=(chosen[parameter.name],), distribution=None)
            if parameter.name in chosen
            else parameter
            for parameter in self.parameters
            if parameter.name in chosen or parameter.from_stage is None or parameter.from_stage <= stage
        )
        return replace(self, parameters=now)

    def fulfils(self, chosen: Mapping[str, Value]) -> bool:
        """Whether these parameters keep every constraint that can be checked yet.

        A constraint that names a parameter which is not drawn yet, or is not tried under these values, says nothing.
        """
        return all(constraint.holds(chosen) for constraint in self.constraints if constraint.names <= chosen.keys())

    def plan_of(self, deviation: Deviation) -> StagePlan:
        """The stages of a trial that deviates so."""
        return deviation.plan or self.plan

    def training(self, chosen: Mapping[str, Value], deviation: Deviation = NONE) -> TrainingSpec:
        """The whole training of a trial with these parameters; what it deviates in comes last."""
        now: dict[str, Value] = dict(PRESETS[self.preset])
        late: dict[int, dict[str, Value]] = {}
        for parameter in self.parameters:
            if parameter.name not in chosen:
                continue
            value = checked_value(parameter.name, chosen[parameter.name])
            if parameter.from_stage is None:
                now[parameter.name] = value
            else:
                late.setdefault(parameter.from_stage, {})[parameter.name] = value
            for resolution, later in parameter.later:
                late.setdefault(resolution, {})[parameter.name] = later
        for resolution, values in deviation.late.items():
            late.setdefault(resolution, {}).update(values)
        settings = Settings().with_values(now)
        return TrainingSpec(
            data_key=self.data_key,
            seed=self.seed if deviation.seed is None else deviation.seed,
            plan=self.plan_of(deviation),
            settings=settings,
            late=late,
            init_sha256=self.init_sha256,
            sentence=self.sentence,
        )

    def stages(self, chosen: Mapping[str, Value], deviation: Deviation = NONE) -> tuple[StageSpec, ...]:
        """The recipe of each stage of such a trial."""
        return self.training(chosen, deviation).stages()
