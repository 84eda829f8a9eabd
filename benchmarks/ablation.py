"""What each change of the preset `small` is worth, and the peer's recipe beside it, on unseen demo captions.

    python -m benchmarks.ablation                    16 px, 1.5 CPU minutes a training, 3 seeds: about 70 minutes
    python -m benchmarks.ablation --minutes 10 --resolution 32 --only peer
    python -m benchmarks.ablation --quick            to see that it works, under a minute

`small without X` is the preset with setting X as the article has it. The peer is `pro-gan-pth`'s ConditionalProGAN as
T2F trains it - concatenation, the LSTM's last state taught by the generator alone, WGAN-GP with the penalty at every
step, new blocks drawn at random, rates of 1e-3 - with the feature maps, latent, LSTM and batch of `small`. What sizes a
network has is not ablated: each row has the same feature maps.

Every row gets the same CPU time, its images following from the cost of its steps, which are measured for all rows in
turn before anything is trained; the peer is also trained with as many images as `small` sees. Other work on the
machine slows all rows alike. Intervals are the 95 % t-interval over seeds. The last line is a JSON list.
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.faces import Measured, Recipe, demo_data, measure, numbers, seconds_per_image, train
from t2f.data import PreparedData
from t2f.device import configure
from t2f.settings import PRESETS, Settings, Value
from t2f.spec import RESOLUTIONS
from t2f.trainer import DivergedError
from t2f.trainfile import planned

SIZES = ("text.word_embedding", "text.hidden", "text.layers", "text.embedding", "network.latent")
SIZES += ("network.conditioning", "network.feature_base", "network.feature_max")
# Changes that belong together.
TOGETHER = (("generator.learning_rate", "discriminator.learning_rate"), ("ema.half_life", "ema.ramp_up"))
ROUNDS = 3  # of measuring steps
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recipe of the table."""

    name: str
    values: Mapping[str, Value]
    as_many_images: bool = False  # as `small`; else as much CPU time


def rows() -> list[Row]:
    """`small`, the peer, and `small` without each of its changes."""
    small = PRESETS["small"]
    sizes = {name: small[name] for name in SIZES}
    found = [
        Row(name="small", values=small),
        Row(name="peer", values=sizes),
        Row(name="peer at equal images", values=sizes, as_many_images=True),
    ]
    alone = [(name,) for name in small if name not in {*SIZES, *(name for group in TOGETHER for name in group)}]
    for group in (*alone, *TOGETHER):
        without = {name: value for name, value in small.items() if name not in group}
        found.append(Row(name=f"small without {' and '.join(group)}", values=without))
    return found


def recipe_of(row: Row, resolution: int) -> Recipe:
    resolutions = RESOLUTIONS[: RESOLUTIONS.index(resolution) + 1]
    fade, batch = (planned("small", what, len(resolutions)) for what in ("fade", "batch"))
    return Recipe(
        resolutions=resolutions,
        fade=tuple(fade),
        batch=tuple(int(size) for size in batch),
        settings=Settings().with_values(row.values),
        late={},
    )


def measured_costs(recipes: Sequence[Recipe], data: PreparedData) -> list[tuple[float, ...]]:
    """CPU seconds an image of each stage of each recipe: the least of rounds in which all take turns."""
    rounds = [[seconds_per_image(recipe, data) for recipe in recipes] for _ in range(ROUNDS)]
    return [tuple(map(min, *(costs[place] for costs in rounds))) for place in range(len(recipes))]


