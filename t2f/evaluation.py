"""Measuring and drawing one sealed stage at its end: quick metrics, the score (`score.py`), and the wall of samples.

Nothing here touches a training's random numbers. R resolution in px
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2f.data import PreparedData
from t2f.drawing import draw, draw_wall, noise
from t2f.gates import closed_gates
from t2f.judge import Judge
from t2f.metrics.builtin import STAGE_END
from t2f.metrics.comparison import measure_all
from t2f.metrics.figures import Figure, parts_json
from t2f.networks import FaceModel
from t2f.pairs import reference_pairs, right_captions
from t2f.probe import EvaluationSpec
from t2f.reading import Reader
from t2f.reference import Reference, compare
from t2f.score import score_figures


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    metrics: Mapping[str, Figure]
    wall: np.ndarray  # uint8 [captions * seeds, 3, R, R], row by row

    @property
    def score(self) -> float:
        return self.metrics["score"].value

    def metrics_json(self) -> dict[str, dict[str, Any]]:
        return {name: figure.to_json() for name, figure in self.metrics.items()}

    def parts_bytes(self) -> bytes:
        """What comparing this evaluation with others takes, as a file of JSON."""
        return json.dumps(parts_json(self.metrics)).encode()


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
    """The figures of one stage's EMA model (alpha 1, truncation 1) on the frozen reference, and its samples.

    reader: of the model's encoder. judge: None for data without captions, as `load_judge` gives it.
    """
    split = data.split(spec.split)
    captions = right_captions(split, reference_pairs(split, spec.num_images), reader)
    fakes = draw(model, captions, noise(model, "evaluation", spec.num_images))
    assert fakes.shape[-1] == resolution
    metrics = measure_all(compare(fakes, data, judge, split=spec.split), STAGE_END)
    metrics |= score_figures(metrics, floor=reference.floor, ceiling=reference.ceiling)
    if reference.judge is not None:
        metrics["judge_r_precision"] = reference.judge
    gates = closed_gates({name: figure.to_json() for name, figure in metrics.items()})
    metrics["closed_gates"] = Figure(value=float(len(gates)), note=", ".join(gates) or None)
    wall = draw_wall(model, reader, spec.captions, spec.seeds)
    return Evaluation(metrics=metrics, wall=wall.numpy())
