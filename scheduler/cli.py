"""The command `t2f`: the best model, the workers, the whole system in the foreground; mounts all the others."""

import io
import logging
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from scheduler import model_reads, reads
from scheduler.database import is_full
from scheduler.db_cli import db_app
from scheduler.demo_folder import demo_folder
from scheduler.finalists import fresh_text, model_standing, place_of
from scheduler.gc_cli import gc_command
from scheduler.home import Home
from scheduler.hooks_cli import hooks_app
from scheduler.hooksfile import read_hooks
from scheduler.judgement import judge_of
from scheduler.judgement_cli import evaluate_command, rank_command
from scheduler.labels import labels_text, read_label_options
from scheduler.model_cli import model_app, promote_command
from scheduler.models import NamedModels
from scheduler.ports import require_free_port
from scheduler.postgres import is_away
from scheduler.registry import BEST
from scheduler.reproduce_cli import trial_app
from scheduler.sweep_acts_cli import sweep_app
from scheduler.sweepfile import read_sweep_file
from t2f.cli import (
    DEFAULT_HOME,
    AsJson,
    DryRun,
    HomeOption,
    console,
    print_json,
    train_command,
)
from t2f.data_cli import data_app
from t2f.errors import UserError
from t2f.evaluate_cli import judge_line
from t2f.generate_cli import card_command, generate_command, timelapse_command
from t2f.photofit_cli import photofit_app
from t2f.progan_cli import progan_app
from workers.environment import prepare_environment

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A face from a sentence, found by a sweep.")
worker_app = typer.Typer(no_args_is_help=True, help="Workers: list.")
app.add_typer(data_app, name="data")
app.add_typer(sweep_app, name="sweep")
app.add_typer(trial_app, name="trial")
app.add_typer(worker_app, name="worker")
app.add_typer(db_app, name="db")
app.add_typer(model_app, name="model")
app.add_typer(hooks_app, name="hooks")
app.add_typer(progan_app, name="progan")
app.add_typer(photofit_app, name="photofit")
app.command("train")(train_command)
app.command("generate")(generate_command)
app.command("evaluate")(evaluate_command)
app.command("rank")(rank_command)
app.command("promote")(promote_command)
app.command("card")(card_command)
app.command("timelapse")(timelapse_command)
app.command("gc")(gc_command)


@app.callback()
def root(context: typer.Context) -> None:
    """A face from a sentence, found by a sweep."""
    context.obj = NamedModels()  # so that the commands of t2f, which knows no scheduler, take sweeps and trials by name


def main() -> None:
    """The command's entry: what a user can mend is printed in a few lines, with status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names on a disk need not be UTF-8, and a terminal may lack a sign: both are shown by their numbers.
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except DBAPIError as error:
        if is_full(error):
            print("error: there is no room left on the database's disk; nothing was written", file=sys.stderr)
        elif is_away(error):
            print(f"error: the database went away: {error.orig}; try again", file=sys.stderr)
        else:
            raise
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command("best")
def best_command(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Name the best model of a sweep and its bundle."""
    place = Home(path=home)
    database = place.open()
    sweep = reads.sweep(database, name)
    model = model_reads.find_model(database, name, BEST)
    if model is None:
        raise UserError(f"the sweep {name!r} has no best model yet; it is {sweep.state}, see `t2f sweep show {name}`")
    one = place_of(reads.ranking(database, sweep), model.trial_id)
    standing = model_standing(one, sweep.resolved.goal)
    path = place.files / model.uri
    facts = {
        "trial": f"{name}/T{standing.number}",
        "resolution": standing.resolution,
        **dict(zip((objective.metric for objective in sweep.resolved.objectives), standing.values, strict=True)),
        **({"finalist": f"{name}/T{one.standing.number}", "fresh_seeds": fresh_text(one)} if one.fresh else {}),
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
    found = reads.workers(Home(path=home).open())
    if as_json:
        print_json([asdict(worker) for worker in found])
        return
    table = Table("worker", "state", "device", "labels", "pid", "does", "images/s")
    for worker in found:
        doing = worker.doing or {}
        does = f"{doing['kind']} stage run {doing['stage_run']}" if doing else ""
        speed = f"{worker.telemetry.get('images_per_second', 0):.0f}" if doing else ""
        table.add_row(
            worker.name, worker.state, worker.device, labels_text(worker.labels), str(worker.pid), does, speed
        )
    console.print(table)
    if not found:
        console.print("no worker runs; t2f up starts them")


@app.command("up")
def up_command(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="The dashboard's port on 127.0.0.1.")] = 8250,
    workers: Annotated[int | None, typer.Option(help="CPU workers; default: one a core.")] = None,
    num_gpus: Annotated[float | None, typer.Option(help="GPUs a worker; default: 1 where there are GPUs.")] = None,
    beat_seconds: Annotated[float, typer.Option(help="Seconds between heartbeats; a lease is three.")] = 10.0,
    address: Annotated[str | None, typer.Option(help="A running Ray to join; default: start a local one.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE, several times: labels of the local Ray's workers, which sweeps can want."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Run Ray, the scheduler and the dashboard in the foreground until Ctrl-C."""
    require_free_port(port)
    read_hooks(home)  # refused before anything starts
    labels = read_label_options(label or [])
    if labels and address is not None:
        raise UserError(
            f"--label and --address {address} do not go together: the workers of a Ray that is joined have the labels "
            "of its nodes; give them where a node starts, with `ray start --labels KEY=VALUE`"
        )
    if dry_run:
        console.print(f"would run the scheduler on {home} with the dashboard at http://127.0.0.1:{port}")
        if labels:
            console.print(f"its workers would have {labels_text(labels)}")
        return
    prepare_environment(home)
    # Ray and torch take seconds to import, which no other command needs to wait for.
    from scheduler.system import System, SystemSettings

    settings = SystemSettings(
        home=Home(path=home),
        port=port,
        cpu_workers=workers,
        num_gpus=num_gpus,
        beat_seconds=beat_seconds,
        ray=address,
        labels=labels,
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
    Home(path=home).open().close()
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
