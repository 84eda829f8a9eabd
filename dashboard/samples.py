"""Sample pictures and model files by their rows' ids: no request ever names a path."""

import hashlib
import io
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

THUMBNAIL_FACES = 4


class MissingFileError(Exception):
    """A row names a file that is not there, or none of ours."""


def below(folder: Path, uri: str) -> Path:
    """The existing file that a row's uri names below the folder; MissingFileError for any other."""
    root = folder.resolve()
    try:
        path = (root / uri).resolve()
        found = path.is_relative_to(root) and path.is_file()
    except (OSError, ValueError) as error:
        raise MissingFileError(f"{uri!r} is no file name") from error
    if not found:
        raise MissingFileError(f"{uri!r} is not among the files of this home")
    return path


def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def thumbnail(path: Path, tile: int) -> bytes:
    """A sample picture's first face for each of its first four captions, side by side, as PNG."""
    return _thumbnail(path, path.stat().st_mtime_ns, tile)


@lru_cache(maxsize=1024)
def _thumbnail(path: Path, modified: int, tile: int) -> bytes:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            faces = picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise MissingFileError(f"{path.name} is no sample picture") from error
    row = Image.new("RGB", (THUMBNAIL_FACES * tile, tile), "white")
    for index in range(min(THUMBNAIL_FACES, faces.height // tile)):
        row.paste(faces.crop((0, index * tile, tile, (index + 1) * tile)), (index * tile, 0))
    buffer = io.BytesIO()
    row.save(buffer, format="PNG")
    return buffer.getvalue()
