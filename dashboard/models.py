"""The facts the pages show and the JSON API answers with: one set of models for both.

Times are seconds since 1970; durations are seconds; sizes of pictures are px.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_ID = 2**31 - 1  # of any row: what every database takes
MAX_SENTENCE = 500  # characters
MAX_FACES = 16


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Measured(Facts):
    """A number with its interval, where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str | None = Field(default=None, description="what a reader must know beside the number")


class Sample(Facts):
    """A picture of many faces: a row for each caption, a column for each seed."""

    evaluation_id: int
    url: str
    thumbnail_url: str
    captions: list[str]
    seeds: int
    tile: int = Field(description="px on a side of each face")


class StageRun(Facts):
    id: int
    key: str
    parent_id: int | None
    resolution: int
    state: str
    attempt: int = Field(description="number of the newest attempt, 0 before any")
    images: int = Field(description="real images seen in this stage")
    images_planned: int
    images_per_second: float | None
    seconds: float = Field(description="device seconds over all attempts")
    error: str | None
    trials: list[int] = Field(description="numbers of this sweep's trials whose path it is on")
    evaluation_state: str | None
    score: Measured | None
    parts: list[Measured] = Field(description="what the score is made from, and what else was measured")
    judge: Measured | None = Field(description="the judge's own R-precision on real held-out pairs")
    closed_gates: list[str] = Field(description="what keeps it from winning: text, copies or collapse")
    sample: Sample | None


class Trial(Facts):
    sweep: str
    number: int
    name: str
    state: str
    origin: str
    rank: int | None
    is_best: bool
    front: int | None = Field(
        default=None, description="number of its Pareto front, where there are several objectives"
    )
    objectives: dict[str, float | None] = Field(default={}, description="values of the sweep's metrics")
    parameters: dict[str, bool | int | float | str]
    score: Measured | None
    scored_at: int | None = Field(description="resolution of the stage that the score was measured at")
    parts: list[Measured]
    judge: Measured | None = Field(description="the judge's own R-precision on real held-out pairs")
    closed_gates: list[str] = Field(description="what keeps it from winning: text, copies or collapse")
    fresh: Measured | None = Field(description="of a finalist: the mean of its fresh seeds, which it is ranked by")
    note: str = Field(description="what else a reader must know of it: random control, grown, branch, fresh seed")
    stage_runs: list[int] = Field(description="ids, from 4 px up")
    reason: str | None = Field(description="why it was stopped")
    created: float
    ended: float | None


class Attempt(Facts):
    number: int
    worker: str | None
    outcome: str | None
    claimed: float
    started: float | None
    ended: float | None
    start_images: int | None = Field(description="images seen in the checkpoint it went on from")
    numerics_class: str | None
    error: str | None


class TrialStage(StageRun):
    """A stage run with everything known of it."""

    attempts: list[Attempt]
    curves: dict[str, list[tuple[int, float]]] = Field(description="name to [images, value]")


class TrialDetail(Trial):
    stages: list[TrialStage]
    settings: dict[str, bool | int | float | str] = Field(description="every setting of the newest stage run")
    varying: list[str]
    resolutions: list[int]


class SweepSummary(Facts):
    name: str
    state: str
    error: str | None
    waits: str | None = Field(description="why it waits although it runs")
    own_loop: bool = Field(description="trained by whoever asks for its trials, so it has no stage runs")
    labels: dict[str, str] = Field(description="that a worker must have to train for it")
    trials: int
    trials_by_state: dict[str, int]
    stage_runs_done: int
    stage_runs_total: int
    metric: str = Field(description="by which its trials are ranked, or the first of several")
    best_value: float | None = Field(description="of that metric, so far")
    best_trial: str | None
    created: float
    ended: float | None


class SweepList(Facts):
    sweeps: list[SweepSummary]
    total: int
    limit: int
    offset: int


class Sharing(Facts):
    """What sharing stage runs saves against training each trial alone."""

    wanted: int = Field(description="stages on the paths of all trials")
    stage_runs: int = Field(description="stage runs that they come down to")
    of_others: int = Field(description="of these, stage runs that another sweep bears the cost of")
    seconds_trained: float = Field(description="device seconds of the others")
    seconds_saved: float = Field(description="device seconds that its trials would have spent besides without sharing")

    @property
    def saved(self) -> int:
        return self.wanted - self.stage_runs + self.of_others


class Sweep(SweepSummary):
    data: str
    resolutions: list[int]
    varying: list[str] = Field(description="names of the parameters that differ between trials")
    objectives: list[str] = Field(
        description="the metrics that decide; of several the rank is the Pareto front's number"
    )
    sharing: Sharing
    unused_rungs: dict[int, str] = Field(description="px to why a rung that foretells nothing is not used any more")
    ranking: list[Trial] = Field(description="best first, then those not yet measured")
    stage_runs: list[StageRun]
    limit: int
    offset: int


