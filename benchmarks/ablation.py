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
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.demo import CACHE, QUICK, WHOLE, Recipe, demo_data, images_of, recipe_of, seconds_per_image, train
from benchmarks.faces import Measured, interval, measure, numbers
from benchmarks.goals import figure_entry
from t2f.data import PreparedData
from t2f.device import configure
from t2f.settings import PRESETS, Value
from t2f.spec import RESOLUTIONS
from t2f.trainer import DivergedError
from t2f.trainfile import planned

SIZES = ("text.word_embedding", "text.hidden", "text.layers", "text.embedding", "network.latent")
SIZES += ("network.conditioning", "network.feature_base", "network.feature_max")
# Changes that belong together.
TOGETHER = (("generator.learning_rate", "discriminator.learning_rate"), ("ema.half_life", "ema.ramp_up"))
ROUNDS = 3  # of measuring steps


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


def measured_costs(recipes: Sequence[Recipe], data: PreparedData) -> list[tuple[float, ...]]:
    """CPU seconds an image of each stage of each recipe: the least of rounds in which all take turns."""
    rounds = [[seconds_per_image(recipe, data) for recipe in recipes] for _ in range(ROUNDS)]
    return [tuple(map(min, *(costs[place] for costs in rounds))) for place in range(len(recipes))]


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
            found, digits = interval(values), 1 if name == "distance" else 3
            cells.append(f"{found.value:.{digits}f} ±{found.value - found.low:.{digits}f}")
    return f"| {' | '.join(cells)} |"


def entries(results: Sequence[Mapping[str, Any]], title: str) -> list[dict[str, Any]]:
    """`small` minus each row, seed by seed: the share of all attributes."""
    found = []
    small = next((one for one in results if one["row"] == "small" and "share" in one), None)
    for result in results if small else []:
        if result is small or "diverged" in result:
            continue
        differences = [ours - theirs for ours, theirs in zip(small["share"], result["share"], strict=True)]
        goal = f"{title}: attributes right, small minus {result['row']}"
        found.append(figure_entry(goal, 0.0, interval(differences), len(differences), "higher"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few faces, 8 px, two rows: under a minute")
    parser.add_argument("--minutes", type=float, default=1.5, help="CPU minutes of one training")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[:5], default=16, help="of the last stage, px")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="one training each")
    parser.add_argument("--only", help="rows beside small, separated by commas: peer,small without text.pooling")
    parser.add_argument("--faces", type=int, default=WHOLE["faces"], help="faces of the demo data")
    parser.add_argument("--captions", type=int, default=1000, help="held-out captions that the figures are over")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.resolution, options.seeds, options.only = 0.06, 8, (0, 1), "peer"
        options.captions = 100
    configure(threads=1)
    data = demo_data(options.cache, **(QUICK if options.quick else {**WHOLE, "faces": options.faces}))
    # `small` comes first: the others are compared with it.
    only = None if options.only is None else {"small", *options.only.split(",")}
    table = [row for row in rows() if only is None or row.name in only]
    recipes = [recipe_of(row.values, options.resolution) for row in table]
    costs = measured_costs(recipes, data)
    plan = planned("small", "images", len(costs[0]))
    lengths = [images_of(plan, cost, 60 * options.minutes) for cost in costs]
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
