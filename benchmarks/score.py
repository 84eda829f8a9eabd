"""Is the score right? Spearman of score and true attribute accuracy over the runs of one unselected sweep at 16 px.

    python -m benchmarks.score --runs 24       hours of CPU: 24 trainings of 4 to 16 px, one after another
    python -m benchmarks.score --quick         6 short trainings to 8 px, under a minute: to see that it works

Nobody is stopped early and nothing is chosen: every run counts. Settings are drawn at random, widely, so that good and
bad ones are among them: learning rates, the loss, the weight of the penalty, length, how much text it reads. The truth
is the share of asked-for attributes in the faces of the test split, as an examiner finds them: a network of the judge's
kind, trained from another seed, of which the score knows nothing. Runs that diverge are counted and left out.

What is known of finished runs is kept in --out, a file of JSON a run, and not trained again. The last line of the
output is a JSON list. The correlations of --quick mean nothing: its runs are too short to differ.
"""

import argparse
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.demo import CACHE, QUICK, WHOLE, demo_data, kept, train
from benchmarks.goals import figure_entry
from scheduler.comparing import spearman_figure
from t2f.data import PreparedData
from t2f.device import configure
from t2f.drawing import draw, noise
from t2f.evaluation import evaluate
from t2f.judge import Judge, JudgeOptions, load_judge, train_judge
from t2f.networks import FaceModel
from t2f.pairs import reference_pairs, right_captions
from t2f.reading import Reader, data_reader
from t2f.reference import reference_for
from t2f.settings import PRESETS, Settings, Value
from t2f.spec import RESOLUTIONS, TRAINING_VERSION, StagePlan, TrainingSpec
from t2f.trainer import DivergedError
from t2f.trainfile import ProbeSection

GOAL = 0.7
EXAMINER_SEED = 1  # the judge's is 0
FINDING = ("score", "fidelity", "text", "swd", "pixel_distance", "colour_distance", "r_precision")


@dataclass(frozen=True, kw_only=True)
class Plan:
    resolution: int
    images: int  # of a whole run's longest stage
    judged: int  # faces of an evaluation


def drawn_settings(number: int) -> tuple[dict[str, Value], float]:
    """Settings of one run and the share of the plan's images it is shown; a pure function of the run's number."""
    random = np.random.default_rng([number, 16])
    loss = str(random.choice(["wgan-gp", "logistic-r1", "hinge"]))
    values: dict[str, Value] = {
        "loss.name": loss,
        "generator.learning_rate": float(np.exp(random.uniform(np.log(5e-4), np.log(4e-3)))),
        "discriminator.learning_rate": float(np.exp(random.uniform(np.log(5e-4), np.log(4e-3)))),
        "text.caption_dropout": float(random.choice([0.0, 0.5, 0.9])),
    }
    if loss == "logistic-r1":
        values["loss.r1_gamma"] = float(np.exp(random.uniform(np.log(0.1), np.log(10))))
    return values, float(random.choice([0.25, 0.5, 1.0]))


def run(number: int, data: PreparedData, plan: Plan, examiner: Judge) -> dict[str, Any]:
    """Train and judge one run: its figures on validation, its truth on the test split."""
    values, share = drawn_settings(number)
    resolutions = RESOLUTIONS[: RESOLUTIONS.index(plan.resolution) + 1]
    images = tuple(max(256, round(share * plan.images)) for _ in resolutions)
    settings = Settings().with_values({**PRESETS["small"], **values})
    stage_plan = StagePlan(
        resolutions=resolutions,
        images=images,
        fade=(0.0, *(0.3,) * (len(resolutions) - 1)),
        batch=(32,) * len(resolutions),
    )
    spec = TrainingSpec(data_key=data.key, seed=number, plan=stage_plan, settings=settings)
    told = {"run": number, "settings": values, "images": images}
    try:
        model = train(spec, data).model
    except DivergedError as error:
        return {**told, "diverged": str(error)}
    judge, judge_sha256 = load_judge(data)
    stage, reader = spec.stages()[-1], data_reader(spec.stages()[-1], data)
    probe = ProbeSection(images=plan.judged, seeds=1).evaluation(data, judge_sha256)
    found = evaluate(
        model,
        resolution=stage.resolution,
        data=data,
        judge=judge,
        reader=reader,
        reference=reference_for(data, judge, judge_sha256, resolution=stage.resolution, spec=probe),
        spec=probe,
    )
    return {**told, "metrics": found.metrics_json(), "truth": truth(model, reader, data, plan, examiner)}


def truth(model: FaceModel, reader: Reader, data: PreparedData, plan: Plan, examiner: Judge) -> float:
    """The share of asked-for attributes in faces for captions of the test split."""
    split = data.split("test")
    pairs = reference_pairs(split, plan.judged)
    faces = draw(model, right_captions(split, pairs, reader), noise(model, "examination", plan.judged))
    return float((examiner.attributes(faces).numpy() == split.attributes_NA[pairs.image_N]).mean())


def all_runs(count: int, data: PreparedData, plan: Plan, examiner: Judge, folder: Path | None) -> list[dict[str, Any]]:
    """Every run, each kept as soon as it is there."""
    found = []
    for number in range(count):
        begun, path = time.process_time(), folder and folder / f"{number}.json"
        found.append(kept(path, partial(run, number, data, plan, examiner)))
        print(f"run {number}: {said(found[-1])}, {time.process_time() - begun:.0f} CPU seconds", flush=True)
    return found


def said(one: dict[str, Any]) -> str:
    if "diverged" in one:
        return "diverged"
    return f"score {one['metrics']['score']['value']:.3f}, attributes right {one['truth']:.3f}"


def correlation(runs: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Spearman's correlation of a figure with the truth, its sign turned where less is better."""
    sign = -1 if name in ("swd", "pixel_distance", "colour_distance") else 1
    pairs = [
        (sign * one["metrics"][name]["value"], one["truth"])
        for one in runs
        if "metrics" in one and name in one["metrics"]
    ]
    figure = spearman_figure(*np.array(pairs).T) if len(pairs) >= 3 else None
    if figure is None:
        return None
    return figure_entry(f"Spearman of {name} and attributes right, {figure.note}", GOAL, figure, len(pairs), "higher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--kimg", type=float, default=40, help="thousand images a stage of the longest runs")
    parser.add_argument("--quick", action="store_true", help="6 runs to 8 px, under a minute")
    parser.add_argument("--cache", type=Path, default=CACHE, help="the demo faces")
    parser.add_argument("--out", type=Path, help="folder of finished runs; default: in the cache, named after the plan")
    options = parser.parse_args()
    configure(threads=1)
    if options.quick:
        plan, count, made = Plan(resolution=8, images=1000, judged=100), 6, QUICK
    else:
        plan, count, made = Plan(resolution=16, images=round(1000 * options.kimg), judged=500), options.runs, WHOLE
    data = demo_data(options.cache, **made)
    examiner = train_judge(data, options=JudgeOptions(steps=made["judge_steps"], seed=EXAMINER_SEED))
    name = f"{plan.resolution}px-{plan.images}-v{TRAINING_VERSION}-{data.key[:12]}"
    folder = None if options.quick else options.out or options.cache.parent / "score" / name
    runs = all_runs(count, data, plan, examiner, folder)
    diverged = sum("diverged" in one for one in runs)
    print(f"{len(runs)} runs at {plan.resolution} px, {diverged} diverged; nobody was chosen")
    entries = [entry for name in FINDING if (entry := correlation(runs, name)) is not None]
    for entry in entries:
        print(f"  {entry['goal']:66}{entry['measured']:7.3f} ({entry['low']:.3f} to {entry['high']:.3f})")
    if options.quick:
        entries = [{**entry, "goal": f"quick, of no meaning: {entry['goal']}"} for entry in entries]
    print(json.dumps(entries))


if __name__ == "__main__":
    main()
