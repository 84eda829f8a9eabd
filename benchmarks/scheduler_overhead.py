"""What the scheduler costs beside the training: many short stage runs on two workers, with a real Ray.

    python -m benchmarks.scheduler_overhead            200 stage runs of half a second, about three minutes
    python -m benchmarks.scheduler_overhead --quick    30 stage runs, under a minute

The workers are warm when the clock starts: the first stage runs are left out. *busy* is the time in which workers
trained, or measured what was trained (a small evaluation, which cannot be switched off), by their own clocks. The
overhead is what the wall time is longer than busy / workers. The last line of the output is a JSON list.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.goals import entry
from workers.environment import prepare_environment

WORKERS = 2
GOAL = 0.10
SWEEP = """
name: overhead
data: {dataset: tiny}
preset: small
stages: {resolutions: [4], images: [%(images)d], batch: 8}
parameters:
  text.hidden: 16
  network.latent: 24
  network.conditioning: 12
  network.feature_base: 128
  network.feature_max: 16
  generator.learning_rate: {values: [%(rates)s]}
probe: {captions: [long pink hair], seeds: 1, images: 16}
"""


def sweep_text(runs: int, images: int) -> str:
    """So many trials of one stage that share nothing."""
    return SWEEP % {"images": images, "rates": ", ".join(f"{0.001 + 1e-6 * number:.6f}" for number in range(runs))}


def measure(place: Path, *, runs: int, seconds: float) -> dict[str, float]:
    # Ray reads its token mode when it is imported.
    import sqlalchemy as sa

    from scheduler import reads, submitting
    from scheduler import tables as t
    from scheduler.delivering import HookThreads
    from scheduler.home import Home
    from scheduler.runner import Runner, RunnerSettings, start_pool
    from scheduler.store import Store
    from scheduler.sweepfile import read_sweep
    from t2f.data import PrepareOptions, prepare, render_demo
    from t2f.device import configure
    from t2f.judge import JudgeOptions, save_judge, train_judge
    from t2f.trainer import StageTrainer
    from t2f.trainfile import Section
    from t2f.yamlfile import parse_yaml
    from workers.cluster import start_ray, stop_ray

    render_demo(place / "faces", count=96, seed=0)
    data = prepare(
        place / "faces",
        format="imagefolder",
        out=place / "data" / "tiny",
        options=PrepareOptions(max_resolution=4, min_count=1),
    )
    judge_options = JudgeOptions(steps=30, batch=32)
    judge = save_judge(train_judge(data, options=judge_options), data, options=judge_options)

    def resolve(images: int):
        content = parse_yaml(sweep_text(runs, images), source="overhead")
        return read_sweep(Section(content, "overhead"), place).resolve(data, judge)

    # As many images as take a worker of one thread about so long.
    configure(threads=1)
    trial = resolve(10_000)
    trainer = StageTrainer(trial.space.stages(submitting.new_trials(trial)[0].parameters)[0], data)
    for _ in range(10):
        trainer.step()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        trainer.step()
        steps += 1
    home = Home(path=place)
    database = home.create()
    store = Store(database)
    resolved = resolve(8 * steps)
    submitting.submit_sweep(store, resolved, name="overhead", submitted="", data_name="tiny")
    start_ray(num_cpus=WORKERS)
    settings = RunnerSettings(home=place, database_url=home.database_url, cpu_shares=WORKERS)
    runner = Runner(database, store, start_pool(settings), settings, HookThreads(store, place))
    try:
        runner.run(should_stop=lambda: not reads.open_sweeps(database))
    finally:
        runner.close()
        stop_ray()
    with database.read.begin() as connection:
        attempts = connection.execute(sa.select(t.attempts).order_by(t.attempts.c.claimed)).all()
        evaluations = connection.execute(sa.select(t.evaluations.c.seconds, t.evaluations.c.ended)).all()
    warm = attempts[2 * WORKERS :]
    start, end = warm[0].claimed, max(row.ended for row in evaluations)
    training = sum(row.ended - row.started for row in warm)
    measuring = sum(row.seconds for row in evaluations if row.ended > start)
    wall, busy = end - start, (training + measuring) / WORKERS
    return {
        "stage_runs": len(warm),
        "seconds_each": training / len(warm),
        "evaluation_seconds_each": measuring / len(warm),
        "wall_seconds": wall,
        "busy_seconds": busy,
        "overhead": wall / busy - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 stage runs")
    parser.add_argument("--runs", type=int, default=200, help="stage runs")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one training, about")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="t2f-overhead-") as place:
        prepare_environment(Path(place))
        figures = measure(Path(place), runs=30 if options.quick else options.runs, seconds=options.seconds)
    for name, value in figures.items():
        print(f"{name:25} {value:10.4g}")
    what = f"{figures['stage_runs']} stage runs of {figures['seconds_each']:.2g} s"
    goal = f"{what}: wall time beyond training and measuring, share"
    print(json.dumps([entry(goal, GOAL, figures["overhead"], "lower")]))


if __name__ == "__main__":
    main()
