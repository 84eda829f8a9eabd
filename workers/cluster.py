"""A local Ray, started for this process alone: no dashboard, a token of its own, nothing durable."""

import os
import secrets
from pathlib import Path

import ray

from t2f.errors import UserError


def start_ray(home: Path, *, num_cpus: int, address: str | None = None) -> None:
    """Start Ray on this machine, or join the one at `address`; every process of it needs the token in HOME/ray.token.

    Ray's ports run code for whoever reaches them (CVE-2023-48022), hence the token.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file(home))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The line "Started a local Ray instance" and warnings about /dev/shm are of no use to somebody who wants faces.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # First-touch page faults are dear: let malloc keep its memory.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1073741824")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1073741824")
    options = {"address": address} if address else {"num_cpus": num_cpus, "object_store_memory": 128 * 2**20}
    try:
        ray.init(
            include_dashboard=False if not address else None,
            logging_level="ERROR",
            log_to_driver=False,
            namespace="t2f",
            **options,
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(f"Ray could not be started or reached: {error}") from error


def stop_ray() -> None:
    ray.shutdown()


def token_file(home: Path) -> Path:
    """A file only its owner can read, with a fresh token where there is none."""
    path = (home / "ray.token").resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path


def available_gpus() -> int:
    """GPUs of the whole cluster, as Ray counts them."""
    return int(ray.cluster_resources().get("GPU", 0))
