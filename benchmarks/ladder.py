"""Models made worse on purpose: each must rank below its source, or be kept out by a gate that says its name.

    python -m benchmarks.ladder                      500 faces of a model of its own, which it trains the first time
    python -m benchmarks.ladder MODEL --home HOME    of a trained bundle; the home holds its data
    python -m benchmarks.ladder --quick              100 faces of 8 px, under a minute

A step of the ladder changes what the model draws, or what it is asked:

    text ignored    every face is drawn for the same caption, with its own noise
    wrong captions  every face is drawn for a caption of another image
    memorised       training images are returned in place of faces, those whose captions share most words
    half memorised  so for every second face
    collapsed       one face for everything
    ten faces       only ten different faces
    colour shift    20 grey levels more red, as many less blue
    blur            means of 3x3 pixels
    noise           12 grey levels

and one is trained, 4,000 images a stage to 8 px, beside a source of its own that was shown eight times as many:

    fewer images    an eighth of the images at every stage

The last line of the output is a JSON list, one entry for each step.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.demo import demo_model, train
from benchmarks.goals import entry
from t2f.data import PreparedData
from t2f.device import configure
from t2f.drawing import draw, noise
from t2f.gates import closed_gates
from t2f.generate import Bundle, open_bundle
from t2f.judge import Judge, load_judge
from t2f.metrics.builtin import STAGE_END
from t2f.metrics.comparison import measure_all
from t2f.metrics.figures import Figure, win_probability
from t2f.pairs import Pairs, reference_pairs
from t2f.reading import data_reader
from t2f.reference import Reference, compare, reference_for
from t2f.score import score_figures
from t2f.settings import PRESETS, Settings
from t2f.spec import StagePlan, TrainingSpec
from t2f.trainfile import ProbeSection

SPLIT = "validation"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained model, and the captions of the reference images."""

    bundle: Bundle
    data: PreparedData
    pairs: Pairs

    @property
    def resolution(self) -> int:
        return self.bundle.resolution

    def faces(self, captions: np.ndarray) -> Tensor:
        """uint8 images_N3RR for these captions of the split, with the noise of every evaluation."""
        split, reader = self.data.split(SPLIT), data_reader(self.bundle.stage, self.data)
        model = self.bundle.model
        return draw(model, reader.of_split(split, captions), noise(model, "evaluation", len(captions)))

    def right(self) -> Tensor:
        return self.faces(self.pairs.caption_N)

    def memorised(self) -> Tensor:
        """For each caption the training image that has the caption with most words in common."""
        held_out, training = self.data.split(SPLIT), self.data.split("train")
        words = [set(training.tokens_MT[row, :length]) for row, length in enumerate(training.token_lengths_M)]
        found = []
        for caption in self.pairs.caption_N:
            own = set(held_out.tokens_MT[caption, : held_out.token_lengths_M[caption]])
            shares = [len(own & other) / len(own | other) for other in words]
            found.append(int(training.caption_image_M[int(np.argmax(shares))]))
        return torch.from_numpy(training.images(self.resolution)[found])


def ignoring_text(source: Source) -> Tensor:
    return source.faces(np.full_like(source.pairs.caption_N, source.pairs.caption_N[0]))


def wrong_captions(source: Source) -> Tensor:
    return source.faces(source.pairs.wrong_N)


def half_memorised(source: Source) -> Tensor:
    faces, copies = source.right(), source.memorised()
    faces[::2] = copies[::2]
    return faces


def few_faces(count: int) -> Callable[[Source], Tensor]:
    return lambda source: source.right()[torch.arange(len(source.pairs.caption_N)) % count]


def shifted(source: Source) -> Tensor:
    return _changed(source, lambda x: x + torch.tensor([20.0, 0.0, -20.0]).reshape(3, 1, 1))


def blurred(source: Source) -> Tensor:
    return _changed(source, lambda x: functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False))


def noisy(source: Source) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return _changed(source, lambda x: x + 12 * torch.randn(x.shape, generator=random))


def _changed(source: Source, change: Callable[[Tensor], Tensor]) -> Tensor:
    return change(source.right().float()).round().clamp(0, 255).to(torch.uint8)


