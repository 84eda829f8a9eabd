"""A real database with a clock that tests move, and a small sweep; each test of it runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler import reads, settling, submitting
from scheduler.database import Database, open_database, sqlite_url
from scheduler.reads import Sweep
from scheduler.schema import migrate
from scheduler.store import Store
from scheduler.store.queue import Standing
from scheduler.sweepfile import ResolvedSweep, read_sweep
from t2f.data import PreparedData
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.postgres_server import PostgresServer
from tests.scheduler.measured import promote, six, six_store, six_template  # noqa: F401 - fixtures
from tests.scheduler.simulating import begin  # noqa: F401 - a fixture of all tests here

DEMO_LIKE = """
name: demo-like
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
parameters:
  loss.name: {values: [wgan-gp, logistic-r1]}
  generator.learning_rate: {values: [0.001, 0.002, 0.004], from_stage: 8}
early_terminate: {type: halving, eta: 3, min_stage: 8}
probe: {captions: [long pink hair, dark skin], seeds: 2, images: 16}
"""


def standing(sweep_id: int, **values) -> Standing:
    """What a sweep has ready and running, as the queue sees it."""
    return Standing(
        **{"share": 1.0, "max_workers": None, "priority": 50, "running": 0, "devices": 0.0, **values}, sweep_id=sweep_id
    )


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def migrated(url: str) -> str:
    """The URL, its database with all tables."""
    database = open_database(url)
    migrate(database)
    database.close()
    return url


class Databases:
    """Makes databases of one kind that have all tables and no rows, each a copy of the first."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self._folder, self.server = folder, server
        if server is None:
            migrated(sqlite_url(folder / "empty.sqlite"))
        else:
            self._template = server.create_database()
            migrated(server.url(self._template))

    @contextmanager
    def new(self) -> Iterator[str]:
        """A database's URL; it is gone at the end."""
        if self.server is None:
            path = self._folder / "t2f.sqlite"
            shutil.copy(self._folder / "empty.sqlite", path)
            try:
                yield sqlite_url(path)
            finally:
                for left in self._folder.glob("t2f.sqlite*"):
                    left.unlink()
        else:
            name = self.server.create_database(template=self._template)
            try:
                yield self.server.url(name)
            finally:
                self.server.drop_database(name)


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else None
    return Databases(tmp_path_factory.mktemp("databases"), server)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database that has all tables, for what only such a one can do."""
    name = postgres_server.create_database()
    yield migrated(postgres_server.url(name))
    postgres_server.drop_database(name)


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    with databases.new() as url:
        opened = open_database(url)
        yield opened
        opened.close()


@pytest.fixture
def store(database: Database, clock: Clock) -> Store:
    return Store(database, clock=clock)


@pytest.fixture
def resolved(tiny_data: PreparedData) -> Callable[[str], ResolvedSweep]:
    """Reads a sweep from its text, on the tiny data set."""

    def read(text: str) -> ResolvedSweep:
        return read_sweep(Section(parse_yaml(text, source="test"), "test"), Path()).resolve(tiny_data, "j" * 64)

    return read


@pytest.fixture
def submit(store: Store, resolved: Callable[[str], ResolvedSweep]) -> Callable[..., Sweep]:
    """Submits a sweep and makes its first demands."""

    def do(text: str = DEMO_LIKE, name: str = "s") -> Sweep:
        submitting.submit_sweep(store, resolved(text), name=name, submitted=text, data_name="tiny")
        sweep = reads.sweep(store.database, name)
        settling.settle(store, sweep)
        return sweep

    return do


@pytest.fixture
def worker(store: Store) -> int:
    return store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
