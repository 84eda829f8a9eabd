"""What figures are read beside: reals against reals, and an untrained generator; measured once and kept with the judge.

T training images, R resolution in px
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2f.checkpoint import write_durably
from t2f.data import PreparedData
from t2f.drawing import draw, noise
from t2f.errors import DataError
from t2f.judge import Judge, judge_path
from t2f.metrics.brought import NOTHING, Brought
from t2f.metrics.builtin import BUILTIN, STAGE_END
from t2f.metrics.comparison import Comparison, Metric, measure_all
from t2f.metrics.figures import Figure
from t2f.metrics.nearest import RESOLUTION
from t2f.networks import FaceModel
from t2f.pairs import reference_pairs, right_captions
from t2f.probe import METRIC_VERSION, EvaluationSpec
from t2f.reading import WordReader
from t2f.settings import PRESETS, Settings
from t2f.spec import RESOLUTIONS, StageSpec

JUDGED = 1000  # held-out pairs at most that a new judge is tried on


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Floor and ceiling of one metric's figures."""

    floor: Mapping[str, Figure]  # real against real
    ceiling: Mapping[str, Figure]  # an untrained generator against real

    def to_json(self) -> dict[str, Any]:
        return {
            kind: {name: figure.to_json() for name, figure in figures.items()}
            for kind, figures in (("floor", self.floor), ("ceiling", self.ceiling))
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Bounds":
        floor, ceiling = (
            {name: Figure(**figure) for name, figure in stored[kind].items()} for kind in ("floor", "ceiling")
        )
        return cls(floor=floor, ceiling=ceiling)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the figures of one resolution are compared with, by the names of figures."""

    resolution: int
    num_images: int
    floor: Mapping[str, Figure]  # real against real
    ceiling: Mapping[str, Figure]  # an untrained generator against real

    @property
    def judge(self) -> Figure | None:
        """The judge's R-precision on real held-out pairs: what it can do at most; None where it was not measurable."""
        return self.floor.get("r_precision")


def compare(
    fakes_N3RR: Tensor, data: PreparedData, judge: Judge | None, *, split: str, brought: Brought = NOTHING
) -> Comparison:
    """The faces beside the reference images whose captions they were drawn from."""
    held_out, resolution = data.split(split), fakes_N3RR.shape[-1]
    pairs = reference_pairs(held_out, len(fakes_N3RR))
    training = None if split == "train" else data.split("train").images(min(resolution, RESOLUTION))
    return Comparison(
        reals_N3RR=torch.from_numpy(held_out.images(resolution)[pairs.image_N]),
        fakes_N3RR=fakes_N3RR,
        split=held_out,
        pairs=pairs,
        attribute_names=tuple(data.attribute_values),
        training_T3rr=training,
        judge=judge,
        brought=brought,
    )


def other_reals(data: PreparedData, *, resolution: int, num_images: int) -> Tensor:
    """uint8 images_N3RR of the training split: what a perfect generator would draw."""
    training = data.split("train")
    return torch.from_numpy(training.images(resolution)[reference_pairs(training, num_images).image_N])


def untrained_faces(data: PreparedData, *, resolution: int, num_images: int, split: str) -> Tensor:
    """uint8 images_N3RR of one untrained generator for all, so that every model is measured by the same ruler."""
    stage = StageSpec(
        resolution=resolution,
        images=1,
        fade_images=0,
        batch=2,
        seed=0,
        data_key=data.key,
        settings=Settings().with_values(PRESETS["small"]),
    )
    model = FaceModel(stage, len(data.vocabulary)).eval()
    held_out, reader = data.split(split), WordReader(vocabulary=data.vocabulary, max_tokens=data.max_tokens)
    captions = right_captions(held_out, reference_pairs(held_out, num_images), reader)
    return draw(model, captions, noise(model, "ceiling", num_images))


def measure_bounds(
    data: PreparedData,
    judge: Judge | None,
    *,
    resolution: int,
    spec: EvaluationSpec,
    metrics: Sequence[Metric],
    brought: Brought = NOTHING,
) -> dict[str, Bounds]:
    """Metric -> floor and ceiling of its figures at one resolution, for the spec's images and split."""
    count = spec.num_images
    faces = untrained_faces(data, resolution=resolution, num_images=count, split=spec.split)
    untrained = compare(faces, data, judge, split=spec.split, brought=brought)
    real = {
        "others": untrained.beside(other_reals(data, resolution=resolution, num_images=count)),
        "held-out": untrained.beside(untrained.reals_N3RR),
    }

    def figures(comparison: Comparison, metric: Metric) -> dict[str, Figure]:
        # The parts are for comparing models; what is remembered has none.
        found = measure_all(comparison, [metric])
        return {name: replace(figure, by=None, parts=()) for name, figure in found.items()}

    return {
        metric.name: Bounds(floor=figures(real[metric.real], metric), ceiling=figures(untrained, metric))
        for metric in metrics
    }


def judge_precision(data: PreparedData, judge: Judge, *, split: str) -> Figure | None:
    """The judge's R-precision on real pairs of a split at the finest resolution; None where there are too few."""
    held_out = data.split(split)
    if len(held_out.captioned_N) < 2:
        return None
    pairs = reference_pairs(held_out, min(held_out.size, JUDGED))
    reals = torch.from_numpy(held_out.images(max(data.resolutions))[pairs.image_N])
    comparison = compare(reals, data, judge, split=split)
    return measure_all(comparison, [metric for metric in STAGE_END if metric.name == "r_precision"]).get("r_precision")


def reference_for(
    data: PreparedData,
    judge: Judge | None,
    judge_sha256: str,
    *,
    resolution: int,
    spec: EvaluationSpec,
    metrics: Sequence[Metric] = STAGE_END,
    brought: Brought = NOTHING,
) -> Reference:
    """The reference of a resolution; what is not yet remembered beside the judge is measured, and remembered.

    Metrics of other packages are measured each time: nothing says when they change.
    """
    if resolution not in RESOLUTIONS:
        raise DataError(f"{resolution} px is no stage's resolution")
    name = f"reference-{spec.split}-{spec.num_images}-{resolution}-v{METRIC_VERSION}-{judge_sha256[:16]}.json"
    path = judge_path(data).with_name(name)
    kept = read_bounds(path)
    keys = {metric.name: _key(metric, brought) for metric in metrics}
    missing = [metric for metric in metrics if keys[metric.name] not in kept]
    if missing:
        found = measure_bounds(data, judge, resolution=resolution, spec=spec, metrics=missing, brought=brought)
        lasting = [metric for metric in missing if metric in BUILTIN]
        if lasting:
            stored = {**kept, **{keys[metric.name]: found[metric.name] for metric in lasting}}
            content = {key: bounds.to_json() for key, bounds in stored.items()}
            write_durably(path, json.dumps(content, indent=1, sort_keys=True).encode())
        kept |= {keys[name]: bounds for name, bounds in found.items()}
    return Reference(
        resolution=resolution,
        num_images=spec.num_images,
        floor={name: figure for key in keys.values() for name, figure in kept[key].floor.items()},
        ceiling={name: figure for key in keys.values() for name, figure in kept[key].ceiling.items()},
    )


def read_bounds(path: Path) -> dict[str, Bounds]:
    """What is remembered; nothing where there is no such file, or an unreadable one: it can all be measured again."""
    try:
        return {key: Bounds.from_json(stored) for key, stored in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _key(metric: Metric, brought: Brought) -> str:
    """Under which a metric's bounds are remembered; those over networks that the user brings belong to these."""
    return f"{metric.name}{brought.name(metric.needs)}"
