"""The examples of docs/python.md, run as they stand."""

import re
from pathlib import Path

import pytest

from scheduler import Sweep
from tests.scheduler.conftest import DEMO_LIKE

TEXT = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture
def place(home, tmp_path, monkeypatch) -> Path:
    """A folder with what the page says is there: a sweep file and prepared data."""
    (tmp_path / "t2f-home" / "data").mkdir(parents=True)
    for name in ("tiny", "faces"):
        (tmp_path / "t2f-home" / "data" / name).symlink_to(home / "data" / "tiny")
    (tmp_path / "sweep.yaml").write_text(DEMO_LIKE.replace(", from_stage: 8", ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("T2F_HOME", raising=False)
    return tmp_path


def test_the_examples_run(place, capsys):
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(code, {"__name__": "example"})
    said = capsys.readouterr().out
    assert "6 trials, 18 stage runs, 0 saved by sharing" in said
    with Sweep.open("demo-like") as sweep:
        assert [trial.origin for trial in sweep.trials()] == ["grid"] * 6 + ["enqueued"]
    with Sweep.open("mine") as sweep:
        assert sweep.state == "complete"
        assert len(sweep.trials()) == 15
        assert sweep.best().value < 0.001
        assert f"complete {sweep.best().trial}" in said


def test_what_the_class_has_is_on_the_page():
    public = [name for name in vars(Sweep) if not name.startswith("_") and name not in ("close", "trials", "error")]
    missing = [name for name in public if f"{name}(" not in TEXT and f".{name}" not in TEXT]
    assert missing == []
