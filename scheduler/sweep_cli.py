"""The commands `t2f sweep` that submit, list and show; `sweep_acts_cli.py` has those that act on one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from scheduler import commands, reads, search_reads, submitting, waiting
from scheduler.amounts import bytes_text, counted, hours_text
from scheduler.finalists import fresh_text
from scheduler.forecast import Forecast
from scheduler.home import Home
from scheduler.judgement import judge_of
from scheduler.labels import labels_text
from scheduler.ranking import Ranked
from scheduler.reads import Sweep
from scheduler.rung_report import rung_reports
from scheduler.store import Store
from scheduler.submission import submit_spec
from scheduler.sweepfile import read_sweep_file
from t2f.cli import (
    DEFAULT_HOME,
    AsJson,
    DryRun,
    HomeOption,
    console,
    print_json,
)
from t2f.evaluate_cli import judge_line
from t2f.metrics.figures import decimals
from t2f.settings import Value
from t2f.trainfile import naming, read_override

sweep_app = typer.Typer(no_args_is_help=True, help="Sweeps: submit, look at, act on, take elsewhere.")
SHOWN = 200  # trials of a sweep, unless all are asked for


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
    place = Home(path=home)
    with naming(str(file)):
        done = submit_spec(spec, text, place, name=name, as_prepared=as_prepared, dry_run=dry_run)
    if dry_run:
        submitting.require_free_name(submitting.existing_database(place), done.name)
    name, tree, notes, ahead = done.name, done.tree, done.notes, done.forecast
    if as_json:
        facts = {**asdict(tree), "saved": tree.saved, "forecast": asdict(ahead), "notes": notes}
        print_json({"sweep": name, "dry_run": dry_run, **facts})
        return
    print_tree(name, tree, dry_run=dry_run, ahead=ahead)
    for note in notes:
        console.print(note)


def print_tree(name: str, tree: submitting.Tree, *, dry_run: bool, ahead: Forecast | None = None) -> None:
    """What a sweep comes down to and, where it is given, what it will take if nothing is stopped early."""
    console.print(f"{'would submit' if dry_run else 'submitted'} {name}: {counted(tree.trials, 'trial')}")
    if ahead is None:
        for resolution, count in tree.stage_runs.items():
            console.print(f"{resolution:5d} px  {count:4d} stage runs")
    else:
        console.print(forecast_table(ahead))
    share = 1 - tree.images / tree.images_unshared
    if tree.finalists:
        console.print(f"{tree.finalists} of the trials are fresh seeds of the finalists")
    console.print(f"sharing saves {tree.saved:,} of {tree.saved + tree.total:,} stage runs, {share:.0%} of the images")
    if here := sum(tree.here.values()):
        console.print(f"{here:,} of the {tree.total:,} that are left are in this home already, for other sweeps")
    if ahead is not None:
        console.print(forecast_line(ahead))


def forecast_table(ahead: Forecast) -> Table:
    table = Table("px", "stage runs", "s / 1,000 images", "learned from", "device hours", "checkpoints", box=None)
    for one in ahead.stages:
        alike = " with the same settings" if one.same_settings else ""
        table.add_row(
            str(one.resolution),
            f"{one.stage_runs:,}" + (f", {one.here:,} here" if one.here else ""),
            "unknown" if one.seconds_per_1000_images is None else f"{one.seconds_per_1000_images:.3g}",
            f"{counted(one.attempts, 'attempt')}{alike}" if one.attempts else "",
            hours_text(one.device_seconds),
            bytes_text(one.checkpoint_bytes),
        )
    return table


def forecast_line(ahead: Forecast) -> str:
    unknown = [str(one.resolution) for one in ahead.stages if one.device_seconds is None]
    if len(unknown) == len(ahead.stages):
        return "forecast: unknown, as nothing like it was trained in this home yet"
    on = f" on {ahead.device}" if ahead.device else ""
    known = sum(one.device_seconds or 0.0 for one in ahead.stages)
    if unknown:
        return f"forecast{on}: {hours_text(known)} device hours and what {', '.join(unknown)} px take, which is unknown"
    workers = counted(ahead.workers, "worker")
    present = f"{hours_text(ahead.wall_seconds)} hours on {workers}" if ahead.workers else "no worker for it runs now"
    stored = f"{bytes_text(ahead.checkpoint_bytes)} of checkpoints"
    return f"forecast{on}: {hours_text(known)} device hours, {present}, {stored}; evaluations not counted"


@sweep_app.command("ls")
def sweep_ls(home: HomeOption = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """List sweeps, the newest first."""
    database = Home(path=home).open()
    rows = [(sweep, reads.counts(database, sweep), reads.ranking(database, sweep)) for sweep in reads.sweeps(database)]
    waits = waiting.reasons(database)
    if as_json:
        print_json([sweep_json(*row, waits.get(row[0].id)) for row in rows])
        return
    table = Table("sweep", "state", "trials", "stage runs trained", "saved", "best")
    for sweep, progress, ranking in rows:
        trials = ", ".join(f"{count} {state}" for state, count in progress.trials.items())
        best = f"T{ranking[0].standing.number} {', '.join(value_texts(ranking[0]))}" if ranking else ""
        table.add_row(sweep.name, sweep.state, trials, str(progress.trained), str(progress.saved_by_sharing), best)
    console.print(table)
    if not rows:
        console.print("there is no sweep yet; t2f sweep submit FILE makes one")
    for sweep, *_ in rows:
        if sweep.id in waits:
            console.print(f"{sweep.name} is waiting: {waits[sweep.id]}", soft_wrap=True)


def sweep_json(sweep: Sweep, progress: reads.Counts, ranking: list[Ranked], waits: str | None) -> dict[str, Any]:
    """waits: why it waits although it runs, where it does."""
    return {
        "name": sweep.name,
        "state": sweep.state,
        "error": sweep.error,
        "waits": waits,
        "labels": dict(sweep.resolved.resources.labels),
        "data": sweep.data_name,
        "trials": dict(progress.trials),
        "stage_runs_trained": progress.trained,
        "stage_runs_of_other_sweeps": progress.of_others,
        "stage_runs_saved": progress.saved_by_sharing,
        "ranking": [
            {
                "rank": one.rank,
                "trial": f"{sweep.name}/T{one.standing.number}",
                "state": one.standing.state,
                "resolution": one.standing.resolution,
                "closed_gates": list(one.standing.gates),
                **values_of(sweep, one),
                **({"front": one.front} if one.front is not None else {}),
                **({"fresh_seeds": one.fresh.to_json(sweep.name)} if one.fresh else {}),
            }
            for one in ranking
        ],
    }


def values_of(sweep: Sweep, ranked: Ranked) -> dict[str, float]:
    """The sweep's metrics of a ranked trial."""
    names = [objective.metric for objective in sweep.resolved.objectives]
    return dict(zip(names, ranked.standing.values, strict=True))


