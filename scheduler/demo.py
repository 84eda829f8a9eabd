"""The demo: from nothing to faces from sentences, with real parts and embedded defaults, in a few minutes."""

import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

from scheduler import model_reads, reads, submitting
from scheduler.finalists import place_of
from scheduler.home import Home
from scheduler.reads import StageRun, Sweep
from scheduler.registry import BEST
from scheduler.rungs import is_rung
from scheduler.store import Store
from scheduler.sweep_cli import print_tree
from scheduler.sweepfile import SweepSpec, read_sweep_file
from scheduler.system import System, SystemSettings
from t2f.cli import bar, console, ensure_judge
from t2f.data import PreparedData, PrepareOptions, prepare, render_demo
from t2f.errors import UserError
from t2f.generate import open_bundle
from t2f.pictures import captioned_sheet

JUDGE_STEPS = 400
SENTENCES = (
    "a person with long blonde hair and light skin, smiling",
    "someone with a short black bob, dark skin and round glasses",
    "wild curly ginger hair, pale skin",
    "grey hair tied in a bun, brown skin and a short beard",
    "a tan-skinned person with long blue hair",
    "pale skin, a big white afro and a full beard",
    "golden skin, shaggy brown hair and sunglasses",
    "long pink hair, dark skin, showing the teeth",
)


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    file: Path
    out: Path
    faces: int
    port: int


def run_demo(settings: DemoSettings) -> None:
    """Everything; on a terminal the dashboard then stays until Ctrl-C."""
    begun = time.monotonic()
    spec, text = read_sweep_file(settings.file)
    home = Home(path=settings.out / "home")
    data = demo_data(settings, spec, home)
    judge = ensure_judge(data, steps=JUDGE_STEPS)
    sweep = submit_once(home, spec, text, data, judge)
    with System(SystemSettings(home=home, port=settings.port, beat_seconds=2.0)) as system:
        console.print(f"dashboard: {system.settings.dashboard}/sweeps/{sweep.name}")
        watch(system, home, sweep)
        summary = draw_and_sum_up(settings, home, sweep.name, system.settings.dashboard, time.monotonic() - begun)
        say_result(summary)
        if sys.stdout.isatty():
            console.print(f"the dashboard stays at {system.settings.dashboard} until Ctrl-C")
            keep_up(system)


def demo_data(settings: DemoSettings, spec: SweepSpec, home: Home) -> PreparedData:
    """Rendered and prepared faces; what is there already is used as it is."""
    source = settings.out / "faces"
    with bar("drawing cartoon faces") as progress:
        render_demo(source, count=settings.faces, progress=progress)
    options = PrepareOptions(max_resolution=max(spec.stages.resolutions))
    with bar("preparing images") as progress:
        return prepare(source, format="imagefolder", out=home.data / spec.dataset, options=options, progress=progress)


def submit_once(home: Home, spec: SweepSpec, text: str, data: PreparedData, judge: str) -> Sweep:
    """The demo's sweep, submitted unless an interrupted demo did so."""
    database = home.create()
    if reads.find_sweep(database, spec.name) is None:
        resolved = spec.resolve(data, judge)
        tree = submitting.submit_sweep(
            Store(database), resolved, name=spec.name, submitted=text, data_name=spec.dataset
        )
        print_tree(spec.name, tree, dry_run=False)
    return reads.sweep(database, spec.name)


# Watching


def watch(system: System, home: Home, sweep: Sweep) -> None:
    """Run the scheduler until the sweep has ended, with bars for trials and for each stage run in training."""
    database = home.open()
    stop = threading.Event()
    bars = SweepBars(sweep)
    ended = threading.Event()

    def should_stop() -> bool:
        bars.show(reads.progress(database, sweep))
        if not reads.sweep(database, sweep.name).is_open:
            ended.set()
        return ended.is_set() or stop.is_set()

    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with bars:
            system.runner.run(should_stop=should_stop)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if not ended.is_set():
        raise UserError("interrupted; `make demo RESUME=1` (t2f demo --resume) goes on where it was")


