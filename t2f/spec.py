"""What is trained: the plan of stages, one stage's full recipe, and the key that names it. No torch in here.

A progressive GAN grows in stages. `TrainingSpec` is one whole training; `TrainingSpec.stages()` gives the recipe of
each stage, and `stage_keys()` their keys:

    key(stage) = H(key(parent), TRAINING_VERSION, data key, seed, this stage's training settings,
                   the architecture up to this resolution)

Nothing of later stages enters a key, so trainings that differ only later share their early stages.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from t2f.errors import SpecError
from t2f.settings import Settings, Value, has_effect, require_setting, scope_of

# Raised whenever the same recipe would give other numbers than before.
TRAINING_VERSION = 2

RESOLUTIONS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """How long each stage is trained, in images; the tuples have one entry a stage."""

    resolutions: tuple[int, ...]
    images: tuple[int, ...]  # real images shown to D
    fade: tuple[float, ...]  # share of the images over which the new layers fade in; stage one has no fade
    batch: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.resolutions)
        if self.resolutions != RESOLUTIONS[:count] or count == 0:
            allowed = ", ".join(map(str, RESOLUTIONS))
            raise SpecError(
                f"stages.resolutions = {list(self.resolutions)} is not allowed; stages start at 4 px and double, "
                f"so give the first few of {allowed}"
            )
        for name in ("images", "fade", "batch"):
            given = getattr(self, name)
            if len(given) != count:
                raise SpecError(
                    f"stages.{name} has {len(given)} values for {count} resolutions; give one for each of "
                    f"{', '.join(map(str, self.resolutions))} px"
                )
        for value in self.images:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**12:
                raise SpecError(f"stages.images = {value!r} is not allowed; it must be a whole number from 1 to 1e12")
        for value in self.fade:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise SpecError(f"stages.fade = {value!r} is not allowed; it must be a number from 0 to 1")
        for value in self.batch:
            if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= 4096:
                raise SpecError(
                    f"stages.batch = {value!r} is not allowed; it must be a whole number from 2 to 4096 "
                    "(a wrong caption is another image's, so there must be two)"
                )

    @property
    def final_resolution(self) -> int:
        return self.resolutions[-1]


MINILM = "minilm"  # the sentence encoder of an installed package; any other name is a folder


@dataclass(frozen=True, kw_only=True)
class SentenceSpec:
    """Which frozen sentence encoder reads the captions, where `text.encoder` is "sentence"."""

    where: str  # "minilm" (the installed package) or a folder; not part of any key
    sha256: str
    size: int  # of its embeddings


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """The whole recipe of one stage run, given its parent: enough to train it again, to the same bits."""

    resolution: int  # px
    images: int  # images to show at this stage
    fade_images: int  # over the first of them the new layers fade in
    batch: int
    seed: int
    data_key: str
    settings: Settings
    init_sha256: str | None = None  # weights of the model bundle that new layers start from; None: from the seed
    sentence: SentenceSpec | None = None  # None under any other text.encoder

    def __post_init__(self) -> None:
        micro_batch = self.settings.compute.micro_batch
        if micro_batch and self.batch % micro_batch != 0:
            raise SpecError(
                f"compute.micro_batch = {micro_batch} does not divide the batch of {self.batch} at "
                f"{self.resolution} px; give a divisor of every stage's batch, or 0"
            )

    @property
    def index(self) -> int:
        """0 at 4 px, 1 at 8 px, ..."""
        return RESOLUTIONS.index(self.resolution)

    @property
    def features(self) -> tuple[int, ...]:
        """Feature maps of each block, from 4 px up to this stage's resolution."""
        return tuple(self.settings.features(resolution) for resolution in RESOLUTIONS[: self.index + 1])

    def key_fields(self) -> dict[str, Any]:
        """What the key is made from, besides the parent's: only what can change the bits of this stage."""
        values = self.settings.flat()
        effective = {n: v for n, v in values.items() if has_effect(n, values)}
        architecture: dict[str, Any] = {n: v for n, v in effective.items() if scope_of(n) == "architecture"}
        # Only the features that are built count: widths of later resolutions must not split the tree.
        del architecture["network.feature_base"], architecture["network.feature_max"]
        architecture["features"] = list(self.features)
        training = {n: v for n, v in effective.items() if scope_of(n) == "training"}
        stage: dict[str, Any] = {"resolution": self.resolution, "images": self.images, "batch": self.batch}
        if self.index > 0:
            stage["fade_images"] = self.fade_images
        if self.init_sha256 is not None:
            stage["init"] = self.init_sha256
        if self.sentence is not None:
            stage["sentence"] = self.sentence.sha256
        return {
            "version": TRAINING_VERSION,
            "data": self.data_key,
            "seed": self.seed,
            "stage": stage,
            "training": training,
            "architecture": architecture,
        }

    def key(self, parent_key: str | None) -> str:
        """The name of this recipe on top of that parent: 64 hex digits."""
        return digest({"parent": parent_key, **self.key_fields()})

    def to_json(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution,
            "images": self.images,
            "fade_images": self.fade_images,
            "batch": self.batch,
            "seed": self.seed,
            "data_key": self.data_key,
            "settings": self.settings.flat(),
            "init_sha256": self.init_sha256,
            "sentence": None if self.sentence is None else asdict(self.sentence),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "StageSpec":
        sentence = None if stored["sentence"] is None else SentenceSpec(**stored["sentence"])
        return cls(**{**stored, "settings": Settings().with_values(stored["settings"]), "sentence": sentence})


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """One whole training: the settings, and those that change at later stages.

    late: {16: {"generator.learning_rate": 2e-3}} holds from 16 px on; before it `settings` holds.
    """

    data_key: str
    seed: int
    plan: StagePlan
    settings: Settings = field(default_factory=Settings)
    late: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)
    init_sha256: str | None = None
    sentence: SentenceSpec | None = None

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise SpecError(f"seed = {self.seed!r} is not allowed; it must be a whole number from 0 to 4294967295")
        for resolution, values in self.late.items():
            if resolution not in self.plan.resolutions:
                raise SpecError(
                    f"from_stage: {resolution} is no stage of this plan; its stages are "
                    f"{', '.join(map(str, self.plan.resolutions))}"
                )
            for name in values:
                if scope_of(require_setting(name)) == "architecture" and resolution != self.plan.resolutions[0]:
                    raise SpecError(
                        f"{name} decides the shape of the weights, so it cannot change at {resolution} px; "
                        "remove from_stage"
                    )

    def stages(self) -> tuple[StageSpec, ...]:
        """The recipe of each stage, from 4 px up."""
        result, settings = [], self.settings
        plan = self.plan
        for resolution, images, fade, batch in zip(plan.resolutions, plan.images, plan.fade, plan.batch, strict=True):
            settings = settings.with_values(self.late.get(resolution, {}))
            result.append(
                StageSpec(
                    resolution=resolution,
                    images=images,
                    fade_images=round(images * fade),
                    batch=batch,
                    seed=self.seed,
                    data_key=self.data_key,
                    settings=settings,
                    init_sha256=self.init_sha256,
                    sentence=self.sentence if settings.text.encoder == "sentence" else None,
                )
            )
        return tuple(result)


def stage_keys(stages: Iterable[StageSpec], root: str | None = None) -> tuple[str, ...]:
    """The key of every stage, each chained to the one before; the first one's parent is `root`.

    root: None where stage runs are shared with everybody; a name of one's own where they are not. It enters the keys
    only, never the bits.
    """
    keys: list[str] = []
    for stage in stages:
        keys.append(stage.key(keys[-1] if keys else root))
    return tuple(keys)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """The one text of a JSON value that digests are made of."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form, as 64 hex digits.

    Numbers are written as Python's repr, which gives equal floats equal text on every machine.
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()
