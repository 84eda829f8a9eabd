"""How good the demo faces are after a given CPU time: one training with one thread, measured on unseen combinations.

    python -m benchmarks.faces                          10 CPU minutes to 32 px with the preset small
    python -m benchmarks.faces --minutes 30 --seeds 0,1
    python -m benchmarks.faces --from-scratch           32 px from the start: one step at each stage below
    python -m benchmarks.faces --set loss.r1_gamma=1 --set "generator.learning_rate=[.004, .004, .002, .002]"
    python -m benchmarks.faces --quick                  to see that it works, under a minute

The plan is given as shares of the CPU time, from which the number of images follows by the cost of a step as measured
at the start, or as numbers of images. The clock is the process's CPU time, so other work on the machine matters little.

1,000 captions of the test split ask for combinations of attributes that the training has not seen. A frozen judge
looks for each attribute in the faces. Captions leave out glasses, a beard or the mouth now and then; what nobody asked
for cannot be right but by chance, so the table also gives the share among captions that say the attribute, and what a
model would reach that reads every word and guesses the rest as often as the training data has it ("ceiling").

Intervals are 95 %: bootstrap over faces for shares, disjoint blocks of faces for the SWD; with several seeds
they are the smallest and the largest value of a seed. The last line is a JSON list, one entry for each figure.
"""

import argparse
import json
import math
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One thread, and none that waits spinning: read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch

from benchmarks.demo import (
    CACHE,
    QUICK,
    WHOLE,
    Recipe,
    Training,
    demo_data,
    images_of,
    recipe_of,
    seconds_per_image,
    train,
    with_given,
)
from benchmarks.goals import figure_entry
from t2f.data import PreparedData, Split
from t2f.device import configure
from t2f.drawing import draw, noise
from t2f.errors import SpecError
from t2f.evaluation import Evaluation, evaluate
from t2f.judge import load_judge
from t2f.metrics.figures import CONFIDENCE, Figure, mean_figure, student_t_quantile
from t2f.pairs import Pairs, reference_pairs, right_captions
from t2f.pictures import png_bytes, wall
from t2f.probe import EvaluationSpec
from t2f.reading import data_reader
from t2f.reference import reference_for
from t2f.settings import PRESETS
from t2f.spec import RESOLUTIONS
from t2f.trainfile import planned

SPLIT = "test"
# How a caption says an attribute that it may leave out; skin, hair colour and hair style are always said.
SAID = {
    "facial_hair": re.compile(r"beard|mo?ustache|shaven|facial hair"),
    "glasses": re.compile(r"glasses"),
    "mouth": re.compile(r"smil|laugh|serious|mouth|teeth|tongue"),
}
EASY, FINE = ("skin", "hair_colour", "hair_style"), ("facial_hair", "glasses", "mouth")
# CPU minutes from which on the goals hold -> attribute -> share right; and the SWD in units of its floor.
GOALS: dict[float, tuple[dict[str, float], float]] = {
    10: ({**dict.fromkeys(EASY, 0.9), **dict.fromkeys(FINE, 0.6)}, 1.5),
    30: (dict.fromkeys((*EASY, *FINE), 0.9), 1.2),
}
ROWS, COLUMNS = 8, 8  # of the samples


@dataclass(frozen=True, kw_only=True)
class Measured:
    evaluation: Evaluation
    said: Mapping[str, Figure]  # share right among captions that say the attribute
    distance: Figure  # SWD (below 16 px of pixels) in units of the floor
    floor: float


# What captions say


def says(split: Split, captions: np.ndarray, name: str) -> np.ndarray:
    """bool [N]: these captions say the attribute."""
    pattern = SAID.get(name)
    return np.array([pattern is None or bool(pattern.search(split.captions[caption])) for caption in captions])


def ceiling(data: PreparedData, pairs: Pairs, name: str) -> float:
    """The share right of a model that reads every word and draws what is not said as often as the training has it."""
    training = data.split("train")
    column = list(data.attribute_values).index(name)
    unsaid = ~says(training, np.arange(len(training.captions)), name)
    if not unsaid.any():
        return 1.0
    counts = np.bincount(training.attributes_NA[training.caption_image_M[unsaid], column])
    guessed = np.square(counts / counts.sum()).sum()
    said = says(data.split(SPLIT), pairs.caption_N, name).mean()
    return float(said + (1 - said) * guessed)


# Training


def read_recipe(options: argparse.Namespace) -> Recipe:
    """The preset with the values of --set; a list there gives a value to each stage."""
    values, late = with_given(PRESETS[options.preset], options.set, options.resolution)
    return recipe_of(
        values,
        options.resolution,
        preset=options.preset,
        late=late,
        fade=options.fade,
        batch=options.batch,
    )