class SweepBars:
    """Trials, stage runs in training with images/s, and the time left; plain lines where there is no terminal."""

    def __init__(self, sweep: Sweep) -> None:
        self._tree = expected_stage_runs(sweep)
        self._plan = dict(zip(sweep.resolved.space.plan.resolutions, sweep.resolved.space.plan.images, strict=True))
        columns = (TextColumn("{task.description:34}"), BarColumn(), TextColumn("{task.fields[note]:>28}"))
        self._bars = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._all: TaskID | None = None
        self._tasks: dict[int, TaskID] = {}
        self._told: set[int] = set()

    def __enter__(self) -> "SweepBars":
        self._bars.start()
        self._all = self._bars.add_task("sweep", total=None, note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @property
    def overall(self) -> Task:
        """The bar of the whole sweep."""
        return self._bars.tasks[0]

    def show(self, progress: reads.Progress) -> None:
        ended = sum(count for state, count in progress.trials.items() if state not in ("waiting", "running", "paused"))
        total = sum(progress.trials.values())
        note = f"{ended}/{total} trials ended"
        done = sum(min(run.images, self._plan[run.resolution]) * cost(run.resolution) for run in progress.stage_runs)
        self._bars.update(self._all, completed=done, total=self._expected_cost(progress), note=note)
        for run in progress.stage_runs:
            self._show_run(run)

    def _expected_cost(self, progress: reads.Progress) -> float:
        """The cost of every stage run of the sweep's tree, those that a rung will spare left out."""
        found: dict[int, int] = {}
        for run in progress.stage_runs:
            found[run.resolution] = found.get(run.resolution, 0) + 1
        total = 0.0
        for resolution, images in self._plan.items():
            total += max(self._tree[resolution], found.get(resolution, 0)) * images * cost(resolution)
        return total

    def _show_run(self, run: StageRun) -> None:
        total = self._plan[run.resolution]
        if run.state == "running" and run.id not in self._tasks:
            self._tasks[run.id] = self._bars.add_task(f"  {run.resolution} px, {run.key[:8]}", total=total, note="")
        if run.id not in self._tasks:
            return
        speed = f"{run.images_per_second:.0f} images/s" if run.images_per_second else ""
        self._bars.update(self._tasks[run.id], completed=min(run.images, total), note=speed)
        measured = run.evaluation is not None and run.evaluation.score is not None
        if run.state != "running":
            self._bars.update(self._tasks[run.id], visible=False)
        if measured and run.id not in self._told:
            self._told.add(run.id)
            self._bars.console.print(
                f"{run.resolution:3d} px, {run.key[:8]}: score {run.evaluation.score:.3f}, {run.seconds:.0f} s"
            )


def cost(resolution: int) -> float:
    """What an image costs relative to one of 4 px: about 2.4 times as much with each doubling, as measured."""
    return (resolution / 4) ** 1.25


def expected_stage_runs(sweep: Sweep) -> dict[int, int]:
    """Resolution -> distinct stage runs of the whole tree, after the rungs have chosen."""
    resolved = sweep.resolved
    tree = submitting.stage_tree(resolved, submitting.new_trials(resolved))
    kept, found = 1.0, {}
    for resolution, count in tree.stage_runs.items():
        found[resolution] = max(1, round(count * kept))
        if is_rung(resolved.early_terminate, resolution, resolved.space.plan.final_resolution):
            kept /= resolved.early_terminate.eta
    return found


def keep_up(system: System) -> None:
    """Serve the pages and keep the workers until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    system.runner.run(should_stop=stop.is_set)


# The result


def draw_and_sum_up(settings: DemoSettings, home: Home, name: str, dashboard: str, seconds: float) -> dict[str, Any]:
    """Draw the sentences with the best model, and write and return the summary."""
    database = home.open()
    sweep = reads.sweep(database, name)
    model = model_reads.find_model(database, sweep.name, BEST)
    if model is None:
        raise UserError(f"the sweep ended as {sweep.state} without a model; see {dashboard}/sweeps/{name}")
    picture = settings.out / "faces.png"
    draw_sentences(home.files / model.uri, SENTENCES, picture)
    counts, ranking = reads.counts(database, sweep), reads.ranking(database, sweep)
    best = place_of(ranking, model.trial_id)
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)[model.trial_id]
    run = next(run for run in path if run.id == model.stage_run_id)
    summary = {
        "seconds": round(seconds, 1),
        "sweep": name,
        "state": sweep.state,
        "trials": sum(counts.trials.values()),
        "trials_by_state": dict(counts.trials),
        "stage_runs_trained": counts.trained,
        "stage_runs_saved_by_sharing": counts.saved_by_sharing,
        "ranking": [
            {
                "rank": one.rank,
                "trial": f"{name}/T{one.standing.number}",
                "state": one.standing.state,
                "resolution": one.standing.resolution,
                "score": one.standing.value,
            }
            for one in ranking
        ],
        "best": {
            "trial": f"{name}/T{best.standing.number}",
            "resolution": run.resolution,
            "score": best.standing.value,
            "weights_sha256": run.weights_sha256,
            "metrics": {metric: figure["value"] for metric, figure in run.evaluation.metrics.items()},
            "model": str(home.files / model.uri),
        },
        "weights_sha256": {one.key: one.weights_sha256 for one in reads.progress(database, sweep).stage_runs},
        "picture": str(picture),
        "dashboard": dashboard,
    }
    (settings.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def draw_sentences(bundle: Path, sentences: Sequence[str], picture: Path) -> None:
    """One face for each sentence, with the sentence under it."""
    faces = open_bundle(bundle).draw(sentences, seeds=[0])
    captioned_sheet(faces, sentences, columns=4).save(picture)


def say_result(summary: dict[str, Any]) -> None:
    best = summary["best"]
    console.print(
        f"{summary['trials']} trials in {summary['seconds']:.0f} s: {summary['stage_runs_trained']} stage runs "
        f"trained, {summary['stage_runs_saved_by_sharing']} saved by sharing"
    )
    console.print(f"best: {best['trial']} with score {best['score']:.3f} at {best['resolution']} px")
    console.print(f"faces: {summary['picture']}")
    console.print(
        f'more:  t2f generate {best["model"]} "a smiling person with long pink hair" --seeds 0-7', soft_wrap=True
    )
