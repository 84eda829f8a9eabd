"""Models that other people made: their JSON files and tensors, read and checked; nothing in them runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from t2f.data.files import read_json
from t2f.errors import CheckpointError, DataError


def read_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], *, prefixes: Sequence[str] = ("",)
) -> dict[str, Tensor]:
    """float32 tensors of these names and shapes in a safetensors file, which may hold others; CheckpointError.

    prefixes: what may stand before every name in the file; the first that fits is taken.
    """
    first = next(iter(shapes))
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            prefix = next((prefix for prefix in prefixes if prefix + first in names), prefixes[-1])
            missing = [prefix + name for name in shapes if prefix + name not in names]
            if missing:
                raise CheckpointError(f"{path} has no tensor {missing[0]}, which its config.json asks for")
            weights = {name: file.get_tensor(prefix + name) for name in shapes}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as a safetensors file: {error}") from None
    for name, shape in shapes.items():
        weight = weights[name]
        if weight.shape != shape or not weight.is_floating_point():
            raise CheckpointError(
                f"{path} holds {prefix}{name} as {weight.dtype} {tuple(weight.shape)}; its config.json asks for "
                f"floating point {shape}"
            )
        weights[name] = weight.float()
        if not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(f"{path} holds {prefix}{name} with values that are not finite numbers")
    return weights


def read_as(path: Path, kind: type) -> Any:
    """The dict or list in a JSON file; CheckpointError where it holds something else."""
    try:
        found = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(found, kind):
        raise CheckpointError(f"{path} holds a {type(found).__name__}; a {kind.__name__} is needed")
    return found


def allow_only(path: Path, found: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    """CheckpointError where a value is given that is not the one that can be run."""
    for name, value in allowed.items():
        if name in found and found[name] != value:
            raise CheckpointError(f"{path} says {name} = {found[name]!r}; only {value!r} can be run")


def whole_number(path: Path, found: Mapping[str, Any], name: str, *, minimum: int = 1) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise CheckpointError(f"{path} says {name} = {value!r}; it must be a whole number, {minimum} or more")
    return value


def require_equal_heads(path: Path, sizes: Mapping[str, Any]) -> None:
    """CheckpointError where a network's width is no multiple of its attention heads."""
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise CheckpointError(
            f"{path} says hidden_size = {sizes['hidden_size']}, which {sizes['num_attention_heads']} attention heads "
            "cannot share equally"
        )


def norm_epsilon(path: Path, found: Mapping[str, Any], *, default: float) -> float:
    """What `layer_norm_eps` says."""
    epsilon = found.get("layer_norm_eps", default)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise CheckpointError(f"{path} says layer_norm_eps = {epsilon!r}; it must be a number between 0 and 1")
    return epsilon
