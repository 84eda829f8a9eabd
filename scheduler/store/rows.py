"""What goes into the store and comes out of it: plain values, some of which travel to workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")

# Back-off after an infrastructure fault: at once the first time, then 1, 2, 4 ... seconds.
MAX_BACKOFF_SECONDS = 60.0
# The event of a person's retry: the attempts before it no longer count against any budget.
RETRIED = "stage_run.retried"
# The event of a sealed stage run whose state was collected and is wanted again; faults before it do not count either.
REBUILDING = "stage_run.rebuilding"
# A checkpoint's content: everything to go on from, or the averaged weights alone.
STATE, EMA = "state", "ema"


class StaleAttempt(RuntimeError):  # noqa: N818 - a name for what happened, not for an error of the caller
    """The attempt that wants to write is no longer the one that counts."""


class Orders(StrEnum):
    """What a beat brings back."""

    CONTINUE = "continue"
    PREEMPT = "preempt"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    parameters: Mapping[str, Any]
    origin: str
    # What else is known of it: "deviation" (space.Deviation) decides its stages, the rest is the sampler's to remember.
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fork:
    """Further trials that begin from one, once for each occasion."""

    trial_id: int
    at: str  # the occasion: px of the stage after which they begin, or what else `roles.Role.forked` names
    shared_until: int | None  # px up to which they are on the trial's stage runs; None: on none of them
    children: Sequence[NewTrial]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A trial wants the last of these stages; the ones before it are its parents, sealed already."""

    trial_id: int
    keys: tuple[str, ...]  # from 4 px up to the stage wanted
    spec: Mapping[str, Any] | str  # of that stage, as StageSpec.to_json(), or the text of it as a `JsonText`
    remaining: float = 0.0  # forecast seconds from its start to the trial's end


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    images: int
    uri: str
    sha256: str
    num_bytes: int


def init_uri(sha256: str) -> str:
    """Where a home's files keep the model bundle with these weights, for trainings that start from it."""
    return f"init/{sha256}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """A worker that has nothing to do."""

    worker_id: int
    claim_id: str  # of this claim: asked again with it, the same is answered
    warm_parent: int | None = None  # the stage run whose sealed state it still holds in memory


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a worker tells when it has begun."""

    stage_run_id: int
    attempt: int
    numerics_class: str
    start_images: int  # where it went on from


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What a worker tells at a stage's end."""

    stage_run_id: int
    attempt: int
    images: int
    uri: str
    sha256: str
    num_bytes: int
    weights_sha256: str
    seconds: float  # device seconds of this attempt


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All that a worker needs to know of what it claimed; plain values, so that it travels."""

    kind: str  # train or evaluate
    stage_run_id: int
    evaluation_id: int | None
    key: str
    attempt: int
    claim_id: str
    worker_id: int
    spec: Mapping[str, Any]  # the stage's; {"evaluation": ..., "stage": ...} to evaluate
    resolution: int
    stage: int
    parent: CheckpointRow | None  # the parent's sealed state
    checkpoints: tuple[CheckpointRow, ...]  # own ones, newest first; to evaluate: the sealed one
    lease_seconds: float
    checkpoint_seconds: float  # between two checkpoints inside the stage
    data_name: str
    data_key: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Assignment":
        parent = CheckpointRow(**stored["parent"]) if stored["parent"] else None
        checkpoints = tuple(CheckpointRow(**row) for row in stored["checkpoints"])
        return cls(**{**stored, "parent": parent, "checkpoints": checkpoints})


@dataclass(frozen=True, kw_only=True)
class RetryBudget:
    """Faults after which a stage run is given up."""

    infrastructure: int = 10
    code: int = 1


def batches(rows: Sequence[T], size: int = 500) -> Iterator[tuple[T, ...]]:
    """The rows in their order, so many at a time: a statement takes a limited number of values."""
    for first in range(0, len(rows), size):
        yield tuple(rows[first : first + size])
