"""The commands `t2f sweep` that act on a sweep: pause, resume, stop, cancel, edit, export, import, delete."""

import getpass
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scheduler import commands, reads
from scheduler.amounts import counted
from scheduler.exporting import FORMATS, export_sweep
from scheduler.home import Home
from scheduler.reads import Sweep
from scheduler.store import Store
from scheduler.sweep_cli import sweep_app
from scheduler.wandb_import import checked_import
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.data.files import writing
from t2f.errors import SpecError, UserError
from t2f.yamlfile import parse_value, read_yaml

SweepName = Annotated[str, typer.Argument(help="The sweep's name.")]


def named_sweep(home: Path, name: str) -> tuple[Store, Sweep]:
    store = Store(Home(path=home).open())
    return store, reads.sweep(store.database, name)


def set_words(given: list[str]) -> dict[str, object]:
    """Words and their values from WORD=VALUE, each value read as YAML."""
    found: dict[str, object] = {}
    for one in given:
        word, equals, value = one.partition("=")
        if not equals:
            raise SpecError(f"--set {one!r} is not allowed; write --set WORD=VALUE")
        found[word.strip()] = parse_value(value, source=f"--set {one}")
    return found


@sweep_app.command("pause")
def sweep_pause(name: SweepName, home: HomeOption = DEFAULT_HOME) -> None:
    """Start no new stage runs of a sweep; what runs goes on."""
    store, sweep = named_sweep(home, name)
    commands.pause_sweep(store, sweep)
    console.print(f"{name}: paused")


@sweep_app.command("resume")
def sweep_resume(name: SweepName, home: HomeOption = DEFAULT_HOME) -> None:
    """Go on with a paused sweep."""
    store, sweep = named_sweep(home, name)
    commands.resume_sweep(store, sweep)
    console.print(f"{name}: running")


@sweep_app.command("stop")
def sweep_stop(name: SweepName, home: HomeOption = DEFAULT_HOME) -> None:
    """Finish what runs, then end the sweep; nothing new is begun."""
    store, sweep = named_sweep(home, name)
    commands.stop_sweep(store, sweep, reason=f"stopped by {getpass.getuser()}")
    console.print(f"{name}: stopping; what runs is finished and measured, then it ends as stopped")


@sweep_app.command("cancel")
def sweep_cancel(name: SweepName, home: HomeOption = DEFAULT_HOME) -> None:
    """End a sweep now; stage runs that other sweeps want go on."""
    store, sweep = named_sweep(home, name)
    commands.cancel_sweep(store, sweep)
    console.print(f"{name}: canceled")


@sweep_app.command("edit")
def sweep_edit(
    name: SweepName,
    changes: Annotated[
        list[str],
        typer.Option("--set", help="WORD=VALUE as in a sweep file, several times: budget.max_trials=40"),
    ],
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change bounds, values, budget, resources or retries of a sweep, also after its end; what is trained stays."""
    store, sweep = named_sweep(home, name)
    edit = commands.edit_sweep(store, sweep, set_words(changes), by=getpass.getuser(), dry_run=dry_run)
    if as_json:
        print_json({"sweep": name, "dry_run": dry_run, **asdict(edit)})
        return
    for word, (before, after) in edit.changes.items():
        console.print(f"{word}: {before} -> {after}")
    would = "would be " if dry_run else ""
    if edit.new_trials:
        added = "would be" if dry_run else "is" if edit.new_trials == 1 else "are"
        console.print(f"{counted(edit.new_trials, 'trial')} {added} added")
    if edit.goes_on:
        console.print(f"{name}: {would}open again")


@sweep_app.command("export")
def sweep_export(
    name: SweepName,
    format: Annotated[
        str | None, typer.Option(help="csv, parquet or json; default: by the name of --out, or csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; default: printed.")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Write a sweep's trials with parameters, states, figures at every resolution, seconds and keys."""
    database = Home(path=home).open()
    chosen = format or (out.suffix.removeprefix(".").lower() if out is not None and out.suffix else "csv")
    if format is None and chosen not in FORMATS:
        raise UserError(
            f"{out} ends in {out.suffix}, and its end must be one of {', '.join(FORMATS)}; or give --format"
        )
    text = export_sweep(database, reads.sweep(database, name), format=chosen, out=out)
    if text is not None:
        sys.stdout.write(text)
    else:
        console.print(f"{out}: the trials of {name}")


@sweep_app.command("import-wandb")
def sweep_import_wandb(
    file: Annotated[Path, typer.Argument(help="A W&B sweep configuration (YAML).")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The sweep file to write; default: printed.")] = None,
    dataset: Annotated[str, typer.Option(help="The prepared data set that the sweep file names.")] = "faces",
) -> None:
    """Make a sweep file of a W&B sweep; what had no counterpart is listed above it."""
    content, _ = read_yaml(file)
    found = checked_import(content, source=str(file), dataset=dataset, folder=file.parent)
    if out is None:
        sys.stdout.write(found.text())
        return
    if out.exists():
        raise UserError(f"{out} exists already; give another name, or remove it")
    with writing(out):
        out.write_text(found.text(), encoding="utf-8")
    for note in found.notes:
        console.print(f"  {note}")
    console.print(f"{out}: look at it, then t2f sweep submit {out} --dry-run")


@sweep_app.command("delete")
def sweep_delete(
    name: SweepName, home: HomeOption = DEFAULT_HOME, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Delete an ended sweep with its models and files; what other sweeps share stays."""
    store, sweep = named_sweep(home, name)
    gone = commands.delete_sweep(store, Home(path=home).files, sweep, by=getpass.getuser(), dry_run=dry_run)
    if as_json:
        print_json({"sweep": name, "dry_run": dry_run, **asdict(gone)})
        return
    amounts = (counted(gone.trials, "trial"), counted(gone.stage_runs, "stage run"), counted(gone.models, "model"))
    deleted = f"{', '.join(amounts)}, {counted(gone.files, 'file')}, {gone.bytes:,} bytes"
    console.print(f"{name}: {'would delete' if dry_run else 'deleted'} {deleted}")
    if gone.shared_stage_runs:
        console.print(f"{gone.shared_stage_runs} stage runs stay, since other sweeps share them")
