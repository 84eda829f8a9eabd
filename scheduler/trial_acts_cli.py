"""The commands `t2f trial` that act on a trial: pause, resume, cancel, retry, clone, fork, extend."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from scheduler import commands, reads
from scheduler.home import Home
from scheduler.models import sweep_data
from scheduler.reads import Trial
from scheduler.store import Store
from scheduler.trial_cli import trial_app
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.errors import UserError
from t2f.trainfile import read_override

TrialName = Annotated[str, typer.Argument(help="SWEEP/T12, or T12 where that is unique.")]
SetValues = Annotated[list[str] | None, typer.Option("--set", help="SETTING=VALUE, several times.")]


def named_trial(home: Path, name: str) -> tuple[Store, Trial]:
    store = Store(Home(path=home).open())
    return store, reads.trial(store.database, name)


@trial_app.command("pause")
def trial_pause(name: TrialName, home: HomeOption = DEFAULT_HOME) -> None:
    """Start no new stage runs of one trial; what it shares goes on for others."""
    store, trial = named_trial(home, name)
    commands.pause_trial(store, trial)
    console.print(f"{trial.name}: paused")


@trial_app.command("resume")
def trial_resume(name: TrialName, home: HomeOption = DEFAULT_HOME) -> None:
    """Go on with a paused trial."""
    store, trial = named_trial(home, name)
    commands.resume_trial(store, trial)
    console.print(f"{trial.name}: {reads.trial(store.database, trial.name).state}")


@trial_app.command("cancel")
def trial_cancel(name: TrialName, home: HomeOption = DEFAULT_HOME) -> None:
    """End one trial; stage runs that other trials share go on."""
    store, trial = named_trial(home, name)
    commands.cancel_trial(store, trial)
    console.print(f"{trial.name}: canceled")


@trial_app.command("retry")
def trial_retry(name: TrialName, home: HomeOption = DEFAULT_HOME) -> None:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets."""
    store, trial = named_trial(home, name)
    commands.retry_trial(store, reads.sweep(store.database, trial.sweep_name), trial)
    console.print(f"{trial.name}: tried again")


@trial_app.command("promote")
def trial_promote(name: TrialName, home: HomeOption = DEFAULT_HOME) -> None:
    """Let a stopped trial go on from its sealed stage to its end; an ended sweep is open again."""
    store, trial = named_trial(home, name)
    commands.promote_trial(store, trial)
    console.print(f"{trial.name}: goes on")


@trial_app.command("clone")
def trial_clone(
    name: TrialName,
    set_values: SetValues = None,
    seed: Annotated[int | None, typer.Option(help="Another seed: nothing is shared then.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a trial with the same parameters but for those that are set."""
    store, trial = named_trial(home, name)
    values = dict(map(read_override, set_values or []))
    say(
        commands.clone_trial(store, trial, values=values, seed=seed, by=getpass.getuser(), dry_run=dry_run),
        as_json=as_json,
    )


@trial_app.command("fork")
def trial_fork(
    source: Annotated[str, typer.Option("--from", help="SWEEP/T12@32: the trial, and the px of a sealed stage.")],
    set_values: SetValues = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a trial on a sealed stage of another, with other settings from the next stage on."""
    name, _, resolution = source.partition("@")
    if not (resolution.isascii() and resolution.isdigit() and len(resolution) <= 5):
        raise UserError(f"--from {source} is not allowed; write SWEEP/T12@32, the trial and the px of a sealed stage")
    store, trial = named_trial(home, name)
    values = dict(map(read_override, set_values or []))
    say(
        commands.fork_trial(store, trial, int(resolution), values=values, by=getpass.getuser(), dry_run=dry_run),
        as_json=as_json,
    )


@trial_app.command("extend")
def trial_extend(
    name: TrialName,
    images: Annotated[int | None, typer.Option(help="Of the last stage in all, more than it had.")] = None,
    to: Annotated[int | None, typer.Option(help="The px of a new last stage.")] = None,
    kimg: Annotated[str | None, typer.Option(help="Thousands of images of each further stage: 40, or 40,80.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a trial that goes on where a complete one ended, or a pruned one was stopped."""
    store, trial = named_trial(home, name)
    prepared_to = max(sweep_data(Home(path=home), reads.sweep(store.database, trial.sweep_name)).resolutions)
    new = commands.extend_trial(
        store,
        trial,
        images=images,
        to=to,
        images_beyond=further_images(kimg),
        prepared_to=prepared_to,
        by=getpass.getuser(),
        dry_run=dry_run,
    )
    say(new, as_json=as_json)


def further_images(kimg: str | None) -> tuple[int, ...]:
    """Images of each further stage, from thousands: 40 or 40,80."""
    try:
        found = tuple(round(float(one) * 1000) for one in kimg.split(",")) if kimg else ()
    except (ValueError, OverflowError) as error:
        raise UserError(f"--kimg {kimg} is not allowed; give thousands of images such as 40, or 40,80") from error
    if any(images < 1 for images in found):
        raise UserError(f"--kimg {kimg} is not allowed; each must be above 0")
    return found


def say(branch: commands.Branch, *, as_json: bool) -> None:
    if as_json:
        print_json({"trial": branch.name, "of": branch.of, "dry_run": branch.name is None, "trained": branch.stages})
        return
    shared = [f"{resolution}" for resolution, is_trained in branch.stages.items() if is_trained]
    new = [f"{resolution}" for resolution, is_trained in branch.stages.items() if not is_trained]
    done = "would add a trial" if branch.name is None else f"{branch.name}: added"
    console.print(f"{done}, from {branch.of}; trained already: {px(shared)}; to train: {px(new)}")


def px(resolutions: list[str]) -> str:
    return f"{', '.join(resolutions)} px" if resolutions else "nothing"
