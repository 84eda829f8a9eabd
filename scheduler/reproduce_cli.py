"""The command `t2f trial reproduce`."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scheduler import reads
from scheduler.home import Home
from scheduler.reproducing import Recorded, Verdict, recorded_stages, reproduce
from scheduler.trial_acts_cli import trial_app
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json


@trial_app.command("reproduce")
def trial_reproduce(
    name: Annotated[str, typer.Argument(help="SWEEP/T12, or T12 where that is unique.")],
    through: Annotated[int | None, typer.Option(help="The last stage, in px; default: the last sealed.")] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(help="A folder to train and go on in; default: a temporary one."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a trial again from scratch and compare the weights of each stage; status 1 where they must not differ."""
    place = Home(path=home)
    trial = reads.trial(place.open(), name)
    recorded = recorded_stages(place, trial, through=through)
    if dry_run:
        for one in recorded:
            console.print(f"{one.stage.resolution:4d} px  {one.stage.images:,} images  {one.weights_sha256[:12]}")
        return
    if scratch is not None:
        verdicts = compared(place, trial, recorded, scratch, quiet=as_json)
    else:
        with tempfile.TemporaryDirectory(prefix="t2f-reproduce-") as folder:
            verdicts = compared(place, trial, recorded, Path(folder), quiet=as_json)
    if as_json:
        stages = [{**asdict(one), "same": one.is_same, "must_be_same": one.must_be_same} for one in verdicts]
        print_json({"trial": trial.name, "stages": stages})
    if any(one.must_be_same and not one.is_same for one in verdicts):
        raise typer.Exit(1)


def compared(place: Home, trial: reads.Trial, recorded: list[Recorded], scratch: Path, *, quiet: bool) -> list[Verdict]:
    """The verdict on each stage, said as soon as it is known."""
    verdicts = []
    for verdict in reproduce(place, trial, recorded, scratch=scratch):
        verdicts.append(verdict)
        if not quiet:
            print_verdict(verdict)
    return verdicts


def print_verdict(verdict: Verdict) -> None:
    if verdict.is_same:
        console.print(f"{verdict.resolution:4d} px  same       {verdict.found[:12]}")
        return
    console.print(f"{verdict.resolution:4d} px  different  {verdict.found[:12]}, recorded {verdict.recorded[:12]}")
    if verdict.must_be_same:
        console.print(f"         in the same class of numerics: {verdict.found_class}")
    else:
        console.print(f"         trained in {', '.join(verdict.recorded_classes) or 'no class that was recorded'}")
        console.print(f"         again in   {verdict.found_class}: other bits are expected")
