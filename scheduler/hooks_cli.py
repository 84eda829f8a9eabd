"""The commands `t2f hooks`: list hooks and deliveries, try one, send again what was given up."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scheduler import hook_reads
from scheduler.home import Home
from scheduler.hooksfile import HOOKS_FILE, Hook, Webhook, read_hooks
from scheduler.model_cli import when
from scheduler.sending import SendingError, message, send
from scheduler.store import Delivery, DeliveryState, Store
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.errors import UserError

hooks_app = typer.Typer(no_args_is_help=True, help="Hooks: list, test, retry.")


@hooks_app.command("ls")
def hooks_ls(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest deliveries, at most so many.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """List the hooks of hooks.yaml, and what became of the newest deliveries."""
    hooks = read_hooks(home)
    database = Home(path=home).open()
    found = hook_reads.deliveries(database, limit=limit)
    if as_json:
        print_json({"hooks": [hook_json(hook) for hook in hooks], "deliveries": [asdict(line) for line in found]})
        return
    if not hooks:
        console.print(f"no hooks: {home / HOOKS_FILE} does not exist", markup=False)
    for hook in hooks:
        console.print(f"{hook.name}: {', '.join(hook.events)} -> {hook.way.place}", markup=False)
    if not found:
        return
    table = Table("id", "event", "of", "at", "hook", "state", "tries", box=SIMPLE_HEAD)
    for line in found:
        cells = (str(line.id), line.event, line.subject, when(line.at), line.hook, line.state, str(line.attempts))
        table.add_row(*cells)
    console.print(table)
    for line in found:
        if line.error is not None and line.state != DeliveryState.DELIVERED:
            console.print(f"{line.id} at {line.hook}: {line.error}", markup=False)


def hook_json(hook: Hook) -> dict[str, object]:
    kind = "webhook" if isinstance(hook.way, Webhook) else "command"
    facts = {"name": hook.name, "on": list(hook.events), "kind": kind, "place": hook.way.place}
    return {**facts, "timeout_seconds": hook.timeout_seconds, "attempts": hook.attempts}


@hooks_app.command("test")
def hooks_test(
    name: Annotated[str | None, typer.Argument(help="Only this hook.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Tell hooks of an event that did not happen, now and once; its id is 0 and its text says that it is a test."""
    hooks = named_hooks(home, name)
    if not hooks:
        raise UserError(f"there is nobody to tell: {home / HOOKS_FILE} declares no hook")
    failed = []
    for hook in hooks:
        delivery = example(hook)
        if dry_run:
            console.print(f"would send to {hook.name} ({hook.way.place}): {message(delivery).decode()}", markup=False)
            continue
        try:
            send(hook, delivery)
        except SendingError as error:
            failed.append(f"{hook.name} ({hook.way.place}): {error}")
        else:
            console.print(f"{hook.name}: told", markup=False)
    if failed:
        raise UserError(f"not told: {'; '.join(failed)}")


def named_hooks(home: Path, name: str | None) -> list[Hook]:
    """The hooks of a home, or the one of that name; UserError where there is none."""
    hooks = read_hooks(home)
    found = [hook for hook in hooks if name in (None, hook.name)]
    if name is not None and not found:
        names = ", ".join(hook.name for hook in hooks) or "none"
        raise UserError(f"there is no hook {name!r} in {home / HOOKS_FILE}; hooks: {names}")
    return found


def example(hook: Hook) -> Delivery:
    """A delivery of nothing that happened."""
    told = {"sweep": "example", "state": "complete", "kind": "sweep.complete", "test": True}
    return Delivery(
        id=0, outbox_id=0, hook=hook.name, event="sweep.ended", payload=told, at=float(int(time.time())), attempt=1
    )


@hooks_app.command("retry")
def hooks_retry(
    name: Annotated[str | None, typer.Argument(help="Only what this hook was not told.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Deliver after all what was given up; a running `t2f up` does it."""
    named_hooks(home, name)
    count = Store(Home(path=home).open()).retry_deliveries(hook=name)
    print(json.dumps({"retried": count})) if as_json else console.print(f"{count} deliveries are tried again")
