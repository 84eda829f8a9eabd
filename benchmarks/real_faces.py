"""Presets on photographs with captions, after equal CPU time: `modern` beside `article`, or others.

    t2f data prepare PHOTOGRAPHS --format face2text --uncaptioned LFW --crop centre:128 --name faces
    python -m benchmarks.real_faces t2f-home/data/faces                      64 px, 3 CPU hours for each preset
    python -m benchmarks.real_faces t2f-home/data/faces --presets modern     one alone, to run both side by side
    python -m benchmarks.real_faces t2f-home/data/faces --presets modern --set text.caption_dropout=.3
    python -m benchmarks.real_faces --quick                                  ten steps on demo faces, under a minute

Each training has one thread and bf16 (`--precision fp32` where the processor has none), and goes on where it was when
the command is given again; once both are trained, it only tells. The clock is the process's CPU time; a preset's own
plan is drawn out to it.

1,000 faces are drawn for captions that no training saw, and compared with 1,000 photographs of the training split
(held-out ones are too few for a distance): the SWD, the distance of colours, both beside photographs against other
photographs. What the words do is told twice: the shuffle gap of the data's judge, and how much of the variance of
16 px pixels is the caption's where 32 captions are drawn with the same 32 noises each. Intervals are over five blocks
of faces. The last line is a JSON list.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from torch import Tensor

from benchmarks.demo import (
    CACHE,
    QUICK,
    Recipe,
    demo_data,
    images_of,
    kept,
    recipe_of,
    seconds_per_image,
    stages_trained,
    with_given,
)
from benchmarks.faces import interval
from benchmarks.goals import figure_entry
from t2f.checkpoint import write_durably
from t2f.data import PreparedData, Split
from t2f.device import configure
from t2f.drawing import draw, draw_wall, noise
from t2f.errors import SpecError
from t2f.judge import Judge, load_judge
from t2f.metrics.colour import colour_distance
from t2f.metrics.figures import Figure
from t2f.metrics.nearest import small_pictures
from t2f.metrics.wasserstein import laplacian_swd, pixel_distance
from t2f.networks import FaceModel
from t2f.pairs import Pairs, caption_tokens, reference_pairs, right_captions
from t2f.pictures import png_bytes, wall
from t2f.reading import data_reader
from t2f.settings import PRESETS
from t2f.spec import RESOLUTIONS, StageSpec
from t2f.trainfile import planned

BLOCKS = 5  # of faces, for intervals
QUICK_STEPS = 10  # of each stage
CROSSED = 32  # captions and noises whose faces tell whose the variance is
ROWS, COLUMNS = 8, 8  # of the samples


@dataclass(frozen=True, kw_only=True)
class Told:
    """Figures of one stage's model; each list has a value for each block."""

    cpu_seconds: float  # of all stages so far
    distance: list[float]  # SWD, below 16 px of pixels
    colour: list[float]
    shuffle_gap: list[float]
    caption_share: float  # of the variance, 0 to 1
    wall_N3RR: Tensor


# Training


def plan_of(preset: str, recipe: Recipe, data: PreparedData, *, minutes: float) -> tuple[int, ...]:
    """Images of each stage."""
    costs = seconds_per_image(recipe, data)
    plan = planned(preset, "images", len(costs)) or planned(preset, "epochs", len(costs))
    return images_of(plan, costs, 60 * minutes)


# Measuring


def distance(reals_N3RR: Tensor, fakes_N3RR: Tensor) -> float:
    if reals_N3RR.shape[-1] < 16:
        return pixel_distance(reals_N3RR, fakes_N3RR)
    levels = laplacian_swd(reals_N3RR, fakes_N3RR)
    return sum(levels.values()) / len(levels)


def in_blocks(measured: Callable[[Tensor, Tensor], float], reals_N3RR: Tensor, fakes_N3RR: Tensor) -> list[float]:
    return [measured(*pair) for pair in zip(reals_N3RR.chunk(BLOCKS), fakes_N3RR.chunk(BLOCKS), strict=True)]


def shuffle_gaps(judge: Judge, images_N3RR: Tensor, split: Split, pairs: Pairs) -> list[float]:
    """How much better the pairs' pictures fit their captions than wrong ones, for each block."""
    fitting, other = (judge.embed_text(*caption_tokens(split, rows)) for rows in (pairs.caption_N, pairs.wrong_N))
    gap_N = (judge.embed_all_images(images_N3RR) * (fitting - other)).sum(dim=1)
    return [float(block.mean()) for block in gap_N.chunk(BLOCKS)]


