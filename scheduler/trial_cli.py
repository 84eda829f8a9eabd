"""The commands `t2f trial` that look at one: show, logs; `trial_acts_cli.py` has those that act."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from scheduler import reads, trial_reads
from scheduler.database import Database
from scheduler.home import Home
from scheduler.judgement import judge_of
from scheduler.reads import StageRun, Sweep
from scheduler.trial_logs import event_json, trial_logs
from scheduler.trial_reads import events_of
from t2f.cli import (
    DEFAULT_HOME,
    AsJson,
    HomeOption,
    console,
    print_json,
)
from t2f.evaluate_cli import judge_line
from t2f.metrics.figures import decimals

trial_app = typer.Typer(no_args_is_help=True, help="Trials: look at, act on, make more of, train again.")


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
    path = reads.paths_of(database, [trial.id], sweep.resolved.evaluation.key).get(trial.id, [])
    attempts = {run.id: reads.attempts(database, run.id) for run in path}
    kept = {run.id: run for run in trial_reads.stage_runs_of(database, trial.id)}
    if as_json:
        stages = [
            {**stage_run_json(run, attempts[run.id]), "checkpoint": kept[run.id].content, "bytes": kept[run.id].bytes}
            for run in path
        ]
        print_json({**trial_json(trial), "stage_runs": stages, "sweep": submission_json(database, sweep)})
        return
    console.print(f"{trial.name}: {trial.state}{f', {trial.note}' if trial.note else ''}")
    console.print(judge_line(judge_of(sweep, path)))
    for parameter, value in trial.parameters.items():
        console.print(f"  {parameter} = {value}")
    for resolution, values in trial.deviation.late.items():
        for parameter, value in values.items():
            console.print(f"  {parameter} = {value} from {resolution} px on")
    if trial.deviation.seed is not None:
        console.print(f"  seed = {trial.deviation.seed}")
    table = Table("px", "stage run", "state", "attempts", "images", "seconds", "score", "weights", "kept")
    for run in path:
        outcomes = ", ".join(attempt.outcome or "runs" for attempt in attempts[run.id])
        score = decimals(run.evaluation.score) if run.evaluation and run.evaluation.score is not None else ""
        weights = (run.weights_sha256 or "")[:12]
        cells = (str(run.resolution), run.key[:12], run.state, outcomes, f"{run.images:,}", f"{run.seconds:.1f}")
        content = {"state": "all", "ema": "averaged weights"}.get(kept[run.id].content, "")
        table.add_row(*cells, score, weights, content)
    console.print(table)


def trial_json(trial: reads.Trial) -> dict[str, Any]:
    return {
        "trial": trial.name,
        "state": trial.state,
        "origin": trial.origin,
        "note": trial.note,
        "parameters": dict(trial.parameters),
        "attributes": dict(trial.attributes),
    }


def submission_json(database: Database, sweep: Sweep) -> dict[str, Any]:
    """What the sweep was submitted as and with."""
    row = trial_reads.submission(database, sweep.id)
    return {
        "name": sweep.name,
        "data": sweep.data_name,
        "data_key": sweep.data_key,
        "seed": sweep.resolved.space.seed,
        "created_by": row.created_by,
        "created": row.created,
        "provenance": row.provenance,
        "submitted": row.submitted,
        "resolved": row.resolved,
    }


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


@trial_app.command("logs")
def trial_logs_command(
    name: Annotated[str, typer.Argument(help="SWEEP/T12, or T12 where that is unique.")],
    follow: Annotated[bool, typer.Option("--follow", help="Print what comes until the trial ends.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show what happened to a trial: attempts and their errors, events, where curves stand, stacks of lost workers."""
    place = Home(path=home)
    database = place.open()
    trial = reads.trial(database, name)
    found = trial_logs(database, place.path / "logs", trial)
    if as_json:
        print_json(found)
        return
    console.print(f"{trial.name}: {trial.state}")
    for run in found["stage_runs"]:
        print_stage_log(run)
    for worker, text in found["stacks"].items():
        console.print(f"stacks that {worker} left:\n{text}", markup=False)
    print_events(found["events"])
    printed = {event["id"] for event in found["events"]}
    while follow and trial.is_open:
        time.sleep(1.0)
        trial = reads.trial(database, trial.name)
        new = [event for event in map(event_json, events_of(database, trial.id)) if event["id"] not in printed]
        print_events(new)
        printed |= {event["id"] for event in new}


def print_stage_log(run: Mapping[str, Any]) -> None:
    console.print(f"{run['resolution']} px  {run['key'][:12]}  {run['state']}, {run['images']:,} images")
    for attempt in run["attempts"]:
        ended = clock(attempt["ended"]) if attempt["ended"] else "now"
        begun = clock(attempt["started"] or attempt["claimed"])
        outcome = attempt["outcome"] or "runs"
        console.print(f"  attempt {attempt['number']} on {attempt['worker']}, {begun} to {ended}: {outcome}")
        if attempt["error"]:
            console.print(f"    {attempt['error']}", markup=False)
    if run["curves"]:
        values = ", ".join(f"{name} {point['value']:.4g}" for name, point in run["curves"].items())
        console.print(f"  curves: {values}")


def print_events(events: list[dict[str, Any]]) -> None:
    for event in events:
        told = {key: value for key, value in event.items() if key not in ("id", "at", "kind")}
        rest = ", ".join(f"{key} {decimals(one) if isinstance(one, float) else one}" for key, one in told.items())
        console.print(f"{clock(event['at'])}  {event['kind']}{f': {rest}' if rest else ''}", markup=False)


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
