"""`t2f evaluate` and `t2f rank`: how good a model is, and what a sweep's ranking is worth."""

from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scheduler import reads, registry
from scheduler.home import Home
from scheduler.judgement import MEAN_RANK, Judgement, Place, judge_sweep
from scheduler.models import NamedModels, sealed_run, sweep_data
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.errors import UserError
from t2f.evaluate_cli import (
    EvaluateOptions,
    Subject,
    bundle_subject,
    evaluate_subject,
    gates_line,
    judge_line,
)
from t2f.generate_cli import bundle_file, naming_the_folder
from t2f.metrics.figures import decimals, interval_text
from t2f.spec import StageSpec

TIES_SHOWN = 6


def evaluate_command(
    target: Annotated[
        str,
        typer.Argument(
            help="A model bundle, a training's folder, a version such as SWEEP@best, SWEEP/T12, or SWEEP/T12@32."
        ),
    ],
    metric: Annotated[list[str] | None, typer.Option(help="Only this figure; several times. Default: all.")] = None,
    split: Annotated[
        str | None, typer.Option(help="validation (the default) or test, which only the end asks for.")
    ] = None,
    images: Annotated[int, typer.Option(help="Faces to draw and measure.")] = 2000,
    inception: Annotated[Path | None, typer.Option(help="Inception's weights, for FID and KID.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP, which then judges words and faces too.")] = None,
    data: Annotated[str | None, typer.Option(help="Prepared data other than that of the model's training.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on held-out images: every metric with its interval, beside real images and an untrained model."""
    options = EvaluateOptions(
        metrics=metric or [],
        split=split,
        images=images,
        inception=inception,
        clip=clip,
        as_json=as_json,
        dry_run=dry_run,
    )
    path = bundle_file(target)
    if path is not None:
        subject = bundle_subject(path, home, data)
    else:
        with naming_the_folder(target):
            subject = named_subject(target, home, data)
    evaluate_subject(subject, options)


def named_subject(target: str, home: Path, data: str | None) -> Subject:
    """What the scheduler knows by this name: a version's file, or a trial's stage."""
    if is_version(target, home):
        return bundle_subject(NamedModels().model_file(target, home), home, data)
    if data is not None:
        raise UserError(f"--data goes with a model bundle; {target} is measured on the data of its sweep")
    return trial_subject(target, Home(path=home))


def is_version(target: str, home: Path) -> bool:
    """Whether it names a version of a model, which is a file like any other."""
    return registry.find_version(Home(path=home).open(), target) is not None


def trial_subject(target: str, place: Home) -> Subject:
    """A trial's sealed stage run: the deepest one, or that of the resolution after an @."""
    database = place.open()
    trial, sweep, run = sealed_run(database, target)
    data = sweep_data(place, sweep)

    def opened():
        # Only evaluating waits for torch.
        from t2f.checkpoint import load_tensors
        from t2f.reading import data_reader
        from t2f.train import ema_model

        stage = StageSpec.from_json(run.spec)
        checkpoint = reads.sealed_checkpoint(database, run.id)
        state, _ = load_tensors(place.files / checkpoint.uri, sha256=checkpoint.sha256)
        return ema_model(stage, state, len(data.vocabulary)), data_reader(stage, data)

    return Subject(name=trial.name, resolution=run.resolution, data=data, open=opened)


def rank_command(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    metric: Annotated[str | None, typer.Option(help=f"A metric, or {MEAN_RANK}. Default: the sweep's own.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Rank a sweep's trials, with intervals, chances to win, ties, and what keeps a trial out."""
    place = Home(path=home)
    database = place.open()
    found = judge_sweep(database, place.files, reads.sweep(database, name), metric=metric)
    if as_json:
        print_json(found.to_json())
        return
    print_judgement(found)


def print_judgement(found: Judgement) -> None:
    by = f"mean rank over {', '.join(found.metrics)}" if found.metric == MEAN_RANK else found.metric
    direction = {"lower": ", lower is better", "higher": "", "neither": ", read it beside the reals'"}[found.better]
    others = list(found.places[0].others) if found.places else []
    if others:
        by, direction = ", ".join([found.metric, *others]), ": rank is the Pareto front's number"
    console.print(f"{found.sweep} by {by}{direction}")
    console.print(judge_line(found.judge))
    table = Table(box=SIMPLE_HEAD)
    for heading in ("rank", "trial", "state", "px", found.metric, "95 % interval", "beats next", *others):
        table.add_column(heading, no_wrap=True)
    table.add_column("ties with", min_width=9)
    passed = [one for one in found.places if not one.gates]
    for place, following in zip_longest(passed, passed[1:]):
        table.add_row(*cells(place, following))
    console.print(table if passed else "no trial is ranked yet")
    for place in passed:
        if place.is_finalist:
            console.print(f"T{place.number} is a finalist: {place.value.note}")
    for place in found.places:
        if place.gates:
            value = f"{found.metric} {decimals(place.value.value)} at {place.resolution} px"
            console.print(f"not ranked: {place.trial}, {value}; {gates_line(place.gates)}")
    for rung in found.rungs:
        console.print(str(rung))
    judged = {rung.resolution for rung in found.rungs if rung.figure is not None}
    for resolution, figure in found.correlations.items():
        if figure is not None and resolution not in judged:
            console.print(
                f"rank at {resolution} px against the final one: Spearman {figure.value:.2f} "
                f"({figure.low:.2f} to {figure.high:.2f}), {figure.note}"
            )


def cells(place: Place, following: Place | None) -> tuple[str, ...]:
    figure = place.value
    interval = interval_text(figure.low, figure.high)
    chance = place.wins.get(f"T{following.number}") if following is not None else None
    beats = "" if chance is None else f"{chance:.0%}"
    ties = ", ".join(place.ties[:TIES_SHOWN])
    more = f" and {len(place.ties) - TIES_SHOWN} more" if len(place.ties) > TIES_SHOWN else ""
    rank, px = str(place.rank), str(place.resolution)
    others = [decimals(value) for value in place.others.values()]
    return rank, f"T{place.number}", place.state, px, decimals(figure.value), interval, beats, *others, ties + more