def images_for(options: argparse.Namespace, recipe: Recipe, data: PreparedData) -> tuple[int, ...]:
    """Images of each stage for the minutes given: by their shares of the time, or the preset's plan drawn out to it.

    From scratch all time is the last stage's, and the ones below get one step, so that their layers are there.
    """
    if options.images:
        return tuple(round(count) for count in options.images)
    costs, seconds = seconds_per_image(recipe, data), 60 * options.minutes
    if options.from_scratch:
        return (*recipe.batch[:-1], round(seconds / costs[-1]))
    if options.shares is not None:
        plan = [share / cost for share, cost in zip(options.shares, costs, strict=True)]
    else:
        plan = planned(options.preset, "images", len(costs))
    if plan is None:
        raise SpecError(f"the preset {options.preset} is planned in epochs; give --shares or --images")
    return images_of(plan, costs, seconds)


# Measuring


def measure(training: Training, data: PreparedData, *, num_images: int) -> Measured:
    """Everything on the test split's captions."""
    stage = training.spec.stages()[-1]
    judge, judge_sha256 = load_judge(data)
    split, reader = data.split(SPLIT), data_reader(stage, data)
    pairs = reference_pairs(split, num_images)
    evaluation_spec = EvaluationSpec(
        captions=tuple(split.captions[caption] for caption in pairs.caption_N[:ROWS]),
        seeds=COLUMNS,
        num_images=num_images,
        split=SPLIT,
        data_key=data.key,
        judge_sha256=judge_sha256,
    )
    reference = reference_for(data, judge, judge_sha256, resolution=stage.resolution, spec=evaluation_spec)
    evaluation = evaluate(
        training.model,
        resolution=stage.resolution,
        data=data,
        judge=judge,
        reader=reader,
        reference=reference,
        spec=evaluation_spec,
    )
    # The same faces as `evaluate` has looked at.
    fakes = draw(training.model, right_captions(split, pairs, reader), noise(training.model, "evaluation", num_images))
    found_NA = judge.attributes(fakes).numpy() == split.attributes_NA[pairs.image_N]
    said = {
        name: mean_figure(found_NA[says(split, pairs.caption_N, name), column])
        for column, name in enumerate(data.attribute_values)
    }
    structural = "swd" if "swd" in reference.floor else "pixel_distance"
    floor, found = reference.floor[structural].value, evaluation.metrics[structural]
    distance = Figure(value=found.value / floor, low=found.low / floor, high=found.high / floor)
    return Measured(evaluation=evaluation, said=said, distance=distance, floor=floor)


# Telling


def over_seeds(figures: Sequence[Figure]) -> Figure:
    """One seed's figure and interval; of several the mean, smallest and largest."""
    if len(figures) == 1:
        return figures[0]
    values = [figure.value for figure in figures]
    return Figure(value=statistics.mean(values), low=min(values), high=max(values))


def interval(values: Sequence[float]) -> Figure:
    """The mean over seeds with its 95 % t-interval; of one seed the value alone."""
    mean, half = statistics.mean(values), 0.0
    if len(values) > 1:
        deviation = statistics.stdev(values) / math.sqrt(len(values))
        half = student_t_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * deviation
    return Figure(value=mean, low=mean - half, high=mean + half)


def goal_entries(measured: Sequence[Measured], title: str, minutes: float) -> list[dict[str, Any]]:
    """The goals that hold after so many minutes, each with what was measured."""
    shares, distance = GOALS[max((limit for limit in GOALS if limit <= minutes), default=min(GOALS))]
    entries = []
    for name, target in shares.items():
        everywhere = over_seeds([one.evaluation.metrics[f"attribute_{name}"] for one in measured])
        entries.append(figure_entry(f"{title}: {name} right", target, everywhere, len(measured), "higher"))
        if name in SAID:
            said = over_seeds([one.said[name] for one in measured])
            entries.append(figure_entry(f"{title}: {name} right where said", target, said, len(measured), "higher"))
    ratio = over_seeds([one.distance for one in measured])
    return [*entries, figure_entry(f"{title}: SWD over its floor", distance, ratio, len(measured), "lower")]


