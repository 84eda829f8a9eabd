"""Growing stage by stage against training the last resolution from the start, at equal CPU time, on the demo faces.

    python -m benchmarks.growth                         32 px after 2, 5 and 10 CPU minutes, one seed: 27 minutes
    python -m benchmarks.growth --minutes 1,2 --resolution 16 --seeds 0,1,2
    python -m benchmarks.growth --quick                 to see that it works, under a minute

Both have the network and settings of the preset `small`. Growing, each time is a training of its own, as its stages are
shares of the whole; from scratch one training is measured at each time, the layers of lower resolutions being there
from the first step on. The clock is the process's CPU time. Figures are over captions of unseen combinations; the
distance is the SWD (pixels below 16 px) in units of reals against reals. The last line is a JSON list.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

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
)
from benchmarks.faces import Measured, interval, measure, numbers
from benchmarks.goals import figure_entry
from t2f.data import PreparedData
from t2f.device import configure
from t2f.settings import PRESETS
from t2f.spec import RESOLUTIONS
from t2f.train import ema_model
from t2f.trainer import StageTrainer
from t2f.trainfile import planned

ENDLESS = 10**9  # images


def grown(recipe: Recipe, data: PreparedData, *, minutes: Sequence[float], seed: int) -> Iterator[Training]:
    """One training for each time, all stages of it."""
    costs = seconds_per_image(recipe, data)
    plan = planned("small", "images", len(costs))
    for time_limit in minutes:
        yield train(recipe.spec(data, images=images_of(plan, costs, 60 * time_limit), seed=seed), data)


def from_scratch(recipe: Recipe, data: PreparedData, *, minutes: Sequence[float], seed: int) -> Iterator[Training]:
    """One training of the last resolution, as it is after each time; one step of each stage below sets it up."""
    spec = recipe.spec(data, images=(*recipe.batch[:-1], ENDLESS), seed=seed)
    *lower, last = spec.stages()
    parent = None
    for stage in lower:
        trainer = StageTrainer(stage, data, parent=parent)
        trainer.step()
        parent = trainer.state()
    trainer, spent = StageTrainer(replace(last, fade_images=0), data, parent=parent), 0.0
    for time_limit in minutes:
        begun = time.process_time()
        while spent + time.process_time() - begun < 60 * time_limit:
            trainer.step()
            if trainer.position.step % 100 == 0:
                trainer.take_curves()  # raises if the training has diverged
        spent += time.process_time() - begun
        state = {name: tensor.clone() for name, tensor in trainer.state().items()}
        yield Training(spec=spec, cpu_seconds=(spent,), model=ema_model(last, state, len(data.vocabulary)))


def shares(measured: Sequence[Measured], name: str) -> list[float]:
    return [one.evaluation.metrics[name].value for one in measured]


def distances(measured: Sequence[Measured]) -> list[float]:
    return [one.distance.value for one in measured]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few faces, 8 px, seconds of training: under a minute")
    parser.add_argument("--minutes", type=numbers, default=(2, 5, 10), help="CPU minutes at which to compare")
    parser.add_argument("--resolution", type=int, choices=RESOLUTIONS[1:5], default=32, help="of the last stage, px")
    parser.add_argument("--seeds", type=numbers, default=(0,), help="one training each")
    parser.add_argument("--captions", type=int, default=1000, help="held-out captions that the figures are over")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.resolution, options.captions = (0.05, 0.1), 8, 100
    configure(threads=1)
    data = demo_data(options.cache, **(QUICK if options.quick else WHOLE))
    recipe = recipe_of(PRESETS["small"], options.resolution)
    times = sorted(options.minutes)
    ways = {"grown": grown, "from scratch": from_scratch}
    found: dict[str, list[list[Measured]]] = {way: [[] for _ in times] for way in ways}
    for seed in options.seeds:
        for way, run in ways.items():
            for place, training in enumerate(run(recipe, data, minutes=times, seed=int(seed))):
                found[way][place].append(measure(training, data, num_images=options.captions))
    print("| CPU minutes | way | attributes right | score | SWD / floor |\n|---|---|---|---|---|")
    entries = []
    for place, limit in enumerate(times):
        for way in ways:
            measured = found[way][place]
            right, score = (interval(shares(measured, name)).value for name in ("attribute_share", "score"))
            print(f"| {limit:g} | {way} | {right:.3f} | {score:.3f} | {interval(distances(measured)).value:.2f} |")
        where = f"{limit:g} CPU minutes, {options.resolution} px"
        both = zip(*(shares(found[way][place], "attribute_share") for way in ways), strict=True)
        difference = interval([ours - theirs for ours, theirs in both])
        goal = f"{where}: attributes right, grown minus from scratch"
        entries.append(figure_entry(goal, 0.0, difference, len(options.seeds), "higher"))
        both = zip(*(distances(found[way][place]) for way in ways), strict=True)
        ratio = interval([ours / theirs for ours, theirs in both])
        entries.append(figure_entry(f"{where}: SWD, grown over from scratch", 1.0, ratio, len(options.seeds), "lower"))
    print(json.dumps(entries))


if __name__ == "__main__":
    main()