class Worker(Facts):
    name: str
    node: str
    pid: int
    device: str
    share: float
    labels: dict[str, str] = Field(description="of its Ray node")
    state: str
    doing: str | None
    doing_url: str | None
    images_per_second: float | None
    memory_bytes: int | None
    heartbeat_age_seconds: float
    started: float
    ended: float | None


class WorkerList(Facts):
    workers: list[Worker]


class Model(Facts):
    id: int
    name: str
    version: int
    aliases: list[str]
    trial: str
    resolution: int


class ModelStage(Facts):
    """A stage run on the way to a model."""

    resolution: int
    key: str
    images: int = Field(description="real images seen in this stage")
    seconds: float = Field(description="device seconds over all attempts")
    weights_sha256: str | None
    numerics: list[str] = Field(description="numerics classes of its attempts")
    trained_for: str | None = Field(description="the sweep that bore the cost")


class AliasMove(Facts):
    alias: str
    version: int
    act: str = Field(description="promoted, or rolled back")
    by: str
    at: float


class ModelLineage(Facts):
    """Where a version comes from: stage runs, trial, sweep, data, judge and code."""

    tags: list[str]
    stages: list[ModelStage] = Field(description="from 4 px up")
    sweep: str
    submitted_by: str
    submitted_at: float
    data: str
    data_key: str
    judge_sha256: str
    commit: str | None
    dirty: bool | None = Field(description="whether the code was changed since that commit")
    numerics: list[str] = Field(description="more than one: mixed numerics")
    alias_history: list[AliasMove] = Field(description="of all versions of the model, the oldest first")


class ModelList(Facts):
    models: list[Model]


class ModelWithCard(Facts):
    model: Model
    card: dict[str, Any] = Field(description="model, lineage, data, cleaning, scores, scored_on, not_for")
    lineage: ModelLineage
    versions: list[Model] = Field(description="of the same model, the newest first")


class Act(BaseModel):
    """What an act is given; a word that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class DryRunAct(Act):
    dry_run: bool = Field(default=False, description="say what would be done; write nothing")


class EditAct(DryRunAct):
    set: dict[str, Any] = Field(description="word of a sweep file, such as budget.max_trials, to its new value")


class EnqueueAct(Act):
    parameters: dict[str, Any] = Field(description="setting to value; what is left out is drawn")


class CloneAct(DryRunAct):
    set: dict[str, Any] = Field(default={}, description="setting to value, where it differs")
    seed: int | None = Field(default=None, description="another seed: nothing is shared then")


class ForkAct(DryRunAct):
    at: int = Field(description="px of the sealed stage that it stands on")
    set: dict[str, Any] = Field(default={}, description="setting to value, from the next stage on")


class ExtendAct(DryRunAct):
    images: int | None = Field(default=None, description="of the last stage in all, more than it had")
    to: int | None = Field(default=None, description="px of a new last stage")
    images_beyond: list[int] = Field(default=[], description="images of each further stage, or one number for all")


class ImportAct(Act):
    text: str = Field(description="a W&B sweep configuration (YAML)")
    dataset: str = Field(default="faces", description="the prepared data set that the sweep file is to name")


class SweepActed(Facts):
    sweep: str
    state: str


class TrialActed(Facts):
    trial: str
    state: str


class Edited(Facts):
    sweep: str
    dry_run: bool
    changes: dict[str, tuple[Any, Any]] = Field(description="word to its value before and after")
    new_trials: int
    goes_on: bool = Field(description="an ended sweep is open again")


class Deleted(Facts):
    sweep: str
    dry_run: bool
    trials: int
    stage_runs: int
    shared_stage_runs: int = Field(description="these stay, since other sweeps want them")
    models: int
    files: int
    bytes: int


class BranchMade(Facts):
    trial: str | None = Field(description="its name; null for a dry run")
    of: str
    dry_run: bool
    trained: dict[int, bool] = Field(description="px to whether that stage is trained already, and so costs nothing")


class Imported(Facts):
    text: str = Field(description="the sweep file, its notes as comments")
    notes: list[str] = Field(description="what had no counterpart, or is to be mended")


class GenerateRequest(BaseModel):
    """What to draw: the same request with the same model gives the same picture."""

    model_config = ConfigDict(extra="forbid")

    sentence: Annotated[str, Field(min_length=1, max_length=MAX_SENTENCE)]
    faces: Annotated[int, Field(ge=1, le=MAX_FACES)] = 4
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    model: Annotated[
        int | None, Field(ge=1, le=MAX_ID, description="a model's id; the newest best one if left out")
    ] = None


class Generated(Facts):
    id: str
    sentence: str
    faces: int
    seed: int
    model: Model
    picture: str = Field(description="address of the PNG: the faces in one row")
    tile: int = Field(description="px on a side of each face")
    unknown_words: dict[str, str | None] = Field(description="words the model never read, with the nearest it knows")


class Health(Facts):
    status: str


class ErrorAnswer(BaseModel):
    error: str
