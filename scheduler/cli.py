"""The command `t2f`: sweeps, trials, the best model, the whole system in the foreground; mounts `t2f.cli`."""

import logging
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from scheduler import commands, reads
from scheduler.demo_folder import demo_folder
from scheduler.home import Home
from scheduler.judgement import judge_of
from scheduler.judgement_cli import evaluate_command, rank_command
from scheduler.models import NamedModels
from scheduler.ports import require_free_port
from scheduler.reads import StageRun, Sweep
from scheduler.store import Store
from scheduler.sweepfile import ResolvedSweep, SweepSpec, read_sweep_file
from t2f.cli import (
    DEFAULT_HOME,
    AsJson,
    DryRun,
    HomeOption,
    checked_name,
    console,
    embed_captions,
    ensure_judge,
    print_json,
    train_command,
)
from t2f.data import PreparedData, check_source
from t2f.data_cli import data_app
from t2f.errors import UserError
from t2f.evaluate_cli import judge_line
from t2f.generate_cli import card_command, generate_command, timelapse_command
from t2f.photofit_cli import photofit_app
from t2f.progan_cli import progan_app
from workers.environment import prepare_environment

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A face from a sentence, found by a sweep.")
sweep_app = typer.Typer(no_args_is_help=True, help="Sweeps: submit, list, show, pause, resume, cancel.")
trial_app = typer.Typer(no_args_is_help=True, help="Trials: show, cancel, retry.")
worker_app = typer.Typer(no_args_is_help=True, help="Workers: list.")
app.add_typer(data_app, name="data")
app.add_typer(sweep_app, name="sweep")
app.add_typer(trial_app, name="trial")
app.add_typer(worker_app, name="worker")
app.add_typer(progan_app, name="progan")
app.add_typer(photofit_app, name="photofit")
app.command("train")(train_command)
app.command("generate")(generate_command)
app.command("evaluate")(evaluate_command)
app.command("rank")(rank_command)
app.command("card")(card_command)
app.command("timelapse")(timelapse_command)


@app.callback()
def root(context: typer.Context) -> None:
    """A face from a sentence, found by a sweep."""
    context.obj = NamedModels()  # so that the commands of t2f, which knows no scheduler, take sweeps and trials by name


def main() -> None:
    """The command's entry: what a user can mend is printed in a few lines, with status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def home_of(path: Path) -> Home:
    return Home(path=path)


# Sweeps


@sweep_app.command("submit")
def sweep_submit(
    file: Annotated[Path, typer.Argument(help="The sweep file.")],
    name: Annotated[str | None, typer.Option(help="Instead of the name in the file.")] = None,
    as_prepared: Annotated[
        bool, typer.Option("--as-prepared", help="Train on the data as it was prepared, though its source changed.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Store a sweep; a running `t2f up` trains it."""
    spec, text = read_sweep_file(file)
    place = home_of(home)
    data = PreparedData.open(place.data / checked_name(spec.dataset))
    if not as_prepared:
        check_source(data.path, missing_ok=True)
    # A dry run trains no judge; any hash stands for the one to come, but data without captions will have none.
    judge = ensure_judge(data, steps=600) if not dry_run or not data.has_captions else "0" * 64
    resolved = spec.resolve(data, judge)
    name = checked_name(name or spec.name)
    if dry_run:
        tree = commands.stage_tree(resolved, commands.new_trials(resolved))
    else:
        sentence = None
        if "sentence" in resolved.space.text_encoders:
            sentence = embed_captions(data, spec.sentence_encoder)
        init = open_init(spec, resolved, data, place)
        resolved = spec.resolve(data, judge, init_sha256=init and init.sha256, sentence=sentence)
        store = Store(place.create())
        tree = commands.submit_sweep(store, resolved, name=name, submitted=text, data_name=spec.dataset, init=init)
    if as_json:
        print_json({"sweep": name, "dry_run": dry_run, **asdict(tree), "saved": tree.saved})
        return
    print_tree(name, tree, dry_run=dry_run)


