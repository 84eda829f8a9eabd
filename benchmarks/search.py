"""Does the search work? TPE with ASHA, and `grow`, at a quarter of a full grid's compute, on the demo faces.

    python -m benchmarks.search                 16 px, a grid of 36, three seeds: about an hour on two cores
    python -m benchmarks.search --seeds 0       one seed
    python -m benchmarks.search --quick         8 px, a grid of four: to see that it works, under a minute

The grid is both learning rates, six values each, a factor of 64 apart. The two searches draw from the same ranges.
Each is a sweep on two workers by real training, and its end is its `budget`: gpu_hours, a quarter of the grid's device
time. Compared is the best score of the last stage with the lower end of the 95 % interval of the grid's best. Beside
them: the best of as many trials of the grid as a quarter of its compute pays for, the mean over all such choices.

Compute is told by images: each resolution's images times what an image of it took on average in this run, so that
other work on the machine counts for all alike. The last line is a JSON list.
"""

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.demo import CACHE, QUICK, WHOLE, demo_data
from benchmarks.faces import interval, numbers
from benchmarks.goals import figure_entry
from benchmarks.sweeping import Bench, Ran, bench_on
from t2f.spec import RESOLUTIONS

WAYS = ("TPE and ASHA", "grow")
SHARE = 0.25  # of the grid's compute
LOW, HIGH = 2.5e-4, 1.6e-2  # learning rates
SWEEP = """
name: {name}
data: {{dataset: demo}}
preset: small
seed: {seed}
stages: {{resolutions: {resolutions}, images: {images}, batch: 16, fade: [0, {fades}]}}
probe: {{captions: [long pink hair], seeds: 1, images: {judged}}}
checkpoint: {{seconds: 600}}
"""
GRID = """
method: grid
parameters:
  generator.learning_rate: {{values: {values}}}
  discriminator.learning_rate: {{values: {values}}}
"""
RANGES = """
parameters:
  generator.learning_rate: {{distribution: log_uniform, min: {low}, max: {high}}}
  discriminator.learning_rate: {{distribution: log_uniform, min: {low}, max: {high}}}
"""
TPE = """
method: tpe
early_terminate: {{type: asha, eta: {eta}, min_stage: 4}}
budget: {{max_trials: 1000, gpu_hours: {hours}}}
"""
GROW = """
method: grow
grow: {{population: {population}, keep: {keep}, children: 3, min_stage: 4}}
budget: {{max_trials: 1000, gpu_hours: {hours}}}
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large everything is."""

    images: tuple[int, ...]
    values: int  # of each learning rate in the grid
    judged: int  # faces
    population: int
    keep: int
    eta: int = 3

    def head(self, name: str, seed: int) -> str:
        stages = len(self.images)
        return SWEEP.format(
            name=f"{name}-{seed}",
            seed=seed,
            resolutions=list(RESOLUTIONS[:stages]),
            images=list(self.images),
            fades=", ".join(["0.3"] * (stages - 1)),
            judged=self.judged,
        )


FULL = Size(images=(3_000, 2_000, 2_500), values=6, judged=300, population=16, keep=3)
SMALL = Size(images=(320, 160), values=2, judged=64, population=3, keep=1, eta=2)


def rates(count: int) -> list[float]:
    step = (HIGH / LOW) ** (1 / (count - 1))
    return [float(f"{LOW * step**number:.3g}") for number in range(count)]


def finals(ran: Ran) -> dict[int, Mapping[str, float]]:
    """Stage run of the last resolution -> its score, with the interval."""
    last = max(run.resolution for run in ran.progress.stage_runs)
    return {
        run.id: run.evaluation.metrics["score"]
        for run in ran.progress.stage_runs
        if run.resolution == last and run.evaluation is not None and run.evaluation.value("score") is not None
    }


def best(ran: Ran) -> Mapping[str, float]:
    return max(finals(ran).values(), key=lambda score: score["value"], default={"value": 0.0, "low": 0.0, "high": 0.0})


