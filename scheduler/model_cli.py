"""The commands `t2f model` and `t2f promote`: versions, aliases, lineage, comparing two."""

import getpass
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scheduler import model_reads, promoting, registry
from scheduler.home import Home
from scheduler.model_comparing import DECIDING, Comparison, compare
from scheduler.model_reads import Model
from scheduler.models import make_model_bundle, sealed_run
from scheduler.registry import Lineage
from scheduler.store import Store
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.evaluate_cli import judge_line
from t2f.metrics.figures import Figure, decimals, interval_text

model_app = typer.Typer(no_args_is_help=True, help="Models: list, show, promote, roll back, compare, tag.")

VersionArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME:VERSION, NAME@ALIAS, or NAME alone for its best.")
]
CHAMPION = "champion"


@model_app.command("ls")
def model_ls(
    name: Annotated[str | None, typer.Argument(help="Only the versions of this model.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """List the versions of models, the newest first."""
    database = Home(path=home).open()
    found = model_reads.models(database, name=name)
    if as_json:
        print_json([registry.lineage(database, model).to_json() for model in found])
        return
    table = Table("model", "aliases", "tags", "trial", "px", "made", box=SIMPLE_HEAD)
    for model in found:
        trial = model_reads.source(database, model).trial
        px = model_reads.trained_stages(database, model.stage_run_id)[-1].resolution
        table.add_row(
            model.reference, ", ".join(model.aliases), ", ".join(model.tags), trial, str(px), when(model.created)
        )
    console.print(table)
    if not found:
        console.print("there is no model yet; a sweep's best one comes by itself, t2f promote TRIAL makes others")


@model_app.command("show")
def model_show(name: VersionArgument, home: HomeOption = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """Show a version: its file, and the way back to its data."""
    place = Home(path=home)
    database = place.open()
    found = registry.lineage(database, registry.version(database, name))
    if as_json:
        print_json({**found.to_json(), "file": str(place.files / found.model.uri)})
        return
    for key, value in facts(found, place).items():
        console.print(f"{key}: {value}", markup=False)
    table = Table("px", "stage run", "images", "seconds", "weights", "trained for", box=SIMPLE_HEAD)
    for stage in found.stages:
        weights, seconds = (stage.weights_sha256 or "")[:12], f"{stage.seconds:.1f}"
        row = (str(stage.resolution), stage.key[:12], f"{stage.images:,}", seconds, weights, stage.trained_for or "")
        table.add_row(*row)
    console.print(table)
    for move in found.history:
        console.print(
            f"{when(move.at)}  {move.alias} {move.act} to {found.model.name}:{move.version} by {move.by}", markup=False
        )


def facts(found: Lineage, place: Home) -> dict[str, str]:
    """What a version says of itself, as it is printed."""
    model, source, code = found.model, found.source, found.source.provenance
    commit = f"{code.get('commit') or 'unknown'}{', with changes' if code.get('dirty') else ''}"
    return {
        "model": model.reference,
        "aliases": ", ".join(model.aliases) or "none",
        "tags": ", ".join(model.tags) or "none",
        "file": str(place.files / model.uri),
        "sha256": model.sha256,
        "trial": f"{source.trial} ({source.origin})",
        **{f"  {name}": str(value) for name, value in source.parameters.items()},
        "sweep": f"{source.sweep}, submitted by {source.submitted_by} {when(source.submitted_at)}",
        "data": f"{source.data_name}, key {source.data_key}",
        "judge": found.judge_sha256,
        "commit": commit,
        "packages": ", ".join(f"{name} {version}" for name, version in code.get("packages", {}).items()),
        "numerics": "; ".join(found.numerics) + (" (mixed)" if len(found.numerics) > 1 else ""),
    }


def promote_command(
    target: Annotated[str, typer.Argument(help="TRIAL, TRIAL@PX, or a version: NAME:3, NAME@best.")],
    alias: Annotated[str, typer.Argument(help="The alias that it gets.")] = CHAMPION,
    name: Annotated[str | None, typer.Option(help="The model's name; default: that of the trial's sweep.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a version of a sealed stage run, or take one, and give it an alias, which the version before it loses."""
    place = Home(path=home)
    store = Store(place.open())
    version = registry.find_version(store.database, target)
    if version is not None:
        trial, model_name = version.reference, name or version.name
    else:
        of_trial = sealed_run(store.database, target)
        trial, model_name = f"{of_trial[0].name} at {of_trial[2].resolution} px", name or of_trial[1].name
    if dry_run:
        registry.checked_alias(alias)
        promoting.checked_model_name(store, model_name, of_trial[1].name if version is None else version.name)
        console.print(f"would make {trial} {model_name}@{alias}", markup=False)
        return
    by = getpass.getuser()
    if version is not None:
        found = promoting.promote_version(store, version, alias, name=name, by=by)
    else:
        found = promoting.promote_run(
            store,
            *of_trial,
            alias,
            make_bundle=lambda sweep, trial, run, row: make_model_bundle(place, sweep, trial, run, row),
            name=name,
            by=by,
        )
    say_version(found, place, as_json=as_json)


model_app.command("promote")(promote_command)


@model_app.command("rollback")
def model_rollback(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Argument(help="The alias that goes back.")] = CHAMPION,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Give an alias back to the version that had it before."""
    place = Home(path=home)
    say_version(promoting.roll_back(Store(place.open()), name, alias, by=getpass.getuser()), place, as_json=as_json)


@model_app.command("tag")
def model_tag(
    name: VersionArgument,
    tags: Annotated[list[str], typer.Argument(help="Words that the version gets.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take these words away instead.")] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Mark a version with words; other than an alias, a tag may be on several versions."""
    store = Store(Home(path=home).open())
    model = registry.version(store.database, name)
    found = promoting.tag(store, model, **({"remove": tags} if remove else {"add": tags}))
    console.print(f"{model.reference}: {', '.join(found) or 'no tags'}", markup=False)


@model_app.command("compare")
def model_compare(
    first: Annotated[str, typer.Argument(help="A version, TRIAL or TRIAL@PX.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    metric: Annotated[str | None, typer.Option(help="That decides. Default: that of the first one's sweep.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Two models side by side: figures with intervals, and which is better on the same held-out images."""
    place = Home(path=home)
    database = place.open()
    found = compare(database, place.files, first, second, metric=metric)
    if as_json:
        print_json(found.to_json())
        return
    print_comparison(found)


def print_comparison(found: Comparison) -> None:
    for letter, side, gates in zip("AB", found.sides, found.gates, strict=True):
        closed = f"; kept out by: {', '.join(gates)}" if gates else ""
        console.print(f"{letter}: {side.name}, {side.trial} at {side.resolution} px{closed}", markup=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("metric", "A", "95 % interval", "B", "95 % interval", "A wins"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    names = [name for name in DECIDING if all(name in figures for figures in found.figures)]
    for name in sorted(names, key=lambda name: name != found.metric):
        chance = found.wins.get(name)
        cells = [text for figures in found.figures for text in figure_cells(figures[name])]
        table.add_row(name, *cells, "" if chance is None else f"{chance:.0%}")
    console.print(table)
    console.print(judge_line(dict(found.judge)), markup=False)
    console.print(
        f"{f'{found.better} is better' if found.better else 'neither is better'}: {found.reason}", markup=False
    )


def figure_cells(figure: Figure) -> tuple[str, str]:
    return decimals(figure.value), interval_text(figure.low, figure.high)


def say_version(model: Model, place: Home, *, as_json: bool) -> None:
    path: Path = place.files / model.uri
    if as_json:
        facts = {"model": model.reference, "aliases": list(model.aliases), "file": str(path), "sha256": model.sha256}
        print_json(facts)
        return
    console.print(f"{model.reference} ({', '.join(model.aliases)}): {path}", markup=False)


def when(seconds: float) -> str:
    """A time of the database, in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
