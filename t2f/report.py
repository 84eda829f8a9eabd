"""The whole evaluation of a model: every metric with its interval, floor and ceiling, on any number of faces."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from t2f.data import PreparedData
from t2f.drawing import draw, noise
from t2f.errors import UserError
from t2f.gates import closed_gates
from t2f.judge import Judge
from t2f.metrics.brought import NOTHING, Brought
from t2f.metrics.builtin import all_metrics
from t2f.metrics.catalogue import BETTER
from t2f.metrics.comparison import Metric
from t2f.metrics.figures import Figure
from t2f.networks import FaceModel
from t2f.pairs import reference_pairs, right_captions
from t2f.probe import EvaluationSpec
from t2f.reading import Reader
from t2f.reference import compare, reference_for
from t2f.score import DISTANCES, score_figures

COMPOSED = ("score", "fidelity", "text")  # made from other figures

Progress = Callable[[int, int], None]  # steps done, of how many


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure, or why there is none."""

    name: str
    better: str
    figure: Figure | None = None
    floor: float | None = None  # reals against reals
    ceiling: float | None = None  # an untrained generator
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        figure = {} if self.figure is None else self.figure.to_json()
        why = {} if self.reason is None else {"reason": self.reason}
        return {"better": self.better, **figure, "floor": self.floor, "ceiling": self.ceiling, **why}


@dataclass(frozen=True, kw_only=True)
class Report:
    resolution: int
    num_images: int
    split: str
    judge_sha256: str
    judge: Figure | None  # its R-precision on the real pairs
    gates: tuple[str, ...] | None  # closed ones; None where not all that they look at was measured
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution,
            "images": self.num_images,
            "split": self.split,
            "judge": {"sha256": self.judge_sha256, "r_precision": self.judge and self.judge.to_json()},
            "closed_gates": None if self.gates is None else list(self.gates),
            "metrics": {line.name: line.to_json() for line in self.lines},
        }


def chosen_metrics(names: Collection[str]) -> tuple[Metric, ...]:
    """The metrics that these names ask for, all of them where there are none; UserError for a name that is not known.

    What the score is made from comes along where the score or a part of it is asked for.
    """
    known = all_metrics()
    figures = {"recall": "precision"}  # what another metric measures along
    unknown = [name for name in names if name not in (*known, *COMPOSED, *figures)]
    if unknown:
        raise UserError(
            f"--metric {unknown[0]} is not known; allowed: {', '.join([*COMPOSED, *known, *figures])}. "
            "Further ones come with packages that have the entry point t2f.metrics"
        )
    wanted = {figures.get(name, name) for name in names} or set(known)
    if wanted & set(COMPOSED):
        wanted |= {*DISTANCES, "shuffle_gap"}
    return tuple(metric for name, metric in known.items() if name in wanted or _is_judges_own(metric))


def _is_judges_own(metric: Metric) -> bool:
    """What the judge can do is told beside every use of it."""
    return metric.name == "r_precision"


def make_report(
    model: FaceModel,
    *,
    resolution: int,
    data: PreparedData,
    judge: Judge | None,
    reader: Reader,
    spec: EvaluationSpec,
    names: Collection[str] = (),
    brought: Brought = NOTHING,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Everything that is asked for, or everything, about this EMA model (alpha 1, truncation 1)."""
    metrics = chosen_metrics(names)
    steps = len(metrics) + 2
    reference = reference_for(
        data, judge, spec.judge_sha256, resolution=resolution, spec=spec, metrics=metrics, brought=brought
    )
    progress(1, steps)
    split = data.split(spec.split)
    captions = right_captions(split, reference_pairs(split, spec.num_images), reader)
    fakes = draw(model, captions, noise(model, "evaluation", spec.num_images))
    progress(2, steps)
    comparison = compare(fakes, data, judge, split=spec.split, brought=brought)
    found: dict[str, Figure] = {}
    lines: dict[str, Line] = {}
    for number, metric in enumerate(metrics):
        reason = metric.missing(comparison)
        figures = {} if reason else metric.figures(comparison)
        if not figures:
            lines[metric.name] = Line(
                name=metric.name, better=metric.better, reason=reason or "not defined for these images"
            )
        for name, figure in figures.items():
            better = BETTER.get(name, metric.better)
            lines[name] = Line(
                name=name, better=better, figure=figure, **_bounds(name, reference.floor, reference.ceiling)
            )
        found |= figures
        progress(3 + number, steps)
    if "colour_distance" in found and any(name in found for name in DISTANCES[:2]):
        composed = score_figures(found, floor=reference.floor, ceiling=reference.ceiling)
        found |= composed
        lines = {
            name: Line(name=name, better="higher", figure=composed[name]) for name in COMPOSED if name in composed
        } | lines
    asked = set(names)
    shown = [line for line in lines.values() if not asked or line.name in asked or _is_level_of(line.name, asked)]
    return Report(
        resolution=resolution,
        num_images=spec.num_images,
        split=spec.split,
        judge_sha256=spec.judge_sha256,
        judge=reference.judge,
        gates=None if asked else closed_gates({name: figure.to_json() for name, figure in found.items()}),
        lines=tuple(shown),
    )


def _bounds(name: str, floor: Mapping[str, Figure], ceiling: Mapping[str, Figure]) -> dict[str, float | None]:
    return {
        kind: figures[name].value if name in figures else None
        for kind, figures in (("floor", floor), ("ceiling", ceiling))
    }


def _is_level_of(name: str, asked: set[str]) -> bool:
    """Single levels and attributes are shown with the figure that they belong to."""
    return ("swd" in asked and name.startswith("swd_")) or (
        "attribute_share" in asked and name.startswith("attribute_")
    )
