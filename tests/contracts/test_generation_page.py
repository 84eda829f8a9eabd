"""The commands of docs/generation.md, run as they stand."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scheduler.cli import app
from t2f.judge import load_judge
from t2f.ranks import Ranks
from t2f.train import TrainingRequest, train
from t2f.trainfile import ProbeSection
from tests.t2f.helpers import tiny_training, write_bundle

PAGE = Path(__file__).parents[2] / "docs" / "generation.md"


def commands() -> list[str]:
    return [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    t2f ")]


@pytest.fixture
def place(tiny_data, tmp_path, monkeypatch) -> Path:
    """A folder with what the page says is there: a model, a training's folder, captions."""
    write_bundle(tmp_path / "model.safetensors", tiny_data)
    (tmp_path / "captions.txt").write_text("long pink hair\ndark skin and round glasses\n")
    request = TrainingRequest(
        spec=tiny_training(tiny_data, {}, images=16),
        data=tiny_data.path,
        out=tmp_path / "out",
        threads=1,
        probe=ProbeSection(seeds=2, images=16).evaluation(tiny_data, load_judge(tiny_data)[1]),
        checkpoint_seconds=100.0,
    )
    train(request, ranks=Ranks(), progress=lambda *_: None, stage_done=lambda _: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs_in_its_order(place):
    found = commands()
    assert len(found) > 12
    for command in found:
        done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{command}: {done.output}"
    for name in (
        "faces.png",
        "sheet.png",
        "edits.png",
        "words.mp4",
        "seeds.gif",
        "growing.mp4",
        "witness.png",
        "face.png",
    ):
        assert (place / name).stat().st_size > 0, name
    assert (place / "again.png").read_bytes() == (place / "faces.png").read_bytes()
