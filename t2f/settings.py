"""Every hyperparameter of a training: its name, default, unit, range and source. No torch in here.

A setting's full name is its group and its field, as in `generator.learning_rate`; that name is used in sweep files, on
the command line, in the database and on the pages. A setting is either of the *architecture* (it decides the shape of
the weights, so one value holds for all stages) or of the *training* (it may change from one stage to the next).
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from t2f.errors import SpecError

Value = bool | int | float | str
Scope = Literal["architecture", "training"]


def setting(
    default: Value,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    scope: Scope = "training",
    when: Mapping[str, tuple[Value, ...]] | None = None,
    source: str = "",
) -> Any:
    """A dataclass field that carries what a reader, a checker and the documentation need to know of it.

    when: other settings (full names) and the values under which this one has an effect; elsewhere it is left out of
    the stage run's key, since it cannot change the bits.
    """
    metadata = {
        "text": text,
        "low": low,
        "high": high,
        "choices": choices,
        "scope": scope,
        "when": dict(when or {}),
        "source": source,
    }
    return field(default=default, metadata=metadata)


READS_CAPTIONS = {"text.encoder": ("lstm", "sentence")}
LSTM = {"text.encoder": ("lstm",)}
WASSERSTEIN = {"loss.name": ("wgan-gp",)}
ZERO_CENTRED = {"loss.name": ("logistic-r1", "relativistic", "hinge")}
RELATIVISTIC = {"loss.name": ("relativistic",)}
AUGMENTED = {"augment.method": ("diffaugment", "ada")}
ADAPTIVE = {"augment.method": ("ada",)}


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    encoder: str = setting(
        "lstm",
        "what reads a caption: an LSTM that is trained with G, a frozen sentence encoder whose embeddings the data was "
        "prepared with, or nothing (faces without words)",
        choices=("lstm", "sentence", "none"),
        scope="architecture",
        source="T2F: LSTM",
    )
    word_embedding: int = setting(
        128, "size of a word's vector", low=1, high=4096, scope="architecture", when=LSTM, source="T2F: 128"
    )
    hidden: int = setting(256, "LSTM units", low=1, high=4096, scope="architecture", when=LSTM, source="T2F: 256")
    layers: int = setting(3, "LSTM layers", low=1, high=8, scope="architecture", when=LSTM, source="T2F: 3")
    embedding: int = setting(
        128,
        "size of the caption's trained embedding psi_t",
        low=1,
        high=4096,
        scope="architecture",
        when=READS_CAPTIONS,
        source="T2F: 128-256",
    )
    word_bag: int = setting(
        0,
        "further dimensions of psi_t, which no training changes: the sum of fixed random vectors of the caption's "
        "words, rare ones weighing more, scaled to unit length per dimension",
        low=0,
        high=4096,
        scope="architecture",
        when=LSTM,
        source="docs/lab-log.md; weights: inverse document frequency",
    )
    pooling: str = setting(
        "last",
        "what of the LSTM makes psi_t: its last state, or the mean or the largest of all its outputs, unit by unit",
        choices=("last", "mean", "max"),
        scope="architecture",
        when=LSTM,
        source="T2F: last",
    )
    normalise: str = setting(
        "off",
        "psi_t scaled to unit length per dimension",
        choices=("off", "on"),
        scope="architecture",
        when=READS_CAPTIONS,
        source="T2F: off",
    )
    trained_by: str = setting(
        "generator",
        "whose loss trains the text encoder",
        choices=("generator", "both"),
        when=READS_CAPTIONS,
        source="T2F: the generator's",
    )
    caption_dropout: float = setting(
        0.0,
        "share of captions that are taken away, so that the model also learns faces without words",
        low=0.0,
        high=1.0,
        when=READS_CAPTIONS,
        source="arXiv:2207.12598 section 3.2: .1-.2",
    )

    @property
    def size(self) -> int:
        """Dimensions of psi_t, trained and fixed ones."""
        return self.embedding + (self.word_bag if self.encoder == "lstm" else 0)


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    latent: int = setting(
        512,
        "size of the generator's input: conditioning || Gaussian noise",
        low=2,
        high=4096,
        scope="architecture",
        source="T2F: 256-512",
    )
    conditioning: int = setting(
        178,
        "size of the augmented conditioning inside the latent",
        low=1,
        high=4095,
        scope="architecture",
        when=READS_CAPTIONS,
        source="T2F: 178",
    )
    feature_base: int = setting(
        16384,
        "feature maps at R px are feature_base / R, at most feature_max",
        low=4,
        high=1 << 20,
        scope="architecture",
        source="ProGAN table 2: 512 up to 32 px, 256 at 64, 128 at 128",
    )
    feature_max: int = setting(
        512, "most feature maps in any layer", low=1, high=4096, scope="architecture", source="ProGAN appendix A"
    )
    new_blocks: str = setting(
        "random",
        "what a new stage's blocks start as: random, or nearly the identity, with the RGB layer of the stage before "
        "(where the number of feature maps stays the same)",
        choices=("random", "identity"),
        source="ProGAN: random; identity: docs/lab-log.md",
    )
    stddev_group: int = setting(
        4, "images a minibatch-stddev group", low=1, high=1024, source="ProGAN section 3; its code: 4"
    )


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    learning_rate: float = setting(
        1e-3, "Adam's step for G, text encoder and conditioning", low=1e-8, high=1.0, source="T2F: 1e-3"
    )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings:
    learning_rate: float = setting(1e-3, "Adam's step for D", low=1e-8, high=1.0, source="T2F: 1e-3")
    steps: int = setting(1, "D steps for one G step (n_critic)", low=1, high=100, source="T2F: 1")
    conditioning: str = setting(
        "concat",
        "how D joins psi_t to what it sees at 4 px: as further feature maps, or as the projection psi_t * features",
        choices=("concat", "projection"),
        scope="architecture",
        when=READS_CAPTIONS,
        source="T2F: concat; projection: arXiv:1802.05637 eq. 5",
    )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    beta1: float = setting(0.0, "Adam's decay of the mean", low=0.0, high=0.999, source="ProGAN section A.1")
    beta2: float = setting(0.99, "Adam's decay of the square", low=0.0, high=0.99999, source="ProGAN section A.1")
    epsilon: float = setting(1e-8, "Adam's epsilon", low=0.0, high=1.0, source="ProGAN section A.1")
    at_stage_start: str = setting(
        "carry", "Adam's state of old layers at a new stage", choices=("carry", "reset"), source="T2F: carried"
    )


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    name: str = setting(
        "wgan-gp",
        "the adversarial loss: Wasserstein with gradient penalty, non-saturating logistic with R1, relativistic "
        "pairing with R1 and R2, or hinge with R1",
        choices=("wgan-gp", "logistic-r1", "relativistic", "hinge"),
        source="T2F: wgan-gp",
    )
    gradient_penalty: float = setting(
        10.0, "lambda of the gradient penalty", low=0.0, high=1e6, when=WASSERSTEIN, source="arXiv:1704.00028 eq. 3"
    )
    sided: str = setting(
        "two",
        "whether the penalty also pulls norms below 1 up to it",
        choices=("two", "one"),
        when=WASSERSTEIN,
        source="arXiv:1704.00028 section 4: two",
    )
    drift: float = setting(
        1e-3, "weight of D(real)^2", low=0.0, high=1e6, when=WASSERSTEIN, source="ProGAN section A.1"
    )
    r1_gamma: float = setting(
        0.1,
        "gamma of the R1 penalty, at real images",
        low=0.0,
        high=1e6,
        when=ZERO_CENTRED,
        source="arXiv:1801.04406 eq. 9",
    )
    r2_gamma: float = setting(
        0.1,
        "gamma of the R2 penalty, at generated images",
        low=0.0,
        high=1e6,
        when=RELATIVISTIC,
        source="arXiv:2501.05441 section 3.2",
    )
    penalty_interval: int = setting(
        1,
        "D steps from one penalty to the next; its weight is multiplied by as many, and D's Adam is rescaled to match",
        low=1,
        high=64,
        source="StyleGAN2 section 3.1 and appendix B",
    )
    mismatched_weight: float = setting(
        0.5,
        "weight of real images with wrong captions; fakes have the rest of 1",
        low=0.0,
        high=1.0,
        when=READS_CAPTIONS,
        source="arXiv:1605.05396 alg. 1",
    )
    kl_weight: float = setting(
        1.0,
        "weight of the conditioning's KL divergence in G's loss",
        low=0.0,
        high=1e6,
        when=READS_CAPTIONS,
        source="StackGAN eq. 4",
    )


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    method: str = setting(
        "none",
        "what D sees of every image, real, mismatched or generated: the image, a random transform of it, or one whose "
        "strength adapts to D's overfitting",
        choices=("none", "diffaugment", "ada"),
        source="arXiv:2006.10738; arXiv:2006.06676",
    )
    strength: float = setting(
        1.0,
        "share of images that each transform changes; under ada: where it starts",
        low=0.0,
        high=1.0,
        when=AUGMENTED,
        source="DiffAugment: 1",
    )
    color: str = setting(
        "off",
        "brightness, saturation and contrast; conflicts with words for hair and skin",
        choices=("off", "on"),
        when=AUGMENTED,
        source="arXiv:2006.10738 section 4",
    )
    translation: str = setting(
        "on",
        "shifts by up to 1/8 of the side",
        choices=("off", "on"),
        when=AUGMENTED,
        source="arXiv:2006.10738 section 4",
    )
    cutout: str = setting(
        "on", "a square of half the side", choices=("off", "on"), when=AUGMENTED, source="arXiv:2006.10738 section 4"
    )
    target: float = setting(
        0.6,
        "the mean sign of D's scores of reals that the strength is steered to",
        low=-1.0,
        high=1.0,
        when=ADAPTIVE,
        source="arXiv:2006.06676 section 3.1",
    )
    images: int = setting(
        500_000,
        "images in which the strength could go from 0 to 1",
        low=1,
        high=10**9,
        when=ADAPTIVE,
        source="arXiv:2006.06676 section 3.1",
    )


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    mirror: str = setting(
        "off",
        "half of the real images mirrored, except under captions with the words left or right",
        choices=("off", "on"),
        source="ProGAN appendix A.2: on for CelebA-HQ",
    )
    uncaptioned_share: float = setting(
        0.5,
        "share of a batch taken from the images without captions, where the data has some; they teach faces, not words",
        low=0.0,
        high=1.0,
        when=READS_CAPTIONS,
    )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    precision: str = setting(
        "fp32",
        "of convolutions and matrix products; penalty norms, minibatch deviation and losses are fp32 under both",
        choices=("fp32", "bf16"),
    )
    micro_batch: int = setting(
        0,
        "images that are in memory at once, gradients being summed over the batch; a multiple of network.stddev_group; "
        "0: the whole batch",
        low=0,
        high=4096,
    )


@dataclass(frozen=True, kw_only=True)
class EmaSettings:
    half_life: float = setting(
        10_000.0,
        "images in which the generator's average forgets half",
        low=0.0,
        high=1e9,
        source="ProGAN section 4: .999 a step",
    )
    ramp_up: float = setting(
        0.0,
        "the half-life is at most this share of the stage's images so far, so that the first ones are soon forgotten; "
        "0: no ramp-up",
        low=0.0,
        high=1.0,
        source="StyleGAN2-ADA: .05",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one stage; groups are attributes, `flat()` gives the full names."""

    text: TextSettings = field(default_factory=TextSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    data: DataSettings = field(default_factory=DataSettings)
    ema: EmaSettings = field(default_factory=EmaSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)

    def __post_init__(self) -> None:
        if self.text.encoder != "none" and self.network.conditioning >= self.network.latent:
            raise SpecError(
                f"network.conditioning = {self.network.conditioning} leaves no room for noise in network.latent = "
                f"{self.network.latent}; the latent is conditioning || noise, so make network.latent larger"
            )
        if self.augment.method == "ada" and self.loss.name == "wgan-gp":
            raise SpecError(
                "augment.method = 'ada' is not allowed with loss.name = 'wgan-gp': it steers by the sign of D's "
                "scores, and a critic's zero means nothing; use diffaugment, or another loss"
            )
        micro_batch, group = self.compute.micro_batch, self.network.stddev_group
        if micro_batch % group != 0:
            raise SpecError(
                f"compute.micro_batch = {micro_batch} is not allowed with network.stddev_group = {group}; "
                "it must be 0 or a multiple of it, so that the groups stay those of the whole batch"
            )

    def flat(self) -> dict[str, Value]:
        """Every setting under its full name, in the order of declaration."""
        groups = {name: getattr(self, name).__dict__ for name in GROUPS}
        return {name: groups[group][key] for name, (group, key) in PLACES.items()}

    def features(self, resolution: int) -> int:
        """Feature maps of the block that works at this resolution (ProGAN appendix A, table 2)."""
        return max(1, min(self.network.feature_max, self.network.feature_base // resolution))

    def with_values(self, values: Mapping[str, Value]) -> "Settings":
        """A copy with these full names set; SpecError for an unknown name or a value that is not allowed."""
        groups: dict[str, dict[str, Value]] = {}
        for name, value in values.items():
            group, key = PLACES[require_setting(name)]
            groups.setdefault(group, {})[key] = checked_value(name, value)
        changed = {group: dataclasses.replace(getattr(self, group), **new) for group, new in groups.items()}
        return dataclasses.replace(self, **changed)


SETTINGS: dict[str, dataclasses.Field] = {
    f"{group.name}.{item.name}": item
    for group in dataclasses.fields(Settings)
    for item in dataclasses.fields(group.default_factory)  # type: ignore[arg-type]
}

# A setting's full name -> its group and its field there.
PLACES: dict[str, tuple[str, str]] = {name: tuple(name.split(".")) for name in SETTINGS}
GROUPS = tuple(item.name for item in dataclasses.fields(Settings))

PRESETS: dict[str, dict[str, Value]] = {
    # The article's and its code's values; every default above is one of them.
    "article": {},
    # A network and a training for faces of 32 to 64 px in minutes on a few CPU cores.
    "small": {
        "text.word_embedding": 64,
        # Hair colour, hair style and skin are right in .96 .46 .74 after 16,000 images at 4 px; with 64 in .82 .36 .65.
        "text.hidden": 128,
        "text.layers": 1,
        "text.embedding": 64,
        # What keeps the words that show only at 16 px and above: without it hair style, glasses and facial hair are
        # right in .71, .65 and .41 at 32 px, with 64 dimensions in .92, .78 and .52, with 160 in .98, .90 and .70.
        "text.word_bag": 160,
        "network.latent": 96,
        "network.conditioning": 48,
        "network.feature_base": 1024,
        "network.feature_max": 64,
        # Drawn anew, a block loses part of the words: .45 of the attributes right after 8,000 images at 8 px, not .50.
        "network.new_blocks": "identity",
        # The projection reads hair colour words in .93 of the captions after 16,000 images at 4 px, concat in .43.
        "discriminator.conditioning": "projection",
        # A whole-caption mean and D's own gradient teach the encoder colour words within 25,000 images; the article's
        # last state, trained by G alone, has read none by then (docs/lab-log.md).
        "text.pooling": "mean",
        "text.normalise": "on",
        "text.trained_by": "both",
        "generator.learning_rate": 4e-3,
        "discriminator.learning_rate": 4e-3,
        "loss.name": "logistic-r1",
        "loss.penalty_interval": 4,
        "loss.kl_weight": 1e-3,
        # Stages of a few thousand images: a longer memory would still hold the untrained layers.
        "ema.half_life": 1_500.0,
        "ema.ramp_up": 0.2,
    },
    # Hundreds to thousands of photographs, some or all of them described.
    "modern": {
        "text.embedding": 128,
        # As in `small`; measured there.
        "text.word_bag": 128,
        "text.layers": 1,
        "text.pooling": "mean",
        "text.normalise": "on",
        "text.trained_by": "both",
        "text.caption_dropout": 0.1,
        "network.latent": 256,
        "network.conditioning": 128,
        "network.feature_base": 4096,
        "network.feature_max": 128,
        "generator.learning_rate": 2e-3,
        "discriminator.learning_rate": 2e-3,
        # What reads words and keeps what a stage has learned on the demo data (docs/lab-log.md).
        "discriminator.conditioning": "projection",
        "network.new_blocks": "identity",
        "loss.name": "logistic-r1",
        "loss.r1_gamma": 1.0,
        "loss.penalty_interval": 4,
        "loss.kl_weight": 1e-3,
        # The best-supported lever at 200 to 5,000 images (DiffAugment on FFHQ, 1,000 images: FID 62 to 26).
        "augment.method": "diffaugment",
        "data.mirror": "on",
        "ema.half_life": 5_000.0,
        "ema.ramp_up": 0.2,
    },
}


# How long the stages of each preset are where a file does not say: one entry a resolution from 4 px up, the last one
# standing for all above. "epochs" or "images" as in a sweep file's `stages`.
PLANS: dict[str, dict[str, tuple[float, ...]]] = {
    # The article's epochs and fade: 85 % of a stage, longer for upper levels.
    "article": {"epochs": (160, 80, 40, 20, 10), "fade": (0.85, 0.85, 0.85, 0.9, 0.95), "batch": (16,)},
    # Words are cheapest to learn at 4 px; glasses need 16 px, the mouth 32. To 32 px about 10 CPU minutes in bf16 on a
    # processor that has it, 15 in fp32.
    "small": {"images": (40_000, 16_000, 24_000, 40_000, 40_000), "fade": (0.0, 0.3), "batch": (16,)},
    "modern": {"images": (60_000, 40_000, 40_000, 60_000, 100_000), "fade": (0.0, 0.5), "batch": (16,)},
}


def require_setting(name: str) -> str:
    """The name itself where it is a setting's full name; SpecError with the nearest one elsewhere."""
    if name in SETTINGS:
        return name
    near = difflib.get_close_matches(str(name), SETTINGS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"unknown setting {name!r}{hint} All settings: {', '.join(SETTINGS)}")


def scope_of(name: str) -> Scope:
    """Whether a setting decides the weights' shape or only how they are trained."""
    return SETTINGS[require_setting(name)].metadata["scope"]


def checked_value(name: str, value: object) -> Value:
    """The value in the setting's own type; SpecError with what is allowed where it does not fit."""
    declared = SETTINGS[require_setting(name)]
    kind, meta = declared.type, declared.metadata
    if kind is str:
        if not isinstance(value, str) or value not in meta["choices"]:
            near = difflib.get_close_matches(str(value), meta["choices"], n=1)
            wrong = _not_allowed(name, value)
            raise SpecError(f"{wrong}; did you mean {near[0]!r}?") if near else wrong
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _not_allowed(name, value)
    if kind is int and value != int(value):
        raise _not_allowed(name, value)
    if not (meta["low"] <= value <= meta["high"]):
        raise _not_allowed(name, value)
    return kind(value)


def _not_allowed(name: str, value: object) -> SpecError:
    return SpecError(f"{name} = {value!r} is not allowed; it must be {describe_allowed(name)}")


def describe_allowed(name: str) -> str:
    """What may be given for a setting, in words for an error or the documentation."""
    declared = SETTINGS[require_setting(name)]
    meta = declared.metadata
    if meta["choices"]:
        return "one of " + ", ".join(meta["choices"])
    kind = "a whole number" if declared.type is int else "a number"
    return f"{kind} from {meta['low']:g} to {meta['high']:g}"


def has_effect(name: str, values: Mapping[str, Value]) -> bool:
    """Whether a setting can change anything, given all the others (`loss.r1_gamma` cannot under wgan-gp)."""
    conditions: Mapping[str, tuple[Value, ...]] = SETTINGS[name].metadata["when"]
    return all(values[other] in allowed for other, allowed in conditions.items())
