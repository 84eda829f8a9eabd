"""The commands `t2f trial`: show, promote, cancel, retry."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from scheduler import commands, reads
from scheduler.home import Home
from scheduler.judgement import judge_of
from scheduler.reads import StageRun
from scheduler.store import Store
from t2f.cli import (
    DEFAULT_HOME,
    AsJson,
    HomeOption,
    console,
    print_json,
)
from t2f.evaluate_cli import judge_line

trial_app = typer.Typer(no_args_is_help=True, help="Trials: show, promote, cancel, retry.")


@trial_app.command("show")
def trial_show(
    name: Annotated[str, typer.Argument(help="SWEEP/T12, or T12 where that is unique.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show a trial: its parameters, and the state, attempts and figures of each stage run."""
    database = Home(path=home).open()
    trial = reads.trial(database, name)
    sweep = reads.sweep(database, trial.sweep_name)
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key).get(trial.id, [])
    attempts = {run.id: reads.attempts(database, run.id) for run in path}
    if as_json:
        stages = [stage_run_json(run, attempts[run.id]) for run in path]
        print_json(
            {
                "trial": trial.name,
                "state": trial.state,
                "origin": trial.origin,
                "note": trial.note,
                "parameters": dict(trial.parameters),
                "stage_runs": stages,
            }
        )
        return
    console.print(f"{trial.name}: {trial.state}{f' ({trial.note})' if trial.note else ''}")
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
    store = Store(Home(path=home).open())
    trial = reads.trial(store.database, name)
    commands.cancel_trial(store, trial)
    console.print(f"{trial.name}: canceled")


@trial_app.command("promote")
def trial_promote(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """Let a stopped trial go on from its sealed stage to its end; an ended sweep is open again."""
    store = Store(Home(path=home).open())
    trial = reads.trial(store.database, name)
    commands.promote_trial(store, trial)
    console.print(f"{trial.name}: goes on")


@trial_app.command("retry")
def trial_retry(name: str, home: HomeOption = DEFAULT_HOME) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets."""
    store = Store(Home(path=home).open())
    trial = reads.trial(store.database, name)
    commands.retry_trial(store, reads.sweep(store.database, trial.sweep_name), trial)
    console.print(f"{trial.name}: tried again")
