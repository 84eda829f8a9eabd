"""Where files lie below the home folder, and putting them there for good.

A path is written once: it holds the attempt's number, so two attempts never write the same one.
"""

from dataclasses import dataclass
from pathlib import Path

from t2f.checkpoint import file_sha256, write_durably
from t2f.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    uri: str  # below HOME/files
    sha256: str
    num_bytes: int


class Files:
    """The files of one home; a uri is a relative path, which only this class turns into a real one."""

    def __init__(self, home: Path) -> None:
        self._root = home / "files"

    def path(self, uri: str) -> Path:
        """The local path of a uri; CheckpointError if it would lead elsewhere."""
        path = (self._root / uri).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise CheckpointError(f"{uri!r} does not lie in the files folder")
        return path

    def put(self, uri: str, content: bytes) -> StoredFile:
        path = self.path(uri)
        write_durably(path, content)
        return self.stored(uri)

    def stored(self, uri: str) -> StoredFile:
        """Size and hash of a file as it can be read back now."""
        path = self.path(uri)
        return StoredFile(uri=uri, sha256=file_sha256(path), num_bytes=path.stat().st_size)


def checkpoint_uri(stage_run_id: int, attempt: int, images: int) -> str:
    return f"stage_runs/{stage_run_id}/{attempt}/{images}.safetensors"


def samples_uri(evaluation_id: int, attempt: int) -> str:
    return f"evaluations/{evaluation_id}/{attempt}/samples.png"


def parts_uri(evaluation_id: int, attempt: int) -> str:
    """The values of single images and blocks, by which evaluations are compared."""
    return f"evaluations/{evaluation_id}/{attempt}/parts.json"
