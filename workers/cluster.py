"""A local Ray, started for this process alone: no dashboard, a token of its own, nothing durable."""

import os

import ray

from t2f.errors import UserError


def start_ray(*, num_cpus: int, address: str | None = None) -> None:
    """Start Ray on this machine, or join the one at `address`; `prepare_environment` must have been called before."""
    assert os.environ.get("RAY_AUTH_MODE") == "token", "prepare_environment(home) comes before importing ray"
    options = {"address": address}
    if address is None:
        # Checkpoints and data never pass through the object store, so the smallest one will do.
        options = {"num_cpus": num_cpus, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, namespace="t2f", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"Ray could not be started or reached: {str(error).splitlines()[0]}") from error


def stop_ray() -> None:
    ray.shutdown()


def available_gpus() -> int:
    """GPUs of the whole cluster, as Ray counts them."""
    return int(ray.cluster_resources().get("GPU", 0))