def print_table(measured: Sequence[Measured], data: PreparedData, num_images: int) -> None:
    pairs = reference_pairs(data.split(SPLIT), num_images)
    judge, _ = load_judge(data)
    sizes = {name: len(values) for name, values in data.attribute_values.items()}
    print(f"\n  {'':14}{'right':>7}{'interval':>16}{'where said':>12}{'ceiling':>9}{'reals':>7}{'1/values':>10}")
    split, resolution = data.split(SPLIT), data.resolutions[-1]
    reals = torch.from_numpy(split.images(resolution)[pairs.image_N])
    on_reals = (judge.attributes(reals).numpy() == split.attributes_NA[pairs.image_N]).mean(axis=0)
    for column, name in enumerate(data.attribute_values):
        figure = over_seeds([one.evaluation.metrics[f"attribute_{name}"] for one in measured])
        said = over_seeds([one.said[name] for one in measured])
        print(
            f"  {name:14}{figure.value:7.3f}{f'{figure.low:.3f}-{figure.high:.3f}':>16}{said.value:12.3f}"
            f"{ceiling(data, pairs, name):9.3f}{on_reals[column]:7.3f}{1 / sizes[name]:10.3f}"
        )
    for name in (
        "attribute_share",
        "shuffle_gap",
        "text",
        "fidelity",
        "score",
        "swd",
        "pixel_distance",
        "colour_distance",
    ):
        found = [one.evaluation.metrics[name] for one in measured if name in one.evaluation.metrics]
        if found:
            figure = over_seeds(found)
            interval = "" if figure.low is None else f"{figure.low:.3f}-{figure.high:.3f}"
            print(f"  {name:14} {figure.value:6.3f}{interval:>16}")
    ratio = over_seeds([one.distance for one in measured])
    print(f"  distance / floor {ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f}), floor {measured[0].floor:.1f}")


def quick_entries(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Seconds of training teach the hair's colour better than chance (1 in 8), and no more."""
    found = over_seeds([one.evaluation.metrics["attribute_hair_colour"] for one in measured])
    return [figure_entry("quick: hair colour right", 0.25, found, len(measured), "higher")]


def samples_png(measured: Measured, data: PreparedData, num_images: int) -> bytes:
    """A caption a row: the real face, then drawn ones."""
    split, resolution = data.split(SPLIT), measured.evaluation.wall.shape[-1]
    reals = split.images(resolution)[reference_pairs(split, num_images).image_N[:ROWS]]
    fakes = measured.evaluation.wall.reshape(ROWS, COLUMNS, 3, resolution, resolution)
    rows = np.concatenate([reals[:, None], fakes], axis=1).reshape(-1, 3, resolution, resolution)
    return png_bytes(wall(rows, columns=COLUMNS + 1))


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few faces, 8 px, seconds of training: under a minute")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU minutes of one training")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="small")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="VALUE or [one, a, stage]")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[:5], default=32, help="of the last stage, px")
    parser.add_argument("--shares", type=numbers, help="of the CPU time, one a stage: .06,.08,.2,.66")
    parser.add_argument("--images", type=numbers, help="images of each stage in place of --minutes and --shares")
    parser.add_argument("--fade", type=numbers, help="fading share of each stage")
    parser.add_argument("--batch", type=numbers, help="batch size of each stage")
    parser.add_argument("--from-scratch", action="store_true", help="one step at each stage below the last")
    parser.add_argument("--seeds", type=numbers, default=(0,), help="one training each: 0,1,2")
    parser.add_argument("--faces", type=int, default=WHOLE["faces"], help="faces of the demo data")
    parser.add_argument("--captions", type=int, default=1000, help="held-out captions that the figures are over")
    parser.add_argument("--samples", type=Path, help="PNG: a caption a row, the real face first (last seed)")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.resolution, options.captions = 0.3, 8, 100
    configure(threads=1)
    data = demo_data(options.cache, **(QUICK if options.quick else {**WHOLE, "faces": options.faces}))
    recipe = read_recipe(options)
    images = images_for(options, recipe, data)
    print(f"images of each stage: {dict(zip(recipe.resolutions, images, strict=True))}", flush=True)
    measured = []
    for seed in options.seeds:
        training = train(recipe.spec(data, images=images, seed=int(seed)), data)
        seconds = ", ".join(f"{second:.0f}" for second in training.cpu_seconds)
        print(f"seed {seed:g}: {sum(training.cpu_seconds):.0f} CPU seconds ({seconds})", flush=True)
        measured.append(measure(training, data, num_images=options.captions))
    print_table(measured, data, options.captions)
    if options.samples:
        options.samples.write_bytes(samples_png(measured[-1], data, options.captions))
    how = ", from scratch" if options.from_scratch else ""
    title = f"{options.minutes:g} CPU minutes, {options.resolution} px, {options.preset}{how}"
    if options.images:
        title = f"{'/'.join(f'{count:g}' for count in images)} images, {options.resolution} px, {options.preset}"
    print(json.dumps(quick_entries(measured) if options.quick else goal_entries(measured, title, options.minutes)))


if __name__ == "__main__":
    main()
