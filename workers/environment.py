"""What Ray and torch read from the environment when they are imported; so this comes before both."""

import os
import sys
from pathlib import Path

from t2f.errors import UserError
from t2f.threads import quiet_threads
from t2f.tokens import token_file


def prepare_environment(home: Path) -> None:
    """Set up this process and those it starts: Ray with a token of this home's own, threads that sleep when they wait.

    Ray's ports run code for whoever reaches them (CVE-2023-48022), hence the token; Ray reads its mode at import.
    """
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        raise UserError("ray was imported before prepare_environment(home) was called; call it first")
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token_file(home / "ray.token")))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray would run its workers at the lowest priority, behind everything else on the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet_threads()
    # First-touch page faults are dear: let malloc keep its memory.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1073741824")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1073741824")
