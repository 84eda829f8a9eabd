"""Files that are all there or not there at all: a folder is filled beside its place and then renamed onto it."""

import fcntl
import glob
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

_KEY_LETTERS = 16  # of a key, in the name of a folder that is not finished


def sha256_of_file(path: Path, span: tuple[int, int] | None = None) -> str:
    """span: (offset, size) of the bytes that count; None: all."""
    with path.open("rb") as file:
        if span is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(span[0])
        return hashlib.sha256(file.read(span[1])).hexdigest()


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
    missing = _missing_parents(out)
    try:
        with writing(out):
            draft.mkdir(parents=True)
            yield draft
            _sync_and_place(draft, out)
    finally:
        _remove(draft, missing)


@contextmanager
def resumed_folder(out: Path, key: str) -> Iterator[Path]:
    """`new_folder` that a killed process leaves behind, and that the next one with this key gets with all in it.

    After an error it goes; after Ctrl-C and kill it stays. Those of other keys are removed. One process at a time:
    another one that is at it is a DataError.
    """
    draft = out.parent / f".{out.name}.{key[:_KEY_LETTERS]}.draft"
    missing = _missing_parents(out)
    with writing(out):
        draft.mkdir(parents=True, exist_ok=True)
        lock = os.open(draft, os.O_RDONLY)
    try:
        _lock(lock, out)
        _remove_others(draft, out)
        try:
            with writing(out):
                yield draft
                _sync_and_place(draft, out)
        except Exception:
            _remove(draft, missing)
            raise
    finally:
        os.close(lock)


def _lock(handle: int, out: Path) -> None:
    """Goes with the process, however it ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"another process is writing {out} from the same data; wait for it, or stop it") from None


def _remove_others(draft: Path, out: Path) -> None:
    """What killed processes left of other content for the same place, unless one is still at it."""
    for other in out.parent.glob(f".{glob.escape(out.name)}.{'?' * _KEY_LETTERS}.draft"):
        if other == draft:
            continue
        handle = os.open(other, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(other, ignore_errors=True)
        finally:
            os.close(handle)


def _missing_parents(out: Path) -> list[Path]:
    return [folder for folder in out.parents if not folder.exists()]


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """A disk's errors in this block become a DataError that names the place."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}; free some space, or choose another place"
        ) from error


def _sync_and_place(draft: Path, out: Path) -> None:
    # Together, because waiting for thousands of files one by one takes longer than writing them.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(sync, (*draft.rglob("*"), draft)))
    _take_place(draft, out)
    sync(out.parent)


def _remove(draft: Path, missing: list[Path]) -> None:
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
