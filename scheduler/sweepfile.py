"""Reading a sweep file: strictly, with every default filled in, and every error in one sentence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scheduler.branching import read_branch
from scheduler.finalists import Replicate, read_replicate
from scheduler.growing import Growing, read_growing
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
from scheduler.objectives import Objective
from scheduler.rungs import EarlyTermination, is_rung, read_early_terminate
from scheduler.search.constraints import Constraint, parse_constraint
from scheduler.search.parameters import read_parameters
from scheduler.search.reading import Search, check_space, read_constraints, read_method, read_objectives, read_search
from scheduler.space import Parameter, SearchSpace
from scheduler.store import RetryBudget
from t2f.data import PreparedData
from t2f.errors import SpecError
from t2f.probe import EvaluationSpec
from t2f.spec import SentenceSpec, StagePlan
from t2f.trainfile import (
    ProbeSection,
    Section,
    StagesSection,
    read_dataset,
    read_init_from,
    read_name,
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
    "constraints",
    "parallel",
    "enqueue",
    "warm_start",
    "early_terminate",
    "branch",
    "grow",
    "replicate",
    "budget",
    "resources",
    "retry",
    "probe",
    "checkpoint",
    "after",
    "share_prefix",
)
METRICS = {"score": "maximize", "fidelity": "maximize", "text": "maximize", "attribute_share": "maximize"}
TEXT_METRICS = ("text", "attribute_share")
METRICS |= {"swd": "minimize", "pixel_distance": "minimize", "colour_distance": "minimize"}


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A sweep file, read. What it means on a certain data set is a `ResolvedSweep`."""

    name: str
    dataset: str
    seed: int
    preset: str
    method: str
    objectives: tuple[Objective, ...]
    stages: StagesSection
    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    search: Search
    early_terminate: EarlyTermination
    growing: Growing | None
    branch: int
    replicate: Replicate
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
        wordless = [one.metric for one in self.objectives if one.metric in TEXT_METRICS]
        if wordless and not data.has_captions:
            raise SpecError(
                f"metric.name = {wordless[0]!r} is measured with captions, but {data.name!r} has none; use one of "
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
            constraints=self.constraints,
        )
        check_space(self.method, space)
        return ResolvedSweep(
            method=self.method,
            objectives=self.objectives,
            space=space,
            search=self.search,
            early_terminate=self.early_terminate,
            growing=self.growing,
            branch=self.branch,
            replicate=self.replicate,
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
    objectives: tuple[Objective, ...]
    space: SearchSpace
    search: Search = field(default_factory=Search)
    early_terminate: EarlyTermination
    growing: Growing | None = None  # under method: grow
    branch: int = 1  # ways in which each prefix goes on that survives to its late parameters
    replicate: Replicate = field(default_factory=Replicate)  # the finalists
    budget: Budget
    resources: Resources = field(default_factory=Resources)
    after: str | None = None
    share_prefix: bool = True
    retry: RetryBudget = field(default_factory=RetryBudget)
    evaluation: EvaluationSpec
    checkpoint_seconds: float
    own_loop: bool = False  # trained by whoever asks for its trials and tells their values, never by workers

    def root(self, trial_name: str) -> str | None:
        """What the key of the trial's first stage run is chained to: its own name where it shares with nobody."""
        return None if self.share_prefix else f"unshared {trial_name}"

    @property
    def priority(self) -> int:
        return self.resources.priority

    @property
    def metric(self) -> str:
        """The metric, or the first of several."""
        return self.objectives[0].metric

    @property
    def goal(self) -> str:
        return self.objectives[0].goal

    def may_choose_at(self, resolution: int) -> bool:
        """Whether trials may be stopped, or get children, at the end of this stage."""
        if self.growing is not None:
            return self.growing.min_stage <= resolution < self.space.plan.final_resolution
        return is_rung(self.early_terminate, resolution, self.space.plan.final_resolution)

    def to_json(self) -> dict[str, Any]:
        plan = {name: list(values) for name, values in asdict(self.space.plan).items()}
        return {
            "method": self.method,
            "metric": self.metric,
            "goal": self.goal,
            "objectives": [asdict(objective) for objective in self.objectives],
            "search": self.search.to_json(),
            "constraints": [constraint.text for constraint in self.space.constraints],
            "data_key": self.space.data_key,
            "seed": self.space.seed,
            "preset": self.space.preset,
            "plan": plan,
            "parameters": [parameter.to_json() for parameter in self.space.parameters],
            "init_sha256": self.space.init_sha256,
            "sentence": None if self.space.sentence is None else asdict(self.space.sentence),
            "early_terminate": asdict(self.early_terminate),
            "growing": self.growing and self.growing.to_json(),
            "branch": self.branch,
            "replicate": asdict(self.replicate),
            "budget": asdict(self.budget),
            **limits_json(resources=self.resources, after=self.after, share_prefix=self.share_prefix),
            "retry": asdict(self.retry),
            "evaluation": self.evaluation.to_json(),
            "checkpoint_seconds": self.checkpoint_seconds,
            "own_loop": self.own_loop,
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
            constraints=tuple(map(parse_constraint, stored.get("constraints", []))),
        )
        # Sweeps stored before there were several objectives have one metric.
        one = {"metric": stored["metric"], "goal": stored["goal"]}
        return cls(
            method=stored["method"],
            objectives=tuple(Objective(**objective) for objective in stored.get("objectives", [one])),
            space=space,
            search=Search.from_json(stored["search"]) if "search" in stored else Search(),
            early_terminate=EarlyTermination(**stored["early_terminate"]),
            growing=Growing.from_json(stored["growing"]) if stored.get("growing") else None,
            branch=stored.get("branch", 1),
            replicate=Replicate(**stored.get("replicate", {})),
            budget=Budget(**stored["budget"]),
            resources=resources_from_json(stored),
            after=stored.get("after"),
            share_prefix=stored.get("share_prefix", True),
            retry=RetryBudget(**stored["retry"]),
            evaluation=EvaluationSpec.from_json(stored["evaluation"]),
            checkpoint_seconds=stored["checkpoint_seconds"],
            own_loop=stored.get("own_loop", False),
        )


def read_sweep_file(path: Path) -> tuple[SweepSpec, str]:
    """The sweep in a file, and the file's text as written; SpecError for anything that is not right in it."""
    content, text = read_yaml(path)
    return read_sweep(Section(content, str(path)), path.parent), text


def read_sweep(file: Section, folder: Path) -> SweepSpec:
    """A sweep from a mapping; `folder` is where relative paths in it start."""
    file.only(KEYS)
    preset = read_preset(file)
    stages = read_stages(file, preset)
    objectives = read_objectives(file, METRICS)
    checkpoint = file.section("checkpoint")
    checkpoint.only(("seconds",))
    retry = file.section("retry")
    retry.only(("infrastructure", "code"))
    method = read_method(file, objectives)
    parameters = read_parameters(file, stages)
    constraints = read_constraints(file, parameters)
    return SweepSpec(
        name=read_name(file),
        dataset=read_dataset(file),
        seed=file.whole("seed", default=0, low=0, high=2**32 - 1),
        preset=preset,
        method=method,
        objectives=objectives,
        stages=stages,
        parameters=parameters,
        constraints=constraints,
        search=read_search(file, method, parameters, constraints),
        early_terminate=read_early_terminate(file, stages, objectives),
        growing=read_growing(file, stages, parameters, method),
        branch=read_branch(file, parameters, stages.resolutions[0], method),
        replicate=read_replicate(file, objectives),
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
