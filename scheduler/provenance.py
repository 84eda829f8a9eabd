"""What a sweep was submitted with: the code's commit, package versions, Python and the machine."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from t2f.processor import cpu_model
from t2f.spec import TRAINING_VERSION

PACKAGES = ("t2f", "torch", "numpy", "pillow", "ray", "sqlalchemy", "safetensors")


def provenance() -> dict[str, Any]:
    """Commit, whether it was changed, versions, Python, processor.

    That is where it was submitted; where it was trained is told by the class of numerics of each attempt.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "training_version": TRAINING_VERSION,
        "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", Path(__file__).parent, *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