def images_of(costs: Sequence[float], seconds: float) -> tuple[int, ...]:
    """The preset's plan drawn out to these CPU seconds."""
    plan = planned("small", "images", len(costs))
    whole = sum(count * cost for count, cost in zip(plan, costs, strict=True))
    return tuple(round(count * seconds / whole) for count in plan)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the 95 % t-interval; without one for a single seed."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return mean, mean, mean
    half = STUDENT_T[min(len(values) - 2, len(STUDENT_T) - 1)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def figures(measured: Sequence[Measured]) -> dict[str, list[float]]:
    """name -> a value for each seed."""
    metrics = [one.evaluation.metrics for one in measured]
    names = [name for name in metrics[0] if name.startswith("attribute_")]
    found = {name.removeprefix("attribute_"): [one[name].value for one in metrics] for name in names}
    found["score"] = [one["score"].value for one in metrics]
    return {**found, "distance": [one.distance.value for one in measured]}


def run_row(row: Row, recipe: Recipe, images: tuple[int, ...], data: PreparedData, options: Any) -> dict[str, Any]:
    measured, seconds = [], 0.0
    for seed in options.seeds:
        try:
            training = train(recipe.spec(data, images=images, seed=int(seed)), data)
        except DivergedError as error:
            return {"row": row.name, "images": images, "diverged": str(error)}
        seconds += sum(training.cpu_seconds)
        measured.append(measure(training, data, num_images=options.captions))
    return {"row": row.name, "images": images, "cpu_seconds": seconds / len(measured), **figures(measured)}


def line(result: Mapping[str, Any]) -> str:
    if "diverged" in result:
        return f"| {result['row']} | diverged: {result['diverged']} |"
    cells = [f"{result['row']}", f"{sum(result['images']) / 1000:.0f}k", f"{result['cpu_seconds']:.0f}"]
    for name, values in result.items():
        if isinstance(values, list):
            mean, low, _ = interval(values)
            digits = 1 if name == "distance" else 3
            cells.append(f"{mean:.{digits}f} ±{mean - low:.{digits}f}")
    return f"| {' | '.join(cells)} |"


def entries(results: Sequence[Mapping[str, Any]], title: str) -> list[dict[str, Any]]:
    """`small` minus each row, seed by seed: the share of all attributes, and the distance as a ratio."""
    found = []
    small = next((one for one in results if one["row"] == "small" and "share" in one), None)
    for result in results if small else []:
        if result is small or "diverged" in result:
            continue
        pairs = list(zip(small["share"], result["share"], strict=True))
        mean, low, high = interval([ours - theirs for ours, theirs in pairs])
        found.append(
            {
                "goal": f"{title}: attributes right, small minus {result['row']}",
                "target": 0.0,
                "measured": round(mean, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "n": len(pairs),
                "better": "higher",
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few faces, 8 px, two rows: under a minute")
    parser.add_argument("--minutes", type=float, default=1.5, help="CPU minutes of one training")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[:5], default=16, help="of the last stage, px")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="one training each")
    parser.add_argument("--only", help="rows beside small, separated by commas: peer,small without text.pooling")
    parser.add_argument("--faces", type=int, default=7000, help="faces of the demo data")
    parser.add_argument("--captions", type=int, default=1000, help="held-out captions that the figures are over")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "t2f-benchmarks" / "faces")
    options = parser.parse_args()
    judge_steps, cache_resolution = 1200, 64
    if options.quick:
        options.minutes, options.resolution, options.seeds, options.only = 0.06, 8, (0, 1), "peer"
        options.faces, options.captions, judge_steps, cache_resolution = 1000, 100, 100, 16
    configure(threads=1)
    data = demo_data(options.cache, faces=options.faces, resolution=cache_resolution, judge_steps=judge_steps)
    # `small` comes first: the others are compared with it.
    only = None if options.only is None else {"small", *options.only.split(",")}
    table = [row for row in rows() if only is None or row.name in only]
    recipes = [recipe_of(row, options.resolution) for row in table]
    costs = measured_costs(recipes, data)
    lengths = [images_of(cost, 60 * options.minutes) for cost in costs]
    results: list[dict[str, Any]] = []
    for row, recipe, images in zip(table, recipes, lengths, strict=True):
        images = lengths[0] if row.as_many_images else images
        results.append(run_row(row, recipe, images, data, options))
        if len(results) == 1:
            names = [name for name, values in results[0].items() if isinstance(values, list)]
            print(f"| {' | '.join(['recipe', 'images', 'CPU s', *names])} |\n|{'---|' * (len(names) + 3)}", flush=True)
        print(line(results[-1]), flush=True)
    print(json.dumps(entries(results, f"{options.minutes:g} CPU minutes, {options.resolution} px")))


if __name__ == "__main__":
    main()
