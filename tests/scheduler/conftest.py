"""A real SQLite database with a clock that tests move, and a small sweep."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduler import reads, settling, submitting
from scheduler.database import Database, migrate, open_database, sqlite_url
from scheduler.reads import Sweep
from scheduler.store import Store
from scheduler.sweepfile import ResolvedSweep, read_sweep
from t2f.data import PreparedData
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
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


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(sqlite_url(tmp_path / "t2f.sqlite"))
    migrate(opened)
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
