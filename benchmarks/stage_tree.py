"""What the stage tree saves: the same sweeps with and without sharing, by real training on the demo faces.

    python -m benchmarks.stage_tree                     three plans of stages, about half an hour on two cores
    python -m benchmarks.stage_tree --plans even        one of them
    python -m benchmarks.stage_tree --quick             two stages, seconds of training: to see that it works

Four sweeps of twelve trials a plan: a grid that differs at the last stage, one that differs from the third on, a second
grid at the last stage over the first one's tree, and ASHA over a grid from the second stage on. Each runs on two
workers of one thread; the first two are run again with `share_prefix: off`. Device time is the sum of the attempts'
seconds; the tree's prediction of the saving takes images and each resolution's seconds an image, which the unshared
sweep gives. The weights of every trial must be the same bits with and without sharing.

For comparison, Hippo (VLDB 15(5), tables 3 and 4) publishes 4.81 times less device time for one study and 6.77 for
several, 2.76 and 3.53 times end to end: ResNet56, MobileNetV2 and BERT on 40 GPUs, sequences of hyperparameters with
warm-ups and decays, mostly under ASHA. Here a stage is a resolution and a grid says where it differs, so the saving
is what the plan makes of it; only the way of counting is the same. The last line is a JSON list.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from benchmarks.demo import CACHE, QUICK, WHOLE, demo_data
from benchmarks.goals import entry
from benchmarks.sweeping import Bench, Ran, bench_on
from scheduler.states import TrialState
from t2f.spec import RESOLUTIONS

# Images of each stage, in units that --scale gives: the article's, equal ones, and most of them at the end.
PLANS = {"article": (160, 80, 40, 20, 10), "even": (50, 50, 50, 50), "late": (10, 20, 40, 40)}
SWEEP = """
name: {name}
data: {{dataset: demo}}
preset: small
seed: {seed}
stages: {{resolutions: {resolutions}, images: {images}, batch: 16, fade: 0.3}}
share_prefix: {share}
parameters:
  generator.learning_rate: {{values: {generator}, from_stage: {first}}}
  discriminator.learning_rate: {{values: [0.001, 0.002, 0.004], from_stage: {first}}}
early_terminate: {{type: {stopping}, min_stage: {first}}}
probe: {{captions: [long pink hair], seeds: 1, images: 16}}
checkpoint: {{seconds: 600}}
"""
RATES = {"first": (0.001, 0.002, 0.003, 0.004), "second": (0.0015, 0.0025, 0.0035, 0.005)}


class PlanBench:
    """The sweeps of one plan of stages."""

    def __init__(self, bench: Bench, plan: str, images: Sequence[int]) -> None:
        self._bench, self._plan, self._images = bench, plan, images

    def run(self, name: str, *, first: int, share: bool = True, rates: str = "first", stopping: str = "none") -> Ran:
        """Submit a grid of twelve that differs from this resolution on, and wait for its end."""
        ran = self._bench.run(
            SWEEP.format(
                name=f"{self._plan}-{name}",
                seed=int(stopping != "none"),  # ASHA shares nothing with the grids
                resolutions=list(RESOLUTIONS[: len(self._images)]),
                images=list(self._images),
                share="on" if share else "off",
                generator=list(RATES[rates]),
                first=first,
                stopping=stopping,
            )
        )
        if any(trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) for trial in ran.trials.values()):
            raise SystemExit(f"{ran.sweep.name}: {[(trial.name, trial.state) for trial in ran.trials.values()]}")
        return ran


def weights(ran: Ran) -> dict[int, str]:
    """Trial number -> hash of its last stage's weights."""
    return {ran.trials[trial].number: ran.runs[path[-1]].weights_sha256 for trial, path in ran.progress.paths.items()}


def predicted(shared: Ran, unshared: Ran) -> float:
    """The saving by images and by what an image of each resolution costs."""
    costs = {resolution: unshared.seconds[resolution] / count for resolution, count in unshared.images.items()}
    return unshared.device_seconds / sum(costs[resolution] * count for resolution, count in shared.images.items())


def entries(plan: str, case: str, shared: Ran, unshared: Ran) -> list[dict[str, Any]]:
    saving = unshared.device_seconds / shared.device_seconds
    end_to_end = unshared.wall_seconds / shared.wall_seconds
    foretold = predicted(shared, unshared)
    print(
        f"| {plan} | {case} | {len(unshared.new)} | {len(shared.new)} | {foretold:.2f} | {saving:.2f} | "
        f"{end_to_end:.2f} |",
        flush=True,
    )
    where = f"{plan} plan, {case}"
    return [
        entry(f"{where}: |measured / predicted saving - 1|", 0.05, abs(saving / foretold - 1), "lower"),
        entry(f"{where}: device time saved, times", 1.0, saving, "higher"),
        entry(f"{where}: end to end, times", 1.0, end_to_end, "higher"),
    ]


def run_plan(plan: str, bench: PlanBench, stages: int) -> list[dict[str, Any]]:
    last, third, second = RESOLUTIONS[stages - 1], RESOLUTIONS[min(2, stages - 1)], RESOLUTIONS[min(1, stages - 2)]
    found: list[dict[str, Any]] = []
    alone = bench.run("last-alone", first=last, share=False)
    shared = bench.run("last", first=last)
    found += entries(plan, "grid at the last stage", shared, alone)
    same = weights(shared) == weights(alone)
    found += entries(plan, "second grid over its tree", bench.run("last-again", first=last, rates="second"), alone)
    if third != last:
        alone = bench.run("third-alone", first=third, share=False)
        shared = bench.run("third", first=third)
        found += entries(plan, "grid from the third stage on", shared, alone)
        same = same and weights(shared) == weights(alone)
    found += entries(plan, "ASHA from the second stage on", bench.run("asha", first=second, stopping="asha"), alone)
    return [*found, entry(f"{plan} plan: same bits as without sharing", 1, int(same), "higher")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two stages of a few steps: under a minute")
    parser.add_argument("--plans", default=",".join(PLANS), help="which plans, separated by commas")
    parser.add_argument("--scale", type=float, default=12, help="images of one unit of a plan")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    plans = {name: PLANS[name] for name in options.plans.split(",")}
    scale = options.scale
    if options.quick:
        plans, scale = {"quick": (2, 2)}, 16
    data = demo_data(options.cache, **(QUICK if options.quick else WHOLE))
    print("| plan | sweep | stage runs unshared | trained | predicted | device time | end to end |")
    print("|---|---|---|---|---|---|---|")
    found: list[dict[str, Any]] = []
    with bench_on(data) as bench:
        for name, units in plans.items():
            images = [max(32, round(scale * unit)) for unit in units]
            found += run_plan(name, PlanBench(bench, name, images), len(units))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
