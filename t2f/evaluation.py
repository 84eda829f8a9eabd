"""Measuring and drawing one sealed stage: the metrics, the score, and the wall of samples.

    score    = sqrt(fidelity * text)
    fidelity = mean over {image distance, colour distance} of clip(log(ceiling / d) / log(ceiling / floor), 0, 1)
               floor: reals against reals; ceiling: an untrained generator
    text     = clip(shuffle gap / shuffle gap of real held-out pairs, 0, 1)

Data without captions has no text part: its score is the fidelity, and its wall shows faces of noise alone.

Nothing here touches a training's random numbers. N images, M captions, T tokens, R resolution in px
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from t2f.batches import wrong_captions
from t2f.checkpoint import write_durably
from t2f.data import PreparedData, Split
from t2f.errors import DataError
from t2f.judge import Judge, judge_path
from t2f.layers import stream_seed
from t2f.metrics import DIRECTIONS, colour_distance, image_distance
from t2f.networks import FaceModel
from t2f.probe import METRIC_VERSION, EvaluationSpec
from t2f.reading import Reader, WordReader
from t2f.settings import PRESETS, Settings
from t2f.spec import RESOLUTIONS, StageSpec
from t2f.text import Captions

JACKKNIFE_BLOCKS = 5
JACKKNIFE_DIRECTIONS = 64  # the spread between blocks needs fewer than the value itself
BOOTSTRAP = 1000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its 95 % interval; low and high are None where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    metrics: dict[str, Figure]
    wall: np.ndarray  # uint8 [captions * seeds, 3, R, R], row by row

    @property
    def score(self) -> float:
        return self.metrics["score"].value

    def metrics_json(self) -> dict[str, dict[str, float | None]]:
        return {name: {"value": f.value, "low": f.low, "high": f.high} for name, f in self.metrics.items()}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the figures of one resolution are compared with; made once for a data set and kept beside its judge."""

    resolution: int
    num_images: int
    floor: Mapping[str, float]  # real against real: "swd", "colour_distance"
    ceiling: Mapping[str, float]  # an untrained generator against real
    shuffle_gap: Figure | None  # of real held-out pairs; None where there are no captions


# Pairs of the reference split


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """N held-out images, one caption of each, and a wrong caption for each; no captions where the data has none."""

    image_N: np.ndarray
    caption_N: np.ndarray  # [N], or empty
    wrong_N: np.ndarray


def reference_pairs(split: Split, num_images: int) -> Pairs:
    """The same pairs for everybody; images of a split smaller than asked for come again with other captions.

    Where some images have captions, the others are not looked at: they may come from elsewhere and look different.
    """
    random = np.random.default_rng([num_images, METRIC_VERSION])
    images = split.captioned_N if len(split.captioned_N) else split.uncaptioned_N
    whole, rest = divmod(num_images, len(images))
    image_N = np.concatenate([*[images] * whole, images[random.permutation(len(images))[:rest]]])
    if len(split.captioned_N) == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Pairs(image_N=image_N, caption_N=nothing, wrong_N=nothing)
    offsets = split.caption_offsets
    counts = offsets[image_N + 1] - offsets[image_N]
    caption_N = offsets[image_N] + (random.random(num_images) * counts).astype(np.int64)
    return Pairs(image_N=image_N, caption_N=caption_N, wrong_N=wrong_captions(caption_N, split, random))


def caption_tokens(split: Split, captions: np.ndarray) -> tuple[Tensor, Tensor]:
    """tokens_NT (int64) and lengths_N of these captions."""
    tokens_NT = torch.from_numpy(split.tokens_MT[captions].astype(np.int64))
    return tokens_NT, torch.from_numpy(split.token_lengths_M[captions])


def right_captions(split: Split, pairs: Pairs, reader: Reader) -> Captions:
    """The captions to draw the pairs' images from; none at all where there are no captions."""
    if len(pairs.caption_N) == 0:
        return reader.of_sentences([""] * len(pairs.image_N))
    return reader.of_split(split, pairs.caption_N)


# Drawing


@torch.no_grad()
def draw(model: FaceModel, captions: Captions, noise_NZ: Tensor) -> Tensor:
    """uint8 images_N3RR, in batches that fit anywhere; a model without words does not look at the captions."""
    device = next(model.parameters()).device
    pictures = []
    for rows in torch.arange(len(noise_NZ)).split(64):
        text_BE = model.embed(captions.rows(rows).to(device))
        pictures.append(model.draw(text_BE, noise_NZ[rows].to(device)).cpu())
    return torch.cat(pictures)


