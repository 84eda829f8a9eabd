"""The demo's folder: emptied only if a demo made it, and held against a second demo."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2f.errors import UserError

MARKER = ".t2f-demo"  # says that a folder is a demo's, so that a fresh start may empty it


@contextmanager
def demo_folder(out: Path, *, resume: bool) -> Iterator[None]:
    """The demo's folder, emptied unless it is to go on, and held against a second demo in it."""
    if out.exists() and not (out / MARKER).exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and no demo's folder; give another one with --out")
    out.mkdir(parents=True, exist_ok=True)
    with (out / MARKER).open("a") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"a demo runs in {out} already; stop it, or give another folder with --out") from error
        if not resume:
            for path in out.iterdir():
                if path.name != MARKER:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield
