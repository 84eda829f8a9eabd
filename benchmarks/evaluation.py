"""How long judging takes: the whole evaluation of a 64 px model with 2,000 faces, generation included.

    python -m benchmarks.evaluation            64 px, 2,000 faces: a few minutes, of which drawing the data is most
    python -m benchmarks.evaluation --quick    16 px, 300 faces, under a minute

The data are the demo's faces, of which 2,000 are held out. The model is the preset small, untrained: time does not
depend on what it draws. Three things are timed, by the wall and by the processor's clock of this process:

    stage end    what every stage's end measures (`t2f.evaluation.evaluate`), its reference known
    first        everything that `t2f evaluate` measures without Inception, floor and ceiling included
    again        the same with floor and ceiling remembered, as for every further model of the data

Beside them stands the convolution rate of the machine (`protocol.convolution_rate`), by which other machines compare.
The last line of the output is a JSON list, one entry for each figure.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# No thread that waits spinning: read when torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch

from benchmarks.goals import entry
from benchmarks.protocol import convolution_rate
from t2f.data import PreparedData, PrepareOptions, prepare, render_demo
from t2f.errors import DataError
from t2f.evaluation import evaluate
from t2f.judge import JudgeOptions, load_judge, save_judge, train_judge
from t2f.networks import FaceModel
from t2f.reading import data_reader
from t2f.reference import reference_for
from t2f.report import make_report
from t2f.settings import PRESETS, Settings
from t2f.spec import StageSpec
from t2f.trainfile import ProbeSection

GOAL_SECONDS = 60.0
TRAINING_SHARE = 1.5  # training images for each held-out one


@dataclass(frozen=True, kw_only=True)
class Timed:
    name: str
    wall: float
    cpu: float


def held_out_data(cache: Path, *, held_out: int, resolution: int) -> PreparedData:
    """Demo faces of which so many are the validation split, with a judge; what the cache holds is used as it is."""
    count = round(held_out * (1 + TRAINING_SHARE))
    drawn, source = cache / f"drawn-{count}", cache / f"source-{count}-{held_out}"
    render_demo(drawn, count=count)
    if not (source / "metadata.jsonl").exists():
        shutil.copytree(drawn, source, dirs_exist_ok=True)
        lines = [json.loads(line) for line in (drawn / "metadata.jsonl").read_text().splitlines()]
        for number, line in enumerate(lines):
            line["split"] = "validation" if number < held_out else "train"
        (source / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = PrepareOptions(max_resolution=resolution)
    data = prepare(source, format="imagefolder", out=cache / f"prepared-{count}-{resolution}", options=options)
    try:
        load_judge(data)
    except DataError:
        judge_options = JudgeOptions(steps=100)
        save_judge(train_judge(data, options=judge_options), data, options=judge_options)
    return data


def timed(name: str, work: Callable[[], object]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    found = Timed(name=name, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
    print(f"  {name:10}{found.wall:8.1f} s wall{found.cpu:8.1f} s CPU", flush=True)
    return found


def measure(data: PreparedData, *, resolution: int, num_images: int) -> list[Timed]:
    judge, judge_sha256 = load_judge(data)
    for path in (data.path / "judge").glob("reference-*.json"):
        path.unlink()  # else the first evaluation would be a second one
    stage = StageSpec(
        resolution=resolution,
        images=1,
        fade_images=0,
        batch=2,
        seed=1,
        data_key=data.key,
        settings=Settings().with_values(PRESETS["small"]),
    )
    model, reader = FaceModel(stage, len(data.vocabulary)).eval(), data_reader(stage, data)
    spec = ProbeSection(images=num_images).evaluation(data, judge_sha256)
    given = {"resolution": resolution, "data": data, "judge": judge, "reader": reader, "spec": spec}
    first = timed("first", lambda: make_report(model, **given))
    again = timed("again", lambda: make_report(model, **given))
    reference = reference_for(data, judge, judge_sha256, resolution=resolution, spec=spec)
    return [first, again, timed("stage end", lambda: evaluate(model, reference=reference, **given))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 px, 300 faces, under a minute")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "t2f-benchmarks" / "evaluation")
    options = parser.parse_args()
    resolution, num_images = (16, 300) if options.quick else (64, 2000)
    torch.set_num_threads(1)
    rate = convolution_rate({"precision": "fp32"})["rate"]
    torch.set_num_threads(options.threads)
    data = held_out_data(options.cache, held_out=num_images, resolution=resolution)
    speed = f"convolution rate {rate / 1e9:.0f} GFLOP/s of one thread"
    print(f"{num_images} faces of {resolution} px, {options.threads} threads; {speed}", flush=True)
    found = measure(data, resolution=resolution, num_images=num_images)
    title = f"evaluation of {num_images} faces at {resolution} px"
    beside = {"convolution_gflops_one_thread": round(rate / 1e9, 1)}
    goals = [
        entry(f"{title}, {one.name}: seconds", GOAL_SECONDS, one.wall, "lower", cpu_seconds=round(one.cpu, 1), **beside)
        for one in found
    ]
    print(json.dumps(goals))


if __name__ == "__main__":
    main()