def photographs(data: PreparedData, resolution: int, count: int) -> tuple[Tensor, Tensor]:
    """Two sets of training photographs that share none."""
    images = data.split("train").images(resolution)
    rows = np.random.default_rng(0).permutation(len(images))
    count = min(count, len(images) // 2)
    return tuple(torch.from_numpy(images[np.sort(part)]) for part in (rows[:count], rows[count : 2 * count]))


def caption_share(pixels_CNV: Tensor) -> float:
    """The captions' share of the variance, by a two-way analysis; what both do together counts for neither."""
    grand_V = pixels_CNV.mean(dim=(0, 1))
    captions = (pixels_CNV.mean(dim=1) - grand_V).square().mean()
    noises = (pixels_CNV.mean(dim=0) - grand_V).square().mean()
    return float(captions / (captions + noises))


def measure(
    stage: StageSpec, model: FaceModel, data: PreparedData, judge: Judge, *, faces: int, cpu_seconds: float
) -> Told:
    split, reader = data.split("test"), data_reader(stage, data)
    pairs = reference_pairs(split, faces)
    fakes = draw(model, right_captions(split, pairs, reader), noise(model, "evaluation", faces))
    reals, _ = photographs(data, stage.resolution, faces)
    captions = [split.captions[caption] for caption in pairs.caption_N[:CROSSED]]
    crossed = draw_wall(model, reader, captions, CROSSED)
    return Told(
        cpu_seconds=cpu_seconds,
        distance=in_blocks(distance, reals, fakes),
        colour=in_blocks(colour_distance, reals, fakes),
        shuffle_gap=shuffle_gaps(judge, fakes, split, pairs),
        caption_share=caption_share(small_pictures(crossed).reshape(len(captions), CROSSED, -1)),
        wall_N3RR=draw_wall(model, reader, captions[:ROWS], COLUMNS),
    )


def print_row(name: str, cpu_seconds: str, figures: Sequence[Figure], share: str) -> None:
    cells = " | ".join(f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})" for one in figures)
    print(f"| {name} | {cpu_seconds} | {cells} | {share} |", flush=True)


def print_floor(data: PreparedData, judge: Judge, resolution: int, faces: int) -> None:
    """Photographs against other photographs, and the gap of the held-out photographs themselves."""
    pairs, split = reference_pairs(data.split("test"), faces), data.split("test")
    one, other = photographs(data, resolution, faces)
    own = torch.from_numpy(split.images(resolution)[pairs.image_N])
    found = [
        interval(in_blocks(distance, one, other)),
        interval(in_blocks(colour_distance, one, other)),
        interval(shuffle_gaps(judge, own, split, pairs)),
    ]
    print_row(f"photographs, {resolution} px", "", found, "")


def entries(told: dict[str, Told], where: str) -> list[dict]:
    """The first preset beside the second."""
    one, other = list(told)[:2]
    ours, theirs = told[one], told[other]
    ratios = {
        "SWD": [mine / its for mine, its in zip(ours.distance, theirs.distance, strict=True)],
        "colour distance": [mine / its for mine, its in zip(ours.colour, theirs.colour, strict=True)],
    }
    found = [
        figure_entry(f"{where}: {name}, {one} over {other}", 1.0, interval(values), BLOCKS, "lower")
        for name, values in ratios.items()
    ]
    gaps = [mine - its for mine, its in zip(ours.shuffle_gap, theirs.shuffle_gap, strict=True)]
    found.append(figure_entry(f"{where}: shuffle gap, {one} minus {other}", 0.0, interval(gaps), BLOCKS, "higher"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of prepared data with captions and a judge")
    parser.add_argument("--quick", action="store_true", help="few demo faces, 8 px, seconds of training")
    parser.add_argument("--minutes", type=float, default=180.0, help="CPU minutes of one training")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[:5], default=64, help="of the last stage, px")
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=("modern", "article"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="VALUE or [one, a, stage]")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--faces", type=int, default=1000, help="faces that the figures are over")
    parser.add_argument("--samples", type=Path, help="folder for a PNG of each preset: a held-out caption a row")
    parser.add_argument("--cache", type=Path, default=CACHE.parent / "real-faces")
    options = parser.parse_args()
    configure(threads=1)
    if options.quick:
        options.resolution, options.faces, options.precision = 8, 100, "fp32"  # bf16 takes minutes where it is emulated
        data = demo_data(CACHE, **QUICK)
    elif options.data is None:
        parser.error("give the folder of prepared data, or --quick")
    else:
        data = PreparedData.open(options.data)
    judge, _ = load_judge(data)
    if judge is None:
        raise SpecError(f"{data.path} has no captions; there is nothing to tell of words")
    print(
        "| model | CPU s | distance | colours | shuffle gap | captions' share of variance |\n|---|---|---|---|---|---|"
    )
    last: dict[str, Told] = {}
    for preset in options.presets:
        values, late = with_given(PRESETS[preset], options.set, options.resolution)
        values["compute.precision"] = options.precision
        recipe = recipe_of(values, options.resolution, preset=preset, late=late)
        name = f"{preset}-{options.precision}-{options.minutes:g}-{options.resolution}-{data.key[:8]}"
        folder = options.cache / "-".join([name, *sorted(options.set)])
        if options.quick:
            folder = None
            images = tuple(QUICK_STEPS * batch for batch in recipe.batch)
        else:
            # Kept, since costs vary and the same plan must be found again.
            images = kept(folder / "plan.json", partial(plan_of, preset, recipe, data, minutes=options.minutes))
        print(f"<!-- {preset}: {dict(zip(recipe.resolutions, images, strict=True))} images -->", flush=True)
        spent = 0.0
        for stage, model, seconds in stages_trained(recipe.spec(data, images=images, seed=0), data, folder):
            spent += seconds
            last[preset] = told = measure(stage, model, data, judge, faces=options.faces, cpu_seconds=spent)
            figures = [interval(values) for values in (told.distance, told.colour, told.shuffle_gap)]
            print_row(f"{preset}, {stage.resolution} px", f"{spent:.0f}", figures, f"{told.caption_share:.2f}")
        if options.samples:
            options.samples.mkdir(parents=True, exist_ok=True)
            write_durably(options.samples / f"{preset}.png", png_bytes(wall(told.wall_N3RR.numpy(), columns=COLUMNS)))
    print_floor(data, judge, options.resolution, options.faces)
    where = "quick" if options.quick else f"{options.minutes:g} CPU minutes, {options.resolution} px"
    print(json.dumps(entries(last, where) if len(last) > 1 else []))


if __name__ == "__main__":
    main()
