"""A home as a sweep leaves it, behind the real application."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dashboard.app import create_app
from scheduler.database import Database
from scheduler.home import Home
from scheduler.migrations.guards import create_guards, drop_guards
from scheduler.store import Store
from scheduler.tables import stage_runs, sweeps, trials
from tests.dashboard.bundle import tiny_bundle
from tests.dashboard.client import Client
from tests.dashboard.fill import fill_demo


def fill(database: Database, *fillers) -> None:
    """Write rows as they are after long work; the guards against illegal moves are away meanwhile."""
    with database.write.begin() as connection:
        drop_guards(connection)
        for filler in fillers:
            filler(connection)
        create_guards(connection)


def demo_home(path: Path) -> Home:
    """The half-finished demo sweep, its pictures, and a model that draws."""
    place = Home(path=path)
    database = place.create()
    fill(database, lambda connection: fill_demo(connection, place.files))
    sha256 = tiny_bundle(place.files / "models" / "demo.safetensors")
    with database.read.begin() as connection:
        run = connection.scalar(sa.select(stage_runs.c.id).where(stage_runs.c.resolution == 32).limit(1))
        trial = connection.scalar(
            sa.select(trials.c.id).join(sweeps).where(sweeps.c.name == "demo", trials.c.number == 4)
        )
    Store(database).register_model(
        name="demo", trial_id=trial, stage_run_id=run, uri="models/demo.safetensors", sha256=sha256, aliases=["best"]
    )
    database.close()
    return place


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return demo_home(tmp_path / "home")


@pytest.fixture
def client(place: Home) -> Iterator[Client]:
    database = place.open()
    app = create_app(place.path, database, port=8250)
    yield Client(app)
    app.state.dashboard.studio.generator.close()
    database.close()