def value_text(value: Value) -> str:
    """A parameter's value; drawn numbers with the digits that tell them apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@sweep_app.command("show")
def sweep_show(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    all_trials: Annotated[bool, typer.Option("--all", help=f"Every trial, not the first {SHOWN}.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Show a sweep: its trials, ranked, with the stages of each."""
    database = Home(path=home).open()
    sweep = reads.sweep(database, name)
    paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
    trials = {trial.id: trial for trial in reads.trials(database, sweep.id)}
    progress, ranking = reads.counts(database, sweep), reads.ranking(database, sweep)
    rungs = rung_reports(sweep, list(trials.values()), paths)
    end_of_search = search_reads.end_of_search(database, sweep.id)
    waits = waiting.reasons(database).get(sweep.id)
    if as_json:
        print_json(
            {
                **sweep_json(sweep, progress, ranking, waits),
                "rungs": [rung.to_json() for rung in rungs],
                "parameters": {trial.name: dict(trial.parameters) for trial in trials.values()},
                "notes": {trial.name: trial.note for trial in trials.values() if trial.note},
                "search_ended": end_of_search,
            }
        )
        return
    console.print(f"{sweep.name}: {sweep.state}{f' ({sweep.error})' if sweep.error else ''}")
    if sweep.resolved.resources.labels:
        console.print(f"labels: {labels_text(sweep.resolved.resources.labels)}")
    if waits:
        console.print(f"waiting: {waits}", soft_wrap=True)
    if end_of_search:
        console.print(end_of_search)
    others = f" ({progress.of_others} of them trained for other sweeps)" if progress.of_others else ""
    trained = counted(progress.trained, "stage run")
    console.print(f"{trained} trained, {progress.saved_by_sharing} saved by sharing{others}")
    console.print(judge_line(judge_of(sweep, (run for path in paths.values() for run in path))))
    for rung in rungs:
        console.print(str(rung))
    varying = sweep.resolved.space.varying
    metrics = [objective.metric for objective in sweep.resolved.objectives]
    if len(metrics) > 1:
        console.print(f"rank is the number of the Pareto front of {', '.join(metrics)}: nobody beats the first in all")
    has_notes = any(trial.note for trial in trials.values())
    table = Table("rank", "trial", "state", "px", *metrics, *varying, *(["note"] if has_notes else []))
    ranks = {one.standing.trial_id: one for one in ranking}
    ordered = [trials[one.standing.trial_id] for one in ranking]
    ordered += [trial for trial in trials.values() if trial.id not in ranks]
    for trial in ordered if all_trials else ordered[:SHOWN]:
        one = ranks.get(trial.id)
        place = "" if one is None else ", ".join(one.standing.gates) if one.rank is None else str(one.rank)
        measured = value_texts(one) if one else [""] * len(metrics)
        px = str(one.standing.resolution) if one else ""
        values = [value_text(trial.parameters.get(parameter, "")) for parameter in varying]
        table.add_row(
            place, f"T{trial.number}", trial.state, px, *measured, *values, *([trial.note] if has_notes else [])
        )
    console.print(table)
    if not all_trials and len(ordered) > SHOWN:
        console.print(f"and {len(ordered) - SHOWN:,} more trials; --all shows them")


def value_texts(one: Ranked) -> list[str]:
    """What a trial is ranked by: its metrics, or the mean of its fresh seeds with the interval."""
    return [decimals(value) for value in one.standing.values] if one.fresh is None else [fresh_text(one)]


@sweep_app.command("enqueue")
def sweep_enqueue(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    overrides: Annotated[list[str], typer.Option("--set", help="NAME=VALUE; several times. Others are drawn.")],
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a trial with parameters of your own to a sweep; those that are left out are drawn."""
    store = Store(Home(path=home).open())
    sweep = reads.sweep(store.database, name)
    parameters = commands.checked_enqueue(sweep, dict(map(read_override, overrides)))
    trial = None if dry_run else commands.enqueue_trial(store, sweep, parameters)
    if as_json:
        print_json({"sweep": name, "dry_run": dry_run, "trial": trial, "parameters": parameters})
        return
    values = ", ".join(f"{setting} {value_text(value)}" for setting, value in parameters.items())
    console.print(f"would enqueue {values} in {name}" if dry_run else f"{trial}: enqueued with {values}")