def fewer_images(data: PreparedData, judge: Judge, judge_sha256: str, *, num_images: int, images: int) -> "Step":
    """A training to 8 px with an eighth of the images, beside the same with all of them."""
    found = []
    for shown in (images, images // 8):
        plan = StagePlan(resolutions=(4, 8), images=(shown, shown), fade=(0.0, 0.3), batch=(16, 16))
        settings = Settings().with_values(PRESETS["small"])
        spec = TrainingSpec(data_key=data.key, seed=0, plan=plan, settings=settings)
        model, stage = train(spec, data).model, spec.stages()[-1]
        evaluation = ProbeSection(images=num_images).evaluation(data, judge_sha256)
        reference = reference_for(data, judge, judge_sha256, resolution=8, spec=evaluation)
        pairs = reference_pairs(data.split(SPLIT), num_images)
        captions = data_reader(stage, data).of_split(data.split(SPLIT), pairs.caption_N)
        faces = draw(model, captions, noise(model, "evaluation", num_images))
        found.append(figures_of(faces, data, judge, reference))
    return step("fewer images", best=found[0], worse=found[1], gate=None)


# Name -> what it draws, and the gate that is to close; None: it must lose by its score.
LADDER: dict[str, tuple[Callable[[Source], Tensor], str | None]] = {
    "text ignored": (ignoring_text, "text"),
    "wrong captions": (wrong_captions, "text"),
    "memorised": (Source.memorised, "copies"),
    "half memorised": (half_memorised, "copies"),
    "collapsed": (few_faces(1), "collapse"),
    "ten faces": (few_faces(10), "collapse"),
    "colour shift": (shifted, None),
    "blur": (blurred, None),
    "noise": (noisy, None),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of one worse model beside its source."""

    name: str
    score: Figure
    lost: float | None  # probability that the source is better
    gates: tuple[str, ...]
    expected_gate: str | None

    @property
    def is_held(self) -> bool:
        """Whether it cannot win: the gate that is meant for it is closed, or it loses for sure."""
        if self.expected_gate is not None:
            return self.expected_gate in self.gates
        return bool(self.gates) or (self.lost is not None and self.lost > 0.975)

    def to_json(self) -> dict[str, Any]:
        return entry(
            f"ladder, {self.name}: loses or is kept out",
            1,
            int(self.is_held),
            "higher",
            score=[round(bound, 4) for bound in (self.score.low, self.score.value, self.score.high)],
            loses_with=None if self.lost is None else round(self.lost, 4),
            closed_gates=list(self.gates),
        )


def climb(
    bundle: Bundle, data: PreparedData, judge: Judge, judge_sha256: str, *, num_images: int
) -> tuple[dict[str, Figure], list[Step]]:
    """The source's figures, and every step of the ladder."""
    spec = ProbeSection(images=num_images).evaluation(data, judge_sha256)
    reference = reference_for(data, judge, judge_sha256, resolution=bundle.resolution, spec=spec)
    source = Source(bundle=bundle, data=data, pairs=reference_pairs(data.split(SPLIT), num_images))

    best = figures_of(source.right(), data, judge, reference)
    steps = [
        step(name, best=best, worse=figures_of(worsen(source), data, judge, reference), gate=gate)
        for name, (worsen, gate) in LADDER.items()
    ]
    return best, steps


def figures_of(faces: Tensor, data: PreparedData, judge: Judge, reference: Reference) -> dict[str, Figure]:
    found = measure_all(compare(faces, data, judge, split=SPLIT), STAGE_END)
    return found | score_figures(found, floor=reference.floor, ceiling=reference.ceiling)


def step(name: str, *, best: Mapping[str, Figure], worse: Mapping[str, Figure], gate: str | None) -> Step:
    closed = closed_gates({name: figure.to_json() for name, figure in worse.items()})
    lost = win_probability(best["score"], worse["score"])
    return Step(name=name, score=worse["score"], lost=lost, gates=closed, expected_gate=gate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a trained bundle; default: a model of its own")
    parser.add_argument("--home", type=Path, help="the home with the bundle's prepared data")
    parser.add_argument("--quick", action="store_true", help="100 faces of 8 px, under a minute")
    options = parser.parse_args()
    if (options.model is None) != (options.home is None):
        parser.error("MODEL and --home go together")
    configure(threads=1)
    if options.model is None:
        bundle, data = demo_model(quick=options.quick)
    else:
        bundle = open_bundle(options.model)
        data = PreparedData.open(options.home / "data" / bundle.lineage["data"])
    judge, judge_sha256 = load_judge(data)
    num_images = 100 if options.quick else 500
    best, steps = climb(bundle, data, judge, judge_sha256, num_images=num_images)
    shown = 1_000 if options.quick else 4_000
    steps.append(fewer_images(data, judge, judge_sha256, num_images=num_images, images=shown))
    score = best["score"]
    print(f"{num_images} faces of {bundle.resolution} px, {len(steps)} worse models")
    print(f"source: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")
    gates = closed_gates({name: figure.to_json() for name, figure in best.items()})
    print(f"gates that the source closes: {', '.join(gates) or 'none'}")
    print(f"  {'made worse by':18}{'score':>8}  {'95 %':18}{'loses with':>12}  closed gates")
    for step in steps:
        interval = f"{step.score.low:.3f} to {step.score.high:.3f}"
        lost = "" if step.lost is None else f"{step.lost:.1%}"
        held = "" if step.is_held else "  NOT HELD"
        print(f"  {step.name:18}{step.score.value:8.3f}  {interval:18}{lost:>12}  {', '.join(step.gates)}{held}")
    print(json.dumps([step.to_json() for step in steps]))


if __name__ == "__main__":
    main()
