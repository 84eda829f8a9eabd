"""Growing stage by stage against training the last resolution from the start, at equal CPU time, on the demo faces.

    python -m benchmarks.growth                         32 px after 2, 5 and 10 CPU minutes, one seed: 27 minutes
    python -m benchmarks.growth --minutes 1,2 --resolution 16 --seeds 0,1,2
    python -m benchmarks.growth --quick                 to see that it works, under a minute

Both have the network and settings of the preset `small`. Growing, each time is a training of its own, as its stages are
shares of the whole; from scratch one training is measured at each time, the layers of lower resolutions being there
from the first step on. The clock is the process's CPU time. Figures are over captions of unseen combinations; the
distance is the SWD (pixels below 16 px) in units of reals against reals. What is measured is kept, and a training goes
on where it was, when the command is given again. The last line is a JSON list.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.demo import (
    CACHE,
    QUICK,
    WHOLE,
    ClockedTrainer,
    Recipe,
    Training,
    demo_data,
    images_of,
    kept,
    recipe_of,
    seconds_per_image,
    train,
)
from benchmarks.faces import interval, measure, numbers
from benchmarks.goals import figure_entry
from t2f.data import PreparedData
from t2f.device import configure
from t2f.settings import PRESETS
from t2f.spec import RESOLUTIONS, TRAINING_VERSION, TrainingSpec, stage_keys
from t2f.train import ema_model
from t2f.trainer import StageTrainer
from t2f.trainfile import planned

ENDLESS = 10**9  # images
Told = Mapping[str, float]  # attributes right, score, distance in units of its floor


def told(training: Training, data: PreparedData, captions: int) -> Told:
    measured = measure(training, data, num_images=captions)
    metrics = measured.evaluation.metrics
    shares = {"attributes": metrics["attribute_share"].value, "score": metrics["score"].value}
    return {**shares, "distance": measured.distance.value}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What both ways are compared on."""

    recipe: Recipe
    data: PreparedData
    captions: int
    folder: Path | None  # of what is kept

    def place(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name


def grown(setting: Setting, *, minutes: Sequence[float], seed: int) -> Iterator[Told]:
    """One training for each time, all stages of it."""
    recipe, data = setting.recipe, setting.data
    costs = kept(setting.place("costs.json"), partial(seconds_per_image, recipe, data))
    plan = planned("small", "images", len(costs))
    for time_limit in minutes:
        name = f"grown-{time_limit:g}-seed-{seed}"
        spec = recipe.spec(data, images=images_of(plan, costs, 60 * time_limit), seed=seed)

        def measured(spec: TrainingSpec = spec, name: str = name) -> Told:
            return told(train(spec, data, setting.place(name)), data, setting.captions)

        yield kept(setting.place(f"{name}.json"), measured)


def from_scratch(setting: Setting, *, minutes: Sequence[float], seed: int) -> Iterator[Told]:
    """One training of the last resolution, as it is after each time; one step of each stage below sets it up."""
    recipe, data = setting.recipe, setting.data
    spec = recipe.spec(data, images=(*recipe.batch[:-1], ENDLESS), seed=seed)
    *lower, last = spec.stages()
    name = f"from-scratch-seed-{seed}"

    @cache
    def clocked() -> ClockedTrainer:
        parent = None
        for stage in lower:
            trainer = StageTrainer(stage, data, parent=parent)
            trainer.step()
            parent = trainer.state()
        stage, key = replace(last, fade_images=0), stage_keys(spec.stages())[-1]
        return ClockedTrainer(stage, data, key=key, parent=parent, path=setting.place(f"{name}.safetensors"))

    for time_limit in minutes:

        def measured(time_limit: float = time_limit) -> Told:
            clocked().train(until=60 * time_limit)
            model = ema_model(last, clocked().state(), len(data.vocabulary))
            training = Training(spec=spec, cpu_seconds=(clocked().cpu_seconds,), model=model)
            return told(training, data, setting.captions)

        yield kept(setting.place(f"{name}-{time_limit:g}.json"), measured)


def entries(found: Mapping[tuple[str, float], Sequence[Told]], resolution: int) -> list[dict[str, Any]]:
    """Growing beside training from scratch at each time, seed by seed."""
    made = []
    for limit in sorted({limit for _, limit in found}):
        where = f"{limit:g} CPU minutes, {resolution} px"
        pairs = list(zip(found["grown", limit], found["from scratch", limit], strict=True))
        ahead = interval([ours["attributes"] - theirs["attributes"] for ours, theirs in pairs])
        goal = f"{where}: attributes right, grown minus from scratch"
        made.append(figure_entry(goal, 0.0, ahead, len(pairs), "higher"))
        ratio = interval([ours["distance"] / theirs["distance"] for ours, theirs in pairs])
        made.append(figure_entry(f"{where}: SWD, grown over from scratch", 1.0, ratio, len(pairs), "lower"))
    return made


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
    name = f"{options.resolution}px-{options.captions}-v{TRAINING_VERSION}-{data.key[:8]}"
    setting = Setting(
        recipe=recipe_of(PRESETS["small"], options.resolution),
        data=data,
        captions=options.captions,
        folder=None if options.quick else options.cache.parent / "growth" / name,
    )
    times = sorted(options.minutes)
    found: dict[tuple[str, float], list[Told]] = {}
    print("| seed | CPU minutes | way | attributes right | score | SWD / floor |\n|---|---|---|---|---|---|")
    for seed in map(int, options.seeds):
        for way, run in {"grown": grown, "from scratch": from_scratch}.items():
            for limit, one in zip(times, run(setting, minutes=times, seed=seed), strict=True):
                found.setdefault((way, limit), []).append(one)
                figures = f"{one['attributes']:.3f} | {one['score']:.3f} | {one['distance']:.2f}"
                print(f"| {seed} | {limit:g} | {way} | {figures} |", flush=True)
    print(json.dumps(entries(found, options.resolution)))


if __name__ == "__main__":
    main()
