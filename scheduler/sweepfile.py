"""Reading a sweep file: strictly, with every default filled in, and every error in one sentence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scheduler.limits import (
    Budget,
    Resources,
    limits_json,
    read_after,
    read_budget,
    read_resources,
    read_share_prefix,
    resources_from_json,
)
from scheduler.samplers import draw
from scheduler.space import DISTRIBUTIONS, Parameter, SearchSpace
from scheduler.store import RetryBudget
from t2f.data import PreparedData
from t2f.errors import SpecError
from t2f.probe import EvaluationSpec
from t2f.settings import checked_value, require_setting
from t2f.spec import RESOLUTIONS, SentenceSpec, StagePlan
from t2f.trainfile import (
    ProbeSection,
    Section,
    StagesSection,
    naming,
    read_dataset,
    read_init_from,
    read_name,
    read_per_stage,
    read_preset,
    read_probe,
    read_sentence_encoder,
    read_stages,
)
from t2f.yamlfile import read_yaml

KEYS = (
    "name",
    "data",
    "seed",
    "preset",
    "init_from",
    "sentence_encoder",
    "method",
    "metric",
    "stages",
    "parameters",
    "early_terminate",
    "budget",
    "resources",
    "retry",
    "probe",
    "checkpoint",
    "after",
    "share_prefix",
)
NOT_YET = "is not supported by this version; remove it"
LATER = dict.fromkeys(("branch", "constraints", "replicate", "enqueue", "warm_start"), NOT_YET)
METHODS = ("grid", "random")
METRICS = {"score": "maximize", "fidelity": "maximize", "text": "maximize", "attribute_share": "maximize"}
TEXT_METRICS = ("text", "attribute_share")
METRICS |= {"swd": "minimize", "pixel_distance": "minimize", "colour_distance": "minimize"}


@dataclass(frozen=True, kw_only=True)
class EarlyTermination:
    """Which trials go on at the end of a stage."""

    type: str = "none"  # none: all; halving: the best 1/eta once a rung is complete; asha: without waiting for it
    eta: int = 3
    min_stage: int = 4  # px: no rung before it


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep file, read. What it means on a certain data set is a `ResolvedSweep`."""

    name: str
    dataset: str
    seed: int
    preset: str
    method: str
    metric: str
    goal: str
    stages: StagesSection
    parameters: tuple[Parameter, ...]
    early_terminate: EarlyTermination
    budget: Budget
    resources: Resources
    after: str | None  # the sweep that must have ended before
    share_prefix: bool
    retry: RetryBudget
    probe: ProbeSection
    checkpoint_seconds: float
    init_from: Path | None  # a model bundle that new layers start from
    sentence_encoder: str  # for text.encoder: sentence

    def resolve(
        self,
        data: PreparedData,
        judge_sha256: str,
        *,
        init_sha256: str | None = None,
        sentence: SentenceSpec | None = None,
    ) -> "ResolvedSweep":
        """Everything decided, on this data; SpecError where the two do not fit.

        init_sha256, sentence: what `init_from` and `sentence_encoder` turn out to be.
        """
        plan = self.stages.plan(data.split("train").size)
        if plan.final_resolution > max(data.resolutions):
            raise SpecError(
                f"the sweep goes up to {plan.final_resolution} px, but {data.name!r} is prepared up to "
                f"{max(data.resolutions)} px; prepare it with --resolution {plan.final_resolution}, or drop stages"
            )
        if self.metric in TEXT_METRICS and not data.has_captions:
            raise SpecError(
                f"metric.name = {self.metric!r} is measured with captions, but {data.name!r} has none; use one of "
                f"{', '.join(name for name in METRICS if name not in TEXT_METRICS)}"
            )
        space = SearchSpace(
            data_key=data.key,
            seed=self.seed,
            preset=self.preset,
            plan=plan,
            parameters=self.parameters,
            init_sha256=init_sha256,
            sentence=sentence,
        )
        return ResolvedSweep(
            method=self.method,
            metric=self.metric,
            goal=self.goal,
            space=space,
            early_terminate=self.early_terminate,
            budget=self.budget,
            resources=self.resources,
            after=self.after,
            share_prefix=self.share_prefix,
            retry=self.retry,
            evaluation=self.probe.evaluation(data, judge_sha256),
            checkpoint_seconds=self.checkpoint_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedSweep:
    """A sweep with nothing left open; kept in its row, it is all the scheduler looks at."""

    method: str
    metric: str
    goal: str
    space: SearchSpace
    early_terminate: EarlyTermination
    budget: Budget
    resources: Resources = field(default_factory=Resources)
    after: str | None = None
    share_prefix: bool = True
    retry: RetryBudget = field(default_factory=RetryBudget)
    evaluation: EvaluationSpec
    checkpoint_seconds: float

    def root(self, trial_name: str) -> str | None:
        """What the key of the trial's first stage run is chained to: its own name where it shares with nobody."""
        return None if self.share_prefix else f"unshared {trial_name}"

    @property
    def priority(self) -> int:
        return self.resources.priority

    def to_json(self) -> dict[str, Any]:
        plan = {name: list(values) for name, values in asdict(self.space.plan).items()}
        return {
            "method": self.method,
            "metric": self.metric,
            "goal": self.goal,
            "data_key": self.space.data_key,
            "seed": self.space.seed,
            "preset": self.space.preset,
            "plan": plan,
            "parameters": [parameter.to_json() for parameter in self.space.parameters],
            "init_sha256": self.space.init_sha256,
            "sentence": None if self.space.sentence is None else asdict(self.space.sentence),
            "early_terminate": asdict(self.early_terminate),
            "budget": asdict(self.budget),
            **limits_json(resources=self.resources, after=self.after, share_prefix=self.share_prefix),
            "retry": asdict(self.retry),
            "evaluation": self.evaluation.to_json(),
            "checkpoint_seconds": self.checkpoint_seconds,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ResolvedSweep":
        plan = StagePlan(**{name: tuple(values) for name, values in stored["plan"].items()})
        space = SearchSpace(
            data_key=stored["data_key"],
            seed=stored["seed"],
            preset=stored["preset"],
            plan=plan,
            parameters=tuple(Parameter.from_json(parameter) for parameter in stored["parameters"]),
            init_sha256=stored["init_sha256"],
            sentence=None if stored["sentence"] is None else SentenceSpec(**stored["sentence"]),
        )
        return cls(
            method=stored["method"],
            metric=stored["metric"],
            goal=stored["goal"],
            space=space,
            early_terminate=EarlyTermination(**stored["early_terminate"]),
            budget=Budget(**stored["budget"]),
            resources=resources_from_json(stored),
            after=stored.get("after"),
            share_prefix=stored.get("share_prefix", True),
            retry=RetryBudget(**stored["retry"]),
            evaluation=EvaluationSpec.from_json(stored["evaluation"]),
            checkpoint_seconds=stored["checkpoint_seconds"],
        )


def read_sweep_file(path: Path) -> tuple[SweepSpec, str]:
    """The sweep in a file, and the file's text as written; SpecError for anything that is not right in it."""
    content, text = read_yaml(path)
    return read_sweep(Section(content, str(path)), path.parent), text


def read_sweep(file: Section, folder: Path) -> SweepSpec:
    """A sweep from a mapping; `folder` is where relative paths in it start."""
    file.only(KEYS, later=LATER)
    preset = read_preset(file)
    stages = read_stages(file, preset)
    metric, goal = _read_metric(file)
    checkpoint = file.section("checkpoint")
    checkpoint.only(("seconds",))
    retry = file.section("retry")
    retry.only(("infrastructure", "code"))
    method = _read_method(file)
    return SweepSpec(
        name=read_name(file),
        dataset=read_dataset(file),
        seed=file.whole("seed", default=0, low=0, high=2**32 - 1),
        preset=preset,
        method=method,
        metric=metric,
        goal=goal,
        stages=stages,
        parameters=_read_parameters(file, stages),
        early_terminate=_read_early_terminate(file, stages),
        budget=read_budget(file, method),
        resources=read_resources(file),
        after=read_after(file),
        share_prefix=read_share_prefix(file),
        retry=RetryBudget(
            infrastructure=retry.whole("infrastructure", default=10, low=0, high=1000),
            code=retry.whole("code", default=1, low=0, high=1000),
        ),
        probe=read_probe(file, folder),
        checkpoint_seconds=checkpoint.number("seconds", default=30.0, low=0.1, high=1e6),
        init_from=read_init_from(file, folder),
        sentence_encoder=read_sentence_encoder(file, folder),
    )


def _read_method(file: Section) -> str:
    later = ("sobol", "tpe", "gp", "cmaes", "grow")
    if file.content.get("method") in later:
        raise SpecError(
            f"{file.where}: method = {file.content['method']!r} {NOT_YET}, or use one of {', '.join(METHODS)}"
        )
    return file.choice("method", METHODS, default="grid")


def _read_metric(file: Section) -> tuple[str, str]:
    metric = file.section("metric")
    metric.only(("name", "goal"))
    name = metric.choice("name", tuple(METRICS), default="score")
    goal = metric.choice("goal", ("maximize", "minimize"), default=METRICS[name])
    if goal != METRICS[name]:
        raise SpecError(f"{metric.where}: goal = {goal!r} is not allowed for {name}; better means {METRICS[name]}")
    return name, goal


def _read_early_terminate(file: Section, stages: StagesSection) -> EarlyTermination:
    section = file.section("early_terminate")
    section.only(("type", "eta", "min_stage"))
    kind = section.choice("type", ("none", "halving", "asha"), default="none")
    min_stage = section.whole("min_stage", default=stages.resolutions[0], low=4, high=RESOLUTIONS[-1])
    if min_stage not in stages.resolutions:
        raise SpecError(
            f"{section.where}: min_stage = {min_stage} is no stage of this sweep; "
            f"its stages are {', '.join(map(str, stages.resolutions))}"
        )
    return EarlyTermination(type=kind, eta=section.whole("eta", default=3, low=2, high=100), min_stage=min_stage)


def _read_parameters(file: Section, stages: StagesSection) -> tuple[Parameter, ...]:
    found = []
    for name, written in file.mapping("parameters").items():
        where = f"{file.where}: parameters.{name}"
        with naming(where):
            require_setting(name)
            found.append(_read_parameter(name, written, where, stages))
    return tuple(found)


def _read_parameter(name: str, written: Any, where: str, stages: StagesSection) -> Parameter:
    if not isinstance(written, dict):
        written = {"value": written}
    section = Section(written, where)
    section.only(("values", "value", "per_stage", "distribution", "min", "max", "q", "from_stage", "when"))
    ways = [way for way in ("values", "value", "per_stage", "distribution") if way in written]
    if len(ways) != 1:
        raise SpecError(f"{where}: give one of values, value, per_stage or distribution; given: {ways or 'none'}")
    if ways[0] == "per_stage":
        first, *rest = read_per_stage(name, written, where, stages)
        later = tuple(zip(stages.resolutions[1:], rest, strict=True))
        return Parameter(name=name, values=(first,), later=later)
    from_stage = None
    if "from_stage" in written:
        from_stage = section.whole("from_stage", low=4, high=RESOLUTIONS[-1])
        if from_stage not in stages.resolutions:
            raise SpecError(
                f"{where}: from_stage = {from_stage} is no stage of this sweep; "
                f"its stages are {', '.join(map(str, stages.resolutions))}"
            )
    when = {require_setting(other): checked_value(other, value) for other, value in section.mapping("when").items()}
    common = {"name": name, "from_stage": from_stage, "when": when}
    if ways[0] == "distribution":
        return _read_distribution(section, common)
    values = written["values"] if ways[0] == "values" else [written["value"]]
    if not isinstance(values, list) or not values:
        raise SpecError(f"{where}: values = {values!r} is not allowed; give a list with at least one value")
    checked = tuple(checked_value(name, value) for value in values)
    if len(set(checked)) != len(checked):
        raise SpecError(f"{where}: values = {values!r} holds one twice; keep each once")
    return Parameter(values=checked, **common)


def _read_distribution(section: Section, common: dict[str, Any]) -> Parameter:
    distribution = section.choice("distribution", DISTRIBUTIONS, default="uniform")
    low = section.number("min", low=-1e12, high=1e12)
    high = section.number("max", low=-1e12, high=1e12)
    if not low < high:
        raise SpecError(f"{section.where}: min = {low:g} must be below max = {high:g}")
    if "log" in distribution and low <= 0:
        raise SpecError(f"{section.where}: min = {low:g} is not allowed for {distribution}; it must be above 0")
    step = section.number("q", low=1e-12, high=1e12) if "q" in section.content else None
    parameter = Parameter(distribution=distribution, low=low, high=high, step=step, **common)
    for share in (0.0, 1 - 1e-12):
        draw(parameter, share)  # both ends must be allowed for the setting
    for bound in (low, high):
        checked_value(parameter.name, int(bound) if distribution.startswith("int") else bound)
    return parameter
