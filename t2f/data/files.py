"""Files that are all there or not there at all: a folder is filled beside its place and then renamed onto it."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from t2f.errors import DataError


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """What the file says; DataError where it is no JSON in UTF-8."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    # RecursionError: brackets nested by the thousand.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}); write it again from its source") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def sync(path: Path) -> None:
    """Has the file or folder on the disk when it returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write in; at the end it is synced and takes the place of `out`, after an error it goes.

    With it go the parents of `out` that were made for it. An `out` that exists is replaced as a whole: whether it may
    be is the caller's question.
    """
    draft = out.parent / f".{out.name}.{secrets.token_hex(4)}.draft"
    missing = [folder for folder in out.parents if not folder.exists()]
    try:
        draft.mkdir(parents=True)
        yield draft
        # Together, because waiting for thousands of files one by one takes longer than writing them.
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(sync, (*draft.rglob("*"), draft)))
        _take_place(draft, out)
        sync(out.parent)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}; free some space, or choose another place"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):  # not empty, as after all went well
                folder.rmdir()


def _take_place(draft: Path, out: Path) -> None:
    if not out.exists():
        draft.rename(out)
        return
    # No system call swaps two folders portably: the old one steps aside first and goes last.
    old = out.parent / f".{out.name}.{secrets.token_hex(4)}.old"
    out.rename(old)
    try:
        draft.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
