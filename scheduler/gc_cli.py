"""The command `t2f gc`: what takes room and is not needed."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from scheduler.collecting import Collection, Item, collect, home_quota, read_bytes, set_home_quota
from scheduler.home import Home
from scheduler.store import Store
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.errors import UserError

SHOWN = 40  # files that are listed one by one


def gc_command(
    quota: Annotated[
        str | None, typer.Option(help="Bytes that checkpoints may take, such as 50GB; default: the home's quota.")
    ] = None,
    keep_quota: Annotated[
        bool, typer.Option("--keep-quota", help="Set --quota for the home: a running `t2f up` keeps to it.")
    ] = False,
    no_quota: Annotated[bool, typer.Option("--no-quota", help="Lift the home's quota.")] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Thin out old checkpoints, collect full states over the quota, and remove files that nothing names."""
    if no_quota and (quota is not None or keep_quota):
        raise UserError("--no-quota lifts the home's quota, and --quota or --keep-quota is given too; give one of them")
    if keep_quota and quota is None:
        raise UserError("--keep-quota needs the quota that is to be kept: --quota 50GB --keep-quota")
    place = Home(path=home)
    store = Store(place.open())
    limit = None if quota is None else read_bytes(quota)
    if not dry_run and (no_quota or keep_quota):
        set_home_quota(place, None if no_quota else quota)
    if limit is None and not no_quota:
        limit = home_quota(place)
    found = collect(place, store, quota=limit, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "freed": found.freed, **asdict(found)})
        return
    print_collection(found, dry_run=dry_run)


def print_collection(found: Collection, *, dry_run: bool) -> None:
    table = Table("file", "does", "why", "bytes")
    for item in found.items[:SHOWN]:
        table.add_row(item.uri, item.action, item.why, f"{item.bytes:,}")
    if found.items:
        console.print(table)
    if len(found.items) > SHOWN:
        console.print(f"... and {len(found.items) - SHOWN} more; --json lists them all")
    for why, items in by_reason(found.items):
        console.print(f"{why}: {len(items)} files, {sum(item.bytes for item in items):,} bytes")
    for problem in found.problems:
        console.print(f"left as it is: {problem}", markup=False)
    limit = "no quota" if found.quota is None else f"quota {found.quota:,}"
    would = "would free" if dry_run else "freed"
    console.print(f"checkpoints take {found.checkpoint_bytes:,} bytes, {limit}; {would} {found.freed:,}")


def by_reason(items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.why, []).append(item)
    return list(found.items())
