"""The JSON in a safetensors file's header, read without its tensors. No torch in here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from t2f.errors import CheckpointError

METADATA_KEY = "t2f"  # one entry only: safetensors does not keep the order of several


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of one of our files; CheckpointError if it is missing, damaged or not ours."""
    try:
        with safe_open(path, framework="np") as file:
            return own_metadata(path, file.metadata())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(unreadable(path, error)) from error


def own_metadata(path: Path, header: Mapping[str, str] | None) -> dict[str, Any]:
    """What t2f wrote into a file's header; CheckpointError where it wrote none, or something else is there now."""
    if METADATA_KEY not in (header or {}):
        raise CheckpointError(f"{path} is a safetensors file, but not one that t2f wrote")
    try:
        metadata = json.loads(header[METADATA_KEY], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(unreadable(path, error)) from error
    if not isinstance(metadata, dict):
        raise CheckpointError(unreadable(path, "its header is no description"))
    return metadata


def unreadable(path: Path, error: object) -> str:
    return f"{path} cannot be read as a t2f safetensors file: {error}"


def _refuse_constant(name: str) -> None:
    """NaN and infinities are no JSON, and none of ours."""
    raise ValueError(f"{name} in its header")
