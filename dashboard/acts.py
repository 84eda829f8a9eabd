"""What programs do to sweeps and trials over HTTP: the acts of the command line, by the same functions.

Whoever may open the pages may look. Acts ask for the token of the home, which only its owner can read: on a machine of
several people a loopback address is everybody's.
"""

import getpass
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request

from dashboard.context import Context, RowId, SweepName, the_sweep, the_trial
from dashboard.errors import UnavailableError
from dashboard.models import (
    BranchMade,
    CloneAct,
    Deleted,
    DryRunAct,
    EditAct,
    Edited,
    EnqueueAct,
    ErrorAnswer,
    ExtendAct,
    ForkAct,
    ImportAct,
    Imported,
    SweepActed,
    TrialActed,
)
from scheduler import commands, reads
from scheduler.home import Home
from scheduler.models import sweep_data
from scheduler.reads import Sweep, Trial
from scheduler.store import Store
from scheduler.wandb_import import checked_import
from t2f.errors import SpecError, UserError
from t2f.settings import require_setting
from t2f.tokens import token_file
from t2f.yamlfile import parse_yaml

TOKEN_FILE = "api.token"


def require_token(request: Request, dashboard: Context) -> None:
    """401 where a request does not show the home's token."""
    wanted = token_file(dashboard.home / TOKEN_FILE).read_text(encoding="ascii").strip()
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {wanted}".encode()):
        raise HTTPException(
            401,
            f"an act needs the token of this home; send the header 'Authorization: Bearer TOKEN' with what "
            f"{TOKEN_FILE} in the home's folder holds",
            {"WWW-Authenticate": "Bearer"},
        )


router = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(require_token)],
    responses={status: {"model": ErrorAnswer} for status in (401, 403, 404, 409, 413, 415, 422)},
)


@contextmanager
def acting() -> Iterator[None]:
    """A value that is not allowed is wrong input (422); what else keeps an act from being done is a conflict (409)."""
    try:
        yield
    except SpecError:
        raise
    except UserError as error:
        raise UnavailableError(str(error)) from error


def who() -> str:
    """What the events call whoever acted."""
    return f"{getpass.getuser()}, HTTP"


# Sweeps


def act_on_sweep(dashboard: Context, name: str, act: Callable[[Store, Sweep], None]) -> SweepActed:
    store, sweep = the_sweep(dashboard, name)
    with acting():
        act(store, sweep)
    return SweepActed(sweep=name, state=reads.sweep(dashboard.database, name).state)


@router.post("/sweeps/{name}/pause")
def pause_sweep(name: SweepName, dashboard: Context) -> SweepActed:
    """Start no new stage runs of a sweep; what runs goes on."""
    return act_on_sweep(dashboard, name, commands.pause_sweep)


@router.post("/sweeps/{name}/resume")
def resume_sweep(name: SweepName, dashboard: Context) -> SweepActed:
    """Go on with a paused sweep."""
    return act_on_sweep(dashboard, name, commands.resume_sweep)


@router.post("/sweeps/{name}/stop")
def stop_sweep(name: SweepName, dashboard: Context) -> SweepActed:
    """Finish what runs, then end the sweep; nothing new is begun."""
    return act_on_sweep(
        dashboard, name, lambda store, sweep: commands.stop_sweep(store, sweep, reason=f"stopped by {who()}")
    )


@router.post("/sweeps/{name}/cancel")
def cancel_sweep(name: SweepName, dashboard: Context) -> SweepActed:
    """End a sweep now; stage runs that other sweeps want go on."""
    return act_on_sweep(dashboard, name, commands.cancel_sweep)


@router.post("/sweeps/{name}/edit")
def edit_sweep(name: SweepName, act: EditAct, dashboard: Context) -> Edited:
    """Change bounds, values, budget, resources or retries of a sweep, also after its end; what is trained stays."""
    store, sweep = the_sweep(dashboard, name)
    with acting():
        edit = commands.edit_sweep(store, sweep, act.set, by=who(), dry_run=act.dry_run)
    return Edited(sweep=name, dry_run=act.dry_run, **asdict(edit))


@router.post("/sweeps/{name}/enqueue")
def enqueue_trial(name: SweepName, act: EnqueueAct, dashboard: Context) -> TrialActed:
    """Add a trial with these parameters; the others are drawn when it begins."""
    store, sweep = the_sweep(dashboard, name)
    with acting():
        trial = commands.enqueue_trial(store, sweep, act.parameters)
    return TrialActed(trial=trial, state=reads.trial(dashboard.database, trial).state)


