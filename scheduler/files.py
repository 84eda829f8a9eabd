"""The home's files as the scheduler sees them: their sizes, and removing them for good. Rows come first, always."""

import time
from collections.abc import Iterable
from pathlib import Path

from t2f.errors import UserError


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def remove_files(root: Path, uris: Iterable[str], *, older_than: float | None = None) -> int:
    """Remove files below `root` and the folders that they leave empty; the bytes that were freed.

    older_than: seconds since 1970; a file that was written later stays, as another one may have taken the place of the
    one that was meant. Default: now.
    """
    limit = time.time() if older_than is None else older_than
    freed = 0
    for uri in uris:
        path = (root / uri).resolve()
        if not path.is_relative_to(root.resolve()):
            raise UserError(f"{uri!r} does not lie in {root}; nothing outside is ever removed")
        try:
            stat = path.stat()
            if stat.st_mtime > limit:
                continue
            path.unlink()
        except FileNotFoundError:
            continue
        freed += stat.st_size
        _remove_empty(path.parent, root.resolve())
    return freed


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:  # something is still in it
            return
        folder = folder.parent
