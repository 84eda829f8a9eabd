"""Fixtures for all tests: small real data, made once a session by the project's own code, and a PostgreSQL."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.environment import prepare_environment

# Ray reads its token mode when it is imported, so this comes before every test module.
_TOKEN = Path(tempfile.mkdtemp(prefix="t2f-ray-token-"))
prepare_environment(_TOKEN)
atexit.register(shutil.rmtree, _TOKEN, ignore_errors=True)
# A developer's own database is none to test on.
os.environ.pop("T2F_DATABASE", None)

import torch

from t2f.data import PreparedData, PrepareOptions, Uncaptioned, prepare, render_demo
from t2f.judge import JudgeOptions, save_judge, train_judge
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Bits depend on the number of threads; a test's must not depend on the machine's."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 rendered demo faces with captions, attributes and splits."""
    out = tmp_path_factory.mktemp("demo") / "faces"
    render_demo(out, count=96, seed=0)
    return out


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, demo_source: Path) -> Path:
    """A home folder with the prepared data sets "tiny" (4 to 16 px), with its judge, and "bare", the same faces without
    captions; tests must not write into it."""
    path = tmp_path_factory.mktemp("home")
    options = PrepareOptions(max_resolution=16, min_count=1)
    data = prepare(demo_source, format="imagefolder", out=path / "data" / "tiny", options=options)
    judge_options = JudgeOptions(steps=30, batch=32)
    save_judge(train_judge(data, options=judge_options), data, options=judge_options)
    prepare(demo_source / "images", format="folder", out=path / "data" / "bare", options=options)
    return path


@pytest.fixture(scope="session")
def mixed_data(demo_source: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """The data of "tiny" with 20 further faces that have no captions."""
    folder = tmp_path_factory.mktemp("mixed")
    render_demo(folder / "further", count=20, seed=1)
    for path in (folder / "further" / "images").iterdir():
        path.rename(path.with_name(f"further_{path.name}"))  # else they are named like those of the source
    return prepare(
        demo_source,
        format="imagefolder",
        out=folder / "prepared",
        options=PrepareOptions(max_resolution=16, min_count=1),
        uncaptioned=Uncaptioned(folder=folder / "further" / "images"),
    )


@pytest.fixture(scope="session")
def tiny_data(home: Path) -> PreparedData:
    return PreparedData.open(home / "data" / "tiny")


@pytest.fixture(scope="session")
def bare_data(home: Path) -> PreparedData:
    return PreparedData.open(home / "data" / "bare")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests that ask for no durability; the drills start their own."""
    server = PostgresServer(durable=False)
    yield server
    server.remove()