@router.post("/sweeps/{name}/delete")
def delete_sweep(name: SweepName, act: DryRunAct, dashboard: Context) -> Deleted:
    """Delete an ended sweep with its models and files; what other sweeps share stays."""
    store, sweep = the_sweep(dashboard, name)
    with acting():
        gone = commands.delete_sweep(store, dashboard.files, sweep, by=who(), dry_run=act.dry_run)
    return Deleted(sweep=name, dry_run=act.dry_run, **asdict(gone))


@router.post("/import-wandb")
def import_wandb(act: ImportAct) -> Imported:
    """Make a sweep file of a W&B sweep; what had no counterpart is noted. Nothing is kept."""
    source = "the W&B sweep"
    found = checked_import(parse_yaml(act.text, source=source), source=source, dataset=act.dataset, folder=Path())
    return Imported(text=found.text(), notes=found.notes)


# Trials


def act_on_trial(dashboard: Context, name: str, number: int, act: Callable[[Store, Trial], None]) -> TrialActed:
    store, trial = the_trial(dashboard, name, number)
    with acting():
        act(store, trial)
    return TrialActed(trial=trial.name, state=reads.trial(dashboard.database, trial.name).state)


@router.post("/sweeps/{name}/trials/{number}/pause")
def pause_trial(name: SweepName, number: RowId, dashboard: Context) -> TrialActed:
    """Start no new stage runs of one trial; what it shares goes on for others."""
    return act_on_trial(dashboard, name, number, commands.pause_trial)


@router.post("/sweeps/{name}/trials/{number}/resume")
def resume_trial(name: SweepName, number: RowId, dashboard: Context) -> TrialActed:
    """Go on with a paused trial."""
    return act_on_trial(dashboard, name, number, commands.resume_trial)


@router.post("/sweeps/{name}/trials/{number}/cancel")
def cancel_trial(name: SweepName, number: RowId, dashboard: Context) -> TrialActed:
    """End one trial; stage runs that other trials share go on."""
    return act_on_trial(dashboard, name, number, commands.cancel_trial)


@router.post("/sweeps/{name}/trials/{number}/promote")
def promote_trial(name: SweepName, number: RowId, dashboard: Context) -> TrialActed:
    """Let a stopped trial go on from its sealed stage to its end; an ended sweep is open again."""
    return act_on_trial(dashboard, name, number, commands.promote_trial)


@router.post("/sweeps/{name}/trials/{number}/retry")
def retry_trial(name: SweepName, number: RowId, dashboard: Context) -> TrialActed:
    """Try a failed or diverged trial again where it broke, with fresh retry budgets."""
    _, sweep = the_sweep(dashboard, name)
    return act_on_trial(dashboard, name, number, lambda store, trial: commands.retry_trial(store, sweep, trial))


@router.post("/sweeps/{name}/trials/{number}/clone")
def clone_trial(name: SweepName, number: RowId, act: CloneAct, dashboard: Context) -> BranchMade:
    """Add a trial with the same parameters but for those that are set."""
    store, trial = the_trial(dashboard, name, number)
    with acting():
        branch = commands.clone_trial(
            store, trial, values=settings(act.set), seed=act.seed, by=who(), dry_run=act.dry_run
        )
    return made(branch, act)


@router.post("/sweeps/{name}/trials/{number}/fork")
def fork_trial(name: SweepName, number: RowId, act: ForkAct, dashboard: Context) -> BranchMade:
    """Add a trial on a sealed stage of another, with other settings from the next stage on."""
    store, trial = the_trial(dashboard, name, number)
    with acting():
        branch = commands.fork_trial(store, trial, act.at, values=settings(act.set), by=who(), dry_run=act.dry_run)
    return made(branch, act)


@router.post("/sweeps/{name}/trials/{number}/extend")
def extend_trial(name: SweepName, number: RowId, act: ExtendAct, dashboard: Context) -> BranchMade:
    """Add a trial that goes on where a complete one ended, or a pruned one was stopped."""
    store, trial = the_trial(dashboard, name, number)
    sweep = reads.sweep(dashboard.database, name)
    with acting():
        branch = commands.extend_trial(
            store,
            trial,
            images=act.images,
            to=act.to,
            images_beyond=tuple(act.images_beyond),
            prepared_to=max(sweep_data(Home(path=dashboard.home), sweep).resolutions),
            by=who(),
            dry_run=act.dry_run,
        )
    return made(branch, act)


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values by full names of settings; SpecError for a name that is none."""
    return {require_setting(name): value for name, value in given.items()}


def made(branch: commands.Branch, act: DryRunAct) -> BranchMade:
    return BranchMade(trial=branch.name, of=branch.of, dry_run=act.dry_run, trained=dict(branch.stages))
