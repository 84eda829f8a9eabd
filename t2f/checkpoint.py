"""Tensors and JSON in one safetensors file, written so that a crash leaves either nothing or the whole file."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from t2f.errors import CheckpointError
from t2f.metadata import METADATA_KEY, own_metadata, unreadable


@dataclass(frozen=True, kw_only=True)
class SavedFile:
    path: Path
    sha256: str
    num_bytes: int


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> SavedFile:
    """Write the file and return its hash: written under another name, flushed to the disk, renamed, folder flushed."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(contiguous, metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True, allow_nan=False)})
    write_durably(path, content)
    return SavedFile(path=path, sha256=hashlib.sha256(content).hexdigest(), num_bytes=len(content))


def write_durably(path: Path, content: bytes) -> None:
    """Make `path` hold `content`, on the disk, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except OSError:
        # After a failed fsync the pages count as clean: only a new file can be trusted.
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_tensors(
    path: Path, *, sha256: str | None = None, prefix: str = ""
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file; CheckpointError if it is missing, damaged, not ours or has another hash.

    prefix: only the tensors whose names begin so, under the rest of their names.
    """
    try:
        if sha256 is not None and file_sha256(path) != sha256:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not the {sha256} that was recorded")
        with safe_open(path, framework="pt") as file:
            metadata = own_metadata(path, file.metadata())
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, metadata
    except (OSError, SafetensorError) as error:
        raise CheckpointError(unreadable(path, error)) from error


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash over names, dtypes, shapes and bits, in the order of names."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        whole.update(np.ascontiguousarray(tensor.reshape(-1).view(torch.uint8).numpy()).data)
    return whole.hexdigest()
