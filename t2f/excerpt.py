"""A part of a safetensors file as a file of its own, copied byte for byte. No torch in here, and no tensor is built.

A safetensors file is the length of its header as 8 bytes, little-endian; the header as JSON, which gives each tensor's
place in what follows; and the tensors' bytes (https://huggingface.co/docs/safetensors).
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from t2f.data.files import sync
from t2f.errors import CheckpointError

MAX_HEADER = 100_000_000
BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A file that was written: its hash and size."""

    sha256: str
    num_bytes: int


def excerpt_bytes(source: Path, *, prefix: str) -> int:
    """The size that `write_excerpt` would give its file."""
    with _opened(source) as file:
        header, _ = _read_header(file, source)
    kept, size = _kept(header, prefix)
    return len(_header_bytes(kept)) + size


def write_excerpt(source: Path, target: Path, *, prefix: str, sha256: str) -> Excerpt:
    """Write the tensors whose names begin with `prefix`, under their names and with the file's metadata.

    The file appears whole, on the disk, or not at all. CheckpointError where the source is missing, or is not the one
    with this hash: damaged weights are not copied.
    """
    with _opened(source) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise CheckpointError(f"{source} is damaged: its SHA-256 is not the {sha256} that was recorded")
        file.seek(0)
        header, begin = _read_header(file, source)
        kept, _ = _kept(header, prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        whole = hashlib.sha256()
        num_bytes = 0
        try:
            with draft.open("wb") as out:
                for piece in (_header_bytes(kept), *_tensor_bytes(file, header, kept, begin)):
                    out.write(piece)
                    whole.update(piece)
                    num_bytes += len(piece)
            sync(draft)
            draft.rename(target)
            sync(target.parent)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    return Excerpt(sha256=whole.hexdigest(), num_bytes=num_bytes)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= MAX_HEADER:
        raise CheckpointError(f"{path} is no safetensors file: its header would have {length:,} bytes")
    try:
        header = json.loads(file.read(length))
    except ValueError as error:
        raise CheckpointError(f"{path} is no safetensors file: its header cannot be read ({error})") from error
    return header, 8 + length


def _kept(header: dict[str, Any], prefix: str) -> tuple[dict[str, Any], int]:
    """The header of the excerpt, its tensors laid out one after another as they lie in the source; and their size."""
    names = [name for name in header if name != "__metadata__" and name.startswith(prefix)]
    names.sort(key=lambda name: header[name]["data_offsets"][0])
    kept: dict[str, Any] = {"__metadata__": header["__metadata__"]} if "__metadata__" in header else {}
    place = 0
    for name in names:
        first, last = header[name]["data_offsets"]
        kept[name] = {**header[name], "data_offsets": [place, place + last - first]}
        place += last - first
    return kept, place


def _header_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that tensors are aligned
    return len(text).to_bytes(8, "little") + text


def _tensor_bytes(file: BinaryIO, header: dict[str, Any], kept: dict[str, Any], begin: int) -> Iterator[bytes]:
    for name in kept:
        if name == "__metadata__":
            continue
        first, last = header[name]["data_offsets"]
        file.seek(begin + first)
        left = last - first
        while left:
            piece = file.read(min(BLOCK, left))
            if not piece:
                raise CheckpointError(f"{file.name} ends inside {name}")
            left -= len(piece)
            yield piece