def best_of_chance(values: Sequence[float], count: int) -> float:
    """The mean, over all choices of `count` of the values, of the best one among them."""
    ordered = sorted(values)
    total = math.comb(len(ordered), count)
    return sum(value * math.comb(place, count - 1) for place, value in enumerate(ordered)) / total


def compute(ran: Ran, costs: Mapping[int, float]) -> float:
    """Device seconds at the costs of an image that hold for all sweeps."""
    return sum(count * costs[resolution] for resolution, count in ran.images.items())


def costs_of(all_ran: Sequence[Ran]) -> dict[int, float]:
    """px -> mean device seconds of an image."""
    seconds, images = (
        {px: sum(getattr(ran, what).get(px, 0) for ran in all_ran) for px in RESOLUTIONS}
        for what in ("seconds", "images")
    )
    return {px: seconds[px] / images[px] for px in RESOLUTIONS if images[px]}


def sweeps(size: Size, *, seed: int, hours: float) -> dict[str, str]:
    """The three sweep files; the searches end once these device hours are spent."""
    ranges = RANGES.format(low=LOW, high=HIGH)
    return {
        "grid": size.head("grid", seed) + GRID.format(values=rates(size.values)),
        "TPE and ASHA": size.head("tpe", seed) + TPE.format(eta=size.eta, hours=hours) + ranges,
        "grow": size.head("grow", seed) + GROW.format(population=size.population, keep=size.keep, hours=hours) + ranges,
    }


def search(bench: Bench, size: Size, seed: int) -> dict[str, Ran]:
    grid = bench.run(sweeps(size, seed=seed, hours=1.0)["grid"])
    # What runs when a budget is spent goes on to the end of its stage.
    hours = 0.9 * SHARE * grid.device_seconds / 3600
    texts = sweeps(size, seed=seed, hours=hours)
    return {"grid": grid, **{way: bench.run(texts[way]) for way in WAYS}}


def entries(found: Sequence[Mapping[str, Ran]]) -> list[dict[str, Any]]:
    made = []
    costs = costs_of([ran for one in found for ran in one.values()])
    for way in WAYS:
        ahead = [best(one[way])["value"] - best(one["grid"])["low"] for one in found]
        shares = [compute(one[way], costs) / compute(one["grid"], costs) for one in found]
        made.append(
            figure_entry(
                f"{way}: best score minus the lower end of the grid's best", 0.0, interval(ahead), len(found), "higher"
            )
        )
        made.append(figure_entry(f"{way}: compute, share of the grid's", SHARE, interval(shares), len(found), "lower"))
    return made


def print_seed(seed: int, found: Mapping[str, Ran]) -> None:
    costs = costs_of(list(found.values()))
    whole = compute(found["grid"], costs)
    for way, ran in found.items():
        score, share = best(ran), compute(ran, costs) / whole
        print(
            f"| {seed} | {way} | {len(ran.trials)} | {len(ran.new)} | {len(finals(ran))} | {share:.2f} | "
            f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}) |",
            flush=True,
        )
    values = [score["value"] for score in finals(found["grid"]).values()]
    count = max(1, int(SHARE * len(values)))
    chance = best_of_chance(values, count)
    print(f"| {seed} | {count} of the grid by chance | {count} | | {count} | {SHARE} | {chance:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 px, a grid of four, seconds of training")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="one grid and two searches each")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    size, seeds = (SMALL, (0,)) if options.quick else (FULL, options.seeds)
    data = demo_data(options.cache, **(QUICK if options.quick else WHOLE))
    print(
        "| seed | way | trials | stage runs | at the last stage | compute | best score |\n|---|---|---|---|---|---|---|"
    )
    found = []
    with bench_on(data) as bench:
        for seed in seeds:
            found.append(search(bench, size, int(seed)))
            print_seed(int(seed), found[-1])
    print(json.dumps(entries(found)))


if __name__ == "__main__":
    main()
