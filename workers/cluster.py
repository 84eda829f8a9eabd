"""A local Ray, started for this process alone: no dashboard, a token of its own, nothing durable."""

import os
from collections.abc import Mapping
from typing import Any

import ray

from t2f.errors import UserError

# Ray gives each node an id, another one at each start: as a label it would tell apart what is alike.
NODE_ID = "ray.io/node-id"


def start_ray(*, num_cpus: int, labels: Mapping[str, str] | None = None, address: str | None = None) -> None:
    """Start Ray on this machine, or join the one at `address`; `prepare_environment` must have been called before.

    labels: of this machine's node. The nodes of a Ray that is joined have theirs already, so there must be none then.
    """
    assert os.environ.get("RAY_AUTH_MODE") == "token", "prepare_environment(home) comes before importing ray"
    assert address is None or not labels, "a Ray that is joined takes no labels"
    options: dict[str, Any] = {"address": address}
    if address is None:
        # "local", since without an address Ray would join any other one that it finds on this machine, or the file of a
        # dead one. Checkpoints and data never pass through the object store, so the smallest one will do.
        options = {"address": "local", "num_cpus": num_cpus, "labels": dict(labels or {})}
        options |= {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, namespace="t2f", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"Ray could not be started or reached: {str(error).splitlines()[0]}") from error


def stop_ray() -> None:
    ray.shutdown()


def available_gpus() -> int:
    """GPUs of the whole cluster, as Ray counts them."""
    return int(ray.cluster_resources().get("GPU", 0))


def node_labels() -> dict[str, str]:
    """The labels of the Ray node that this process runs on, Ray's own (`ray.io/accelerator-type` ...) among them."""
    labels = ray.get_runtime_context().get_node_labels()
    return {key: value for key, value in labels.items() if key != NODE_ID}
