"""The commands `t2f db ...`: which database a home has, what is in it, bringing it up to date, copying it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scheduler.database import Database, open_database, shown_url, sqlite_path
from scheduler.database_facts import database_facts
from scheduler.home import Home
from scheduler.schema import back_up, free_path, migrate, newest_revision, revision
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, console, print_json
from t2f.errors import UserError

db_app = typer.Typer(no_args_is_help=True, help="The database: use, show, upgrade, backup.")


@db_app.command("use")
def db_use(
    url: Annotated[
        str, typer.Argument(help="postgresql://USER@HOST:PORT/DATABASE; - reads it from the standard input.")
    ],
    leave_sweeps: Annotated[
        bool, typer.Option("--leave-sweeps", help="Though the home's SQLite holds sweeps, which stay there.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Keep the home's rows in another database from now on; it is tried first."""
    if url == "-":
        url = sys.stdin.readline().strip()
    place = Home(path=home)
    if not leave_sweeps and (left := _sweeps_in_sqlite(place)):
        raise UserError(
            f"{home} holds {left} sweeps in its SQLite, which are not copied; finish them first, use another home, or "
            "leave them there with --leave-sweeps"
        )
    if dry_run:
        revision(open_database(url))
        console.print(f"would keep the rows of {home} in {shown_url(url)}")
        return
    place.use(url)
    console.print(f"{home} keeps its rows in {shown_url(url)}")


def _sweeps_in_sqlite(place: Home) -> int:
    if not sqlite_path(place.sqlite_url).exists():
        return 0
    return database_facts(open_database(place.sqlite_url)).rows.get("sweeps", 0)


@db_app.command("show")
def db_show(home: HomeOption = DEFAULT_HOME, as_json: AsJson = False) -> None:
    """Show the kind of the home's database, its schema, its size and its rows."""
    facts = database_facts(_existing(home))
    if as_json:
        print_json(asdict(facts))
        return
    state = (
        "up to date" if facts.schema == facts.newest_schema else f"`t2f db upgrade` brings it to {facts.newest_schema}"
    )
    console.print(f"{facts.kind} {facts.version}: {facts.url}")
    console.print(f"schema {facts.schema or 'none'}: {state}; {facts.bytes / 1e6:,.1f} MB")
    table = Table("table", "rows")
    for name, count in facts.rows.items():
        table.add_row(name, f"{count:,}")
    console.print(table)


@db_app.command("upgrade")
def db_upgrade(home: HomeOption = DEFAULT_HOME, dry_run: DryRun = False) -> None:
    """Make the tables or bring them up to date; every command does so where it must."""
    place = Home(path=home)
    if dry_run:
        before = revision(_existing(home))
        newest = newest_revision()
        console.print(f"schema {before}: up to date" if before == newest else f"would go from {before} to {newest}")
        return
    place.path.mkdir(parents=True, exist_ok=True)
    done = migrate(open_database(place.database_url))
    if done.before == done.after:
        console.print(f"schema {done.after}: up to date")
    else:
        console.print(f"schema {done.after}, before: {done.before or 'none'}")
    if done.backup is not None:
        console.print(f"a copy of what was before: {done.backup}")


@db_app.command("backup")
def db_backup(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The copy; default: beside the database.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Copy a SQLite database as it is at one moment, while others work on it."""
    database = _existing(home)
    path = sqlite_path(database.url)
    if path is None:
        raise UserError(
            f"a PostgreSQL is copied by its own program: pg_dump --format=custom --file=t2f.dump {database.shown_url}"
        )
    target = out or free_path(path, "backup")
    if dry_run:
        console.print(f"would copy {path} to {target}")
        return
    back_up(database, target)
    console.print(f"copied {path} to {target}")


def _existing(home: Path) -> Database:
    """The home's database as it is: looking must not bring it up to date."""
    place = Home(path=home)
    if not place.has_database:
        place.open()  # says what is missing
    return open_database(place.database_url)