def open_init(spec: SweepSpec, resolved: ResolvedSweep, data: PreparedData, place: Home) -> commands.InitBundle | None:
    """The model that the sweep starts from; an error where it is none, or one whose shapes no trial has."""
    if spec.init_from is None:
        return None
    # Only sweeps that start from a model wait for torch here.
    from t2f.generate import init_weights, open_bundle

    bundle = open_bundle(spec.init_from)
    for trial in commands.new_trials(resolved):
        init_weights(bundle, data.vocabulary, resolved.space.stages(trial.parameters)[0].settings)
    return commands.InitBundle(path=spec.init_from, sha256=bundle.sha256, files=place.files)


def print_tree(name: str, tree: commands.Tree, *, dry_run: bool) -> None:
    console.print(f"{'would submit' if dry_run else 'submitted'} {name}: {tree.trials} trials")
    for resolution, count in tree.stage_runs.items():
        console.print(f"{resolution:5d} px  {count:4d} stage runs")
    share = 1 - tree.images / tree.images_unshared
    console.print(f"sharing saves {tree.saved} of {tree.saved + tree.total} stage runs, {share:.0%} of the images")


@sweep_app.command("ls")
def sweep_ls(home: HomeOption = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """List sweeps, the newest first."""
    database = home_of(home).open()
    rows = [
        (sweep, reads.progress(database, sweep), reads.ranking(database, sweep)) for sweep in reads.sweeps(database)
    ]
    if as_json:
        print_json([sweep_json(*row) for row in rows])
        return
    table = Table("sweep", "state", "trials", "stage runs trained", "saved", "best")
    for sweep, progress, ranking in rows:
        trials = ", ".join(f"{count} {state}" for state, count in progress.trials.items())
        best = f"T{ranking[0].standing.number} {ranking[0].standing.value:.3f}" if ranking else ""
        table.add_row(sweep.name, sweep.state, trials, str(progress.trained), str(progress.saved_by_sharing), best)
    console.print(table)


def sweep_json(sweep: Sweep, progress: reads.Progress, ranking: list[reads.Ranked]) -> dict[str, Any]:
    return {
        "name": sweep.name,
        "state": sweep.state,
        "error": sweep.error,
        "data": sweep.data_name,
        "trials": dict(progress.trials),
        "stage_runs_trained": progress.trained,
        "stage_runs_saved": progress.saved_by_sharing,
        "ranking": [
            {
                "rank": one.rank,
                "trial": f"{sweep.name}/T{one.standing.number}",
                "state": one.standing.state,
                "resolution": one.standing.resolution,
                "closed_gates": list(one.standing.gates),
                sweep.resolved.metric: one.standing.value,
            }
            for one in ranking
        ],
    }


@sweep_app.command("show")
def sweep_show(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show a sweep: its trials, ranked, with the stages of each."""
    database = home_of(home).open()
    sweep = reads.sweep(database, name)
    progress, ranking = reads.progress(database, sweep), reads.ranking(database, sweep)
    trials = {trial.id: trial for trial in reads.trials(database, sweep.id)}
    if as_json:
        parameters = {trial.name: dict(trial.parameters) for trial in trials.values()}
        print_json({**sweep_json(sweep, progress, ranking), "parameters": parameters})
        return
    console.print(f"{sweep.name}: {sweep.state}{f' ({sweep.error})' if sweep.error else ''}")
    console.print(f"{progress.trained} stage runs trained, {progress.saved_by_sharing} saved by sharing")
    console.print(judge_line(judge_of(sweep, progress.stage_runs)))
    varying = sweep.resolved.space.varying
    table = Table("rank", "trial", "state", "px", sweep.resolved.metric, *varying)
    ranks = {one.standing.trial_id: one for one in ranking}
    ordered = [trials[one.standing.trial_id] for one in ranking]
    ordered += [trial for trial in trials.values() if trial.id not in ranks]
    for trial in ordered:
        one = ranks.get(trial.id)
        place = "" if one is None else ", ".join(one.standing.gates) if one.rank is None else str(one.rank)
        measured = (place, str(one.standing.resolution), f"{one.standing.value:.3f}") if one else ("", "", "")
        values = [str(trial.parameters.get(parameter, "")) for parameter in varying]
        table.add_row(measured[0], f"T{trial.number}", trial.state, measured[1], measured[2], *values)
    console.print(table)


@sweep_app.command("pause")
def sweep_pause(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """Start no new stage runs of a sweep; what runs goes on."""
    store = Store(home_of(home).open())
    commands.pause_sweep(store, reads.sweep(store.database, name))
    console.print(f"{name}: paused")


@sweep_app.command("resume")
def sweep_resume(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """Go on with a paused sweep."""
    store = Store(home_of(home).open())
    commands.resume_sweep(store, reads.sweep(store.database, name))
    console.print(f"{name}: running")


@sweep_app.command("cancel")
def sweep_cancel(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """End a sweep now; stage runs that other sweeps want go on."""
    store = Store(home_of(home).open())
    commands.cancel_sweep(store, reads.sweep(store.database, name))
    console.print(f"{name}: canceled")


# Trials, models, workers


@trial_app.command("show")
def trial_show(
    name: Annotated[str, typer.Argument(help="SWEEP/T12, or T12 where that is unique.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show a trial: its parameters, and the state, attempts and figures of each stage run."""
    database = home_of(home).open()
    trial = reads.trial(database, name)
    sweep = reads.sweep(database, trial.sweep_name)
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key).get(trial.id, [])
    attempts = {run.id: reads.attempts(database, run.id) for run in path}
    if as_json:
        stages = [stage_run_json(run, attempts[run.id]) for run in path]
        print_json(
            {"trial": trial.name, "state": trial.state, "parameters": dict(trial.parameters), "stage_runs": stages}
        )
        return
    console.print(f"{trial.name}: {trial.state}")
    console.print(judge_line(judge_of(sweep, path)))
    for parameter, value in trial.parameters.items():
        console.print(f"  {parameter} = {value}")
    table = Table("px", "stage run", "state", "attempts", "images", "seconds", "score", "weights")
    for run in path:
        outcomes = ", ".join(attempt.outcome or "runs" for attempt in attempts[run.id])
        score = f"{run.evaluation.score:.3f}" if run.evaluation and run.evaluation.score is not None else ""
        weights = (run.weights_sha256 or "")[:12]
        cells = (str(run.resolution), run.key[:12], run.state, outcomes, f"{run.images:,}", f"{run.seconds:.1f}")
        table.add_row(*cells, score, weights)
    console.print(table)


def stage_run_json(run: StageRun, attempts: list[reads.Attempt]) -> dict[str, Any]:
    return {
        "resolution": run.resolution,
        "key": run.key,
        "state": run.state,
        "images": run.images,
        "seconds": run.seconds,
        "weights_sha256": run.weights_sha256,
        "error": run.error,
        "metrics": dict(run.evaluation.metrics) if run.evaluation else {},
        "attempts": [asdict(attempt) for attempt in attempts],
        "spec": dict(run.spec),
    }


@trial_app.command("cancel")
def trial_cancel(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """End one trial; stage runs that other trials share go on."""
    store = Store(home_of(home).open())
    trial = reads.trial(store.database, name)
    commands.cancel_trial(store, trial)
    console.print(f"{trial.name}: canceled")


@trial_app.command("retry")
def trial_retry(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets."""
    store = Store(home_of(home).open())
    trial = reads.trial(store.database, name)
    commands.retry_trial(store, reads.sweep(store.database, trial.sweep_name), trial)
    console.print(f"{trial.name}: tried again")


@app.command("best")
def best_command(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Name the best model of a sweep and its bundle."""
    place = home_of(home)
    database = place.open()
    sweep = reads.sweep(database, name)
    model = commands.find_model(database, sweep, "best")
    if model is None:
        raise UserError(f"the sweep {name!r} has no best model yet; it is {sweep.state}, see `t2f sweep show {name}`")
    ranked = {one.standing.trial_id: one for one in reads.ranking(database, sweep)}
    standing = ranked[model.trial_id].standing
    path = place.files / model.uri
    facts = {
        "trial": f"{name}/T{standing.number}",
        "resolution": standing.resolution,
        sweep.resolved.metric: standing.value,
        "model": str(path),
        "sha256": model.sha256,
        **({"closed_gates": ", ".join(standing.gates)} if standing.gates else {}),
    }
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        console.print(f"{key}: {value}")
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)[model.trial_id]
    console.print(judge_line(judge_of(sweep, path)))


@worker_app.command("ls")
def worker_ls(home: HomeOption = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """List the workers that are alive, and what each does."""
    found = reads.workers(home_of(home).open())
    if as_json:
        print_json([asdict(worker) for worker in found])
        return
    table = Table("worker", "state", "device", "pid", "does", "images/s")
    for worker in found:
        doing = worker.doing or {}
        does = f"{doing['kind']} stage run {doing['stage_run']}" if doing else ""
        speed = worker.telemetry.get("images_per_second", 0)
        table.add_row(worker.name, worker.state, worker.device, str(worker.pid), does, f"{speed:.0f}" if doing else "")
    console.print(table)


# The whole system


@app.command("up")
def up_command(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="The dashboard's port on 127.0.0.1.")] = 8250,
    workers: Annotated[int | None, typer.Option(help="CPU workers; default: one a core.")] = None,
    num_gpus: Annotated[float | None, typer.Option(help="GPUs a worker; default: 1 where there are GPUs.")] = None,
    beat_seconds: Annotated[float, typer.Option(help="Seconds between heartbeats; a lease is three.")] = 10.0,
    address: Annotated[str | None, typer.Option(help="A running Ray to join; default: start a local one.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Run Ray, the scheduler and the dashboard in the foreground until Ctrl-C."""
    require_free_port(port)
    if dry_run:
        console.print(f"would run the scheduler on {home} with the dashboard at http://127.0.0.1:{port}")
        return
    prepare_environment(home)
    # Ray and torch take seconds to import, which no other command needs to wait for.
    from scheduler.system import System, SystemSettings

    settings = SystemSettings(
        home=home_of(home), port=port, cpu_workers=workers, num_gpus=num_gpus, beat_seconds=beat_seconds, ray=address
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with System(settings) as system:
        console.print(f"dashboard: {system.settings.dashboard}   (Ctrl-C stops)")
        system.runner.run(should_stop=stop.is_set)
    console.print("stopped; `t2f up` goes on where it was")


@app.command("dashboard")
def dashboard_command(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 8250,
    dry_run: DryRun = False,
) -> None:
    """Serve the pages alone, beside a scheduler that runs elsewhere on this machine."""
    home_of(home).open().close()
    if dry_run:
        console.print(f"would serve {home} at http://127.0.0.1:{port}")
        return
    # The web framework takes half a second to import, which no other command needs to wait for.
    from dashboard.server import serve

    serve(home, port=port)


@app.command("demo")
def demo_command(
    file: Annotated[Path, typer.Argument(help="The demo's sweep file.")] = Path("examples/demo.yaml"),
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    faces: Annotated[int, typer.Option(help="Cartoon faces to draw.")] = 7000,
    port: Annotated[int, typer.Option(help="The dashboard's port on 127.0.0.1.")] = 8250,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted demo.")] = False,
    dry_run: DryRun = False,
) -> None:
    """From nothing to faces: draw data, sweep, rank, and draw faces from sentences with the best model."""
    spec, _ = read_sweep_file(file)
    if dry_run:
        console.print(f"would draw {faces} faces, sweep {spec.name} and write {out}/faces.png and {out}/summary.json")
        return
    require_free_port(port)
    with demo_folder(out, resume=resume):
        prepare_environment(out / "home")
        # Ray and torch take seconds to import, which no other command needs to wait for.
        from scheduler.demo import DemoSettings, run_demo

        run_demo(DemoSettings(file=file, out=out, faces=faces, port=port))
