"""Who may import whom, and what starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("t2f", "workers", "scheduler", "dashboard")
# Files of the scheduler that run things, and so know the workers.
RUNS = {"runner.py", "system.py", "demo.py", "cli.py", "sweep_cli.py", "models.py"}


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] in PACKAGES}


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("path", files("t2f"), ids=str)
def test_t2f_knows_nobody_of_ours(path):
    assert all(name.split(".")[0] == "t2f" for name in imports(path))


@pytest.mark.parametrize("path", files("workers"), ids=str)
def test_workers_know_the_store_and_t2f(path):
    allowed = {"scheduler.store", "scheduler.database", "scheduler.states"}
    assert {name for name in imports(path) if name.startswith(("scheduler", "dashboard"))} <= allowed


@pytest.mark.parametrize("path", [p for p in files("scheduler") if p.name not in RUNS], ids=str)
def test_only_what_runs_things_knows_workers(path):
    assert not any(name.startswith(("workers", "dashboard")) for name in imports(path))


@pytest.mark.parametrize("path", files("dashboard"), ids=str)
def test_the_dashboard_knows_no_workers(path):
    assert not any(name.startswith("workers") for name in imports(path))


@pytest.mark.parametrize(
    "module",
    [
        "t2f.spec",
        "t2f.settings",
        "t2f.probe",
        "t2f.data",
        "t2f.cli",
        "t2f.progan",
        "scheduler.cli",
        "scheduler.commands",
        "dashboard.app",
    ],
)
def test_these_start_without_torch_and_ray(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_really_come_from_here(package):
    code = f"import {package}; print({package}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert Path(done.stdout.strip()).parent == ROOT / package
