"""The commands of docs/registry.md, run in their order on a sweep with real checkpoints."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scheduler import promoting, reads, settling
from scheduler.cli import app
from scheduler.home import Home
from scheduler.models import make_model_bundle
from scheduler.store import Store
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.test_models import place  # noqa: F401 - a fixture

TEXT = (Path(__file__).parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")


@pytest.fixture
def registry_home(place, tmp_path, monkeypatch) -> Path:  # noqa: F811 - the fixture
    """The sweep "s" with its trial T0, measured at 4 and 8 px, of which 8 px is the best model."""
    shutil.copytree(place.path, tmp_path / "home", symlinks=True)
    own = Home(path=tmp_path / "home")
    store = Store(own.open())
    worker = store.register_worker(name="again", node="n", pid=1, device="cpu", share=1.0)
    settling.settle(store, reads.sweep(store.database, "s"))
    while (job := claim(store, worker)) is not None and job.kind == "evaluate":
        start(store, job)
        finish(store, job, score=0.6)
    sweep = reads.sweep(store.database, "s")
    promoting.promote_best(store, sweep, lambda *what: make_model_bundle(own, *what))
    store.database.close()
    monkeypatch.setenv("T2F_HOME", str(own.path))
    return own.path


def test_every_command_of_the_page_runs_in_its_order(registry_home):
    commands = [re.sub(r"\s+#.*", "", line.strip()) for line in TEXT.splitlines() if line.startswith("    t2f ")]
    said = {}
    for command in commands:
        here = command.replace("faces/T3@8", "s/T0@4").replace("faces", "s")
        done = CliRunner().invoke(app, shlex.split(here)[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{here}: {done.output}"
        said[command] = done.output
    assert len(said) == 7
    assert "s:2 (champion)" in said["t2f promote faces/T3@8"]
    assert "s:1 (best, champion)" in said["t2f model promote faces@best champion"]
    assert "figures at 8 px and 4 px cannot be compared" in said["t2f model compare faces@champion faces:2"]
    assert "s:2 (champion)" in said["t2f model rollback faces champion"]
    assert "champion rolled back to s:2" in said["t2f model show faces@champion"]
    assert "s:2: reviewed" in said["t2f model tag faces@champion reviewed"]