def noise(model: FaceModel, name: str, count: int) -> Tensor:
    """noise_NZ that depends on nothing but its name and size."""
    random = torch.Generator().manual_seed(stream_seed(0, name))
    return torch.randn(count, model.conditioning_size + model.noise_size, generator=random)


def draw_wall(model: FaceModel, reader: Reader, captions: Sequence[str], seeds: int) -> Tensor:
    """The probe: every caption with every seed's noise, row by row; the same noise under all captions."""
    noise_SZ = torch.cat([noise(model, f"seed {seed}", 1) for seed in range(seeds)])
    rows = torch.arange(len(captions)).repeat_interleave(seeds)
    return draw(model, reader.of_sentences(captions).rows(rows), noise_SZ.repeat(len(captions), 1))


# Measuring


def evaluate(
    model: FaceModel,
    *,
    resolution: int,
    data: PreparedData,
    judge: Judge | None,
    reader: Reader,
    reference: Reference,
    spec: EvaluationSpec,
) -> Evaluation:
    """All figures of one stage's EMA model (alpha 1, truncation 1) on the frozen reference, and its samples.

    reader: of the model's encoder. judge: None for data without captions, as `load_judge` gives it.
    """
    split = data.split(spec.split)
    pairs = reference_pairs(split, spec.num_images)
    fakes = draw(model, right_captions(split, pairs, reader), noise(model, "evaluation", spec.num_images))
    reals = torch.from_numpy(split.images(resolution)[pairs.image_N])
    metrics = fidelity_figures(reals, fakes, reference)
    if judge is not None:
        metrics |= text_figures(shuffle_gaps(judge, fakes, split, pairs), reference)
    metrics["score"] = score_figure(metrics)
    if judge is not None and data.attribute_values:
        metrics |= attribute_figures(judge, fakes, split, pairs, tuple(data.attribute_values))
    wall = draw_wall(model, reader, spec.captions, spec.seeds)
    return Evaluation(metrics=metrics, wall=wall.numpy())


def structural_name(resolution: int) -> str:
    """SWD is defined from 16 px on; below, pixels are compared."""
    return "swd" if resolution >= 16 else "pixel_distance"


def distances(reals: Tensor, fakes: Tensor, *, directions: int = DIRECTIONS) -> dict[str, float]:
    return {
        structural_name(reals.shape[-1]): image_distance(reals, fakes, directions=directions),
        "colour_distance": colour_distance(reals, fakes),
    }


def fidelity(found: Mapping[str, float], reference: Reference) -> float:
    """Where the distances lie between ceiling (0) and floor (1), on a log scale, averaged."""
    parts = []
    for name, distance in found.items():
        # Equal sets have distance 0, of which there is no logarithm.
        floor = max(reference.floor[name], 1e-9)
        ceiling = max(reference.ceiling[name], floor * 1.001)
        parts.append(min(1.0, max(0.0, math.log(ceiling / max(distance, 1e-9)) / math.log(ceiling / floor))))
    return sum(parts) / len(parts)


def fidelity_figures(reals: Tensor, fakes: Tensor, reference: Reference) -> dict[str, Figure]:
    """The distances, and fidelity with an interval from a jackknife over blocks of images."""
    found = distances(reals, fakes)
    value = fidelity(found, reference)
    block_of = torch.arange(len(reals)) % JACKKNIFE_BLOCKS
    without = [
        fidelity(
            distances(reals[block_of != block], fakes[block_of != block], directions=JACKKNIFE_DIRECTIONS), reference
        )
        for block in range(JACKKNIFE_BLOCKS)
    ]
    mean = sum(without) / JACKKNIFE_BLOCKS
    # The delete-one-block jackknife's standard error.
    spread = (JACKKNIFE_BLOCKS - 1) / JACKKNIFE_BLOCKS * sum((part - mean) ** 2 for part in without)
    half = 1.96 * math.sqrt(spread)
    interval = Figure(value=value, low=max(0.0, value - half), high=min(1.0, value + half))
    return {name: Figure(value=distance) for name, distance in found.items()} | {"fidelity": interval}


def shuffle_gaps(judge: Judge, images: Tensor, split: Split, pairs: Pairs) -> np.ndarray:
    """How much better each image fits its own caption than a wrong one: float gap_N, about 0 where text is ignored."""
    right = judge.matches(images, *caption_tokens(split, pairs.caption_N))
    wrong = judge.matches(images, *caption_tokens(split, pairs.wrong_N))
    return (right - wrong).double().numpy()


