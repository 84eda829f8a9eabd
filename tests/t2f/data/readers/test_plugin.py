"""The example of docs/data.md, installed as a package is: found by its entry point, recognised and prepared."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.t2f.data.layouts import picture_bytes

PAGE = Path(__file__).parents[4] / "docs" / "data.md"


@pytest.fixture
def packages(tmp_path):
    """A folder for packages that holds the page's example, as pip would leave it."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# named_faces\.py\n(.*?)```", text, re.S)
    (entry,) = re.findall(r'\[project\.entry-points\."t2f\.datasets"\]\n(.*?)```', text, re.S)
    place = tmp_path / "packages"
    about = place / "named_faces-1.dist-info"
    about.mkdir(parents=True)
    (place / "named_faces.py").write_text(code)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: named-faces\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[t2f.datasets]\n" + entry.replace('"', ""))
    return place


def run(packages, *words):
    code = f"import sys; sys.path.insert(0, {str(packages)!r}); from scheduler.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_example_of_the_page_works(packages, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / ".face").touch()
    for number, name in enumerate(("a_smiling_man.1", "a_smiling_man.2", "an_old_woman.1")):
        (faces / f"{name}.png").write_bytes(picture_bytes(number, "PNG"))
    done = run(packages, "data", "inspect", faces)
    assert "format named-faces, because its .face file says so" in done.stdout, done.stderr
    assert "3, 3 captions, 1 each" in done.stdout
    assert "none found" in done.stdout
    (faces / "_.png").write_bytes(picture_bytes(9, "PNG"))
    assert "no caption: 1" in run(packages, "data", "inspect", faces).stdout
    done = run(packages, "data", "prepare", faces, "--dry-run", "--home", tmp_path / "home")
    assert (done.returncode, "its name says nothing; rename it" in done.stderr) == (2, True)