def bootstrap_mean(values_N: np.ndarray) -> Figure:
    """The mean with its 95 % bootstrap interval over images."""
    random = np.random.default_rng([len(values_N), METRIC_VERSION])
    means = [values_N[random.integers(0, len(values_N), len(values_N))].mean() for _ in range(BOOTSTRAP)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(value=float(values_N.mean()), low=float(low), high=float(high))


def text_figures(gap_N: np.ndarray, reference: Reference) -> dict[str, Figure]:
    """The shuffle gap, and its share of the reals' gap; no text part where the reals' own gap may be 0."""
    gap, real = bootstrap_mean(gap_N), reference.shuffle_gap
    figures = {"shuffle_gap": gap}
    if real is not None and real.low is not None and real.low > 0:
        share = [min(1.0, max(0.0, part / real.value)) for part in (gap.value, gap.low, gap.high)]
        figures["text"] = Figure(value=share[0], low=share[1], high=share[2])
    return figures


def score_figure(metrics: Mapping[str, Figure]) -> Figure:
    """sqrt(fidelity * text), or fidelity where text is not measurable; the parts' intervals count as independent."""
    fidelity_part, text_part = metrics["fidelity"], metrics.get("text")
    if text_part is None:
        return fidelity_part
    value = math.sqrt(fidelity_part.value * text_part.value)
    if value == 0:
        return Figure(value=0.0, low=0.0, high=math.sqrt(fidelity_part.high * text_part.high))
    # d log score = (d log fidelity + d log text) / 2
    relative = [(part.high - part.low) / 2 / max(part.value, 1e-9) for part in (fidelity_part, text_part)]
    half = value * math.hypot(*relative) / 2
    return Figure(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def attribute_figures(
    judge: Judge, fakes: Tensor, split: Split, pairs: Pairs, names: Sequence[str]
) -> dict[str, Figure]:
    """The share of asked-for attributes that the judge finds in the faces: one figure each, and their mean."""
    found_NA = judge.attributes(fakes).numpy() == split.attributes_NA[pairs.image_N]
    figures = {f"attribute_{name}": bootstrap_mean(found_NA[:, column]) for column, name in enumerate(names)}
    return figures | {"attribute_share": bootstrap_mean(found_NA.mean(axis=1))}


# References: floor, ceiling and the reals' own gap


def measure_reference(
    data: PreparedData, judge: Judge | None, *, resolution: int, num_images: int, split: str
) -> Reference:
    """Floor, ceiling and real shuffle gap of one resolution, for this many images of that split."""
    held_out, training = data.split(split), data.split("train")
    pairs = reference_pairs(held_out, num_images)
    reals = torch.from_numpy(held_out.images(resolution)[pairs.image_N])
    others = reference_pairs(training, num_images)
    floor = distances(reals, torch.from_numpy(training.images(resolution)[others.image_N]))
    stage = StageSpec(
        resolution=resolution,
        images=1,
        fade_images=0,
        batch=2,
        seed=0,
        data_key=data.key,
        settings=Settings().with_values(PRESETS["small"]),
    )
    # One untrained generator for all, so that trials of different widths are measured by the same ruler.
    untrained = FaceModel(stage, len(data.vocabulary)).eval()
    reader = WordReader(vocabulary=data.vocabulary, max_tokens=data.max_tokens)
    fakes = draw(untrained, right_captions(held_out, pairs, reader), noise(untrained, "ceiling", num_images))
    gap = None if judge is None else bootstrap_mean(shuffle_gaps(judge, reals, held_out, pairs))
    return Reference(
        resolution=resolution,
        num_images=num_images,
        floor=floor,
        ceiling=distances(reals, fakes),
        shuffle_gap=gap,
    )


def reference_for(
    data: PreparedData, judge: Judge | None, judge_sha256: str, *, resolution: int, spec: EvaluationSpec
) -> Reference:
    """The reference of a resolution, measured at its first use and remembered beside the judge."""
    if resolution not in RESOLUTIONS:
        raise DataError(f"{resolution} px is no stage's resolution")
    name = f"reference-{spec.split}-{spec.num_images}-{resolution}-v{METRIC_VERSION}-{judge_sha256[:16]}.json"
    path = judge_path(data).with_name(name)
    try:
        stored = json.loads(path.read_text())
        gap = stored["shuffle_gap"]
        return Reference(**{**stored, "shuffle_gap": None if gap is None else Figure(**gap)})
    except (OSError, ValueError, TypeError, KeyError):
        # Not there yet, or unreadable: it is only a memory of what can be measured again.
        found = measure_reference(data, judge, resolution=resolution, num_images=spec.num_images, split=spec.split)
    content = asdict(found)
    write_durably(path, json.dumps(content, indent=1, sort_keys=True).encode())
    return found
