"""Collecting what is no longer needed: rows first, then their files, then files that no row names.

A collection that is killed anywhere leaves at worst files without rows, which the next one finds.
"""

import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from scheduler import file_reads
from scheduler.database import Database
from scheduler.files import remove_files
from scheduler.home import Home
from scheduler.retention import Kept, Step, over_quota, thinned
from scheduler.states import RunState
from scheduler.store import CheckpointRow, Store
from t2f.data.files import sync
from t2f.errors import CheckpointError, UserError
from t2f.excerpt import excerpt_bytes, write_excerpt

log = logging.getLogger(__name__)

GRACE_SECONDS = 3600.0  # and the longest lease: so long a file may be without a row, since it is written first
COLLECT_SECONDS = 120.0  # from one collection of a running scheduler to the next
QUOTA_FILE = "quota"
UNITS = {"": 1, "B": 1}
UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGTP", start=1)}
UNITS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", start=1)}


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file that was, or would be, let go."""

    uri: str
    action: str  # "removed", or "shrunk" to its averaged weights
    why: str
    bytes: int  # that are free then


@dataclass(frozen=True, kw_only=True)
class Collection:
    items: tuple[Item, ...]
    checkpoint_bytes: int  # of all checkpoints before
    quota: int | None
    problems: tuple[str, ...]  # checkpoints whose files are missing or damaged: left as they are

    @property
    def freed(self) -> int:
        return sum(item.bytes for item in self.items)


def read_bytes(text: str) -> int:
    """A number of bytes such as 50GB, 1.5TiB or 0; UserError elsewhere."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    units = {unit.lower(): size for unit, size in UNITS.items()}
    if found is None or found[2].lower() not in units:
        raise UserError(f"{text!r} is no number of bytes; write it like 50GB, 1.5TiB or 0")
    return round(float(found[1]) * units[found[2].lower()])


def home_quota(home: Home) -> int | None:
    """The quota that is set for a home, which a running scheduler keeps to; None where there is none."""
    path = home.path / QUOTA_FILE
    if not path.exists():
        return None
    return read_bytes(path.read_text(encoding="utf-8"))


def set_home_quota(home: Home, quota: str | None) -> None:
    """Set or lift (None) the quota of a home."""
    path = home.path / QUOTA_FILE
    if quota is None:
        path.unlink(missing_ok=True)
        return
    read_bytes(quota)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{quota.strip()}\n", encoding="utf-8")
    sync(draft)
    draft.rename(path)


def collect(home: Home, store: Store, *, quota: int | None, dry_run: bool = False) -> Collection:
    """Thin out checkpoints inside stages, bring the rest down to the quota, and remove files without a row.

    UserError where another collection of this home is under way.
    """
    if dry_run:
        return _Collector(home, store, dry_run=True).collect(quota)
    with _alone(home):
        return _Collector(home, store, dry_run=False).collect(quota)


class _Collector:
    def __init__(self, home: Home, store: Store, *, dry_run: bool) -> None:
        self._home, self._store, self._dry_run = home, store, dry_run
        self._items: list[Item] = []
        self._problems: list[str] = []

    def collect(self, quota: int | None) -> Collection:
        database = self._store.database
        # Files before rows: one that is written and named in between is seen with its row.
        files = list(self._old_files())
        used = file_reads.checkpoint_bytes(database)
        for step in thinned(_kept(database)):
            self._take(step)
        if quota is not None:
            left = used - sum(item.bytes for item in self._items)
            for step in over_quota(self._left(), used=left, quota=quota, ema_bytes=self._ema_bytes):
                self._take(step)
        self._remove_unnamed(files)
        return Collection(
            items=tuple(self._items), checkpoint_bytes=used, quota=quota, problems=tuple(dict.fromkeys(self._problems))
        )

    def _left(self) -> list[Kept]:
        """The checkpoints after what was taken so far; a dry run must leave out what it would have taken."""
        taken = {item.uri for item in self._items}
        return [one for one in _kept(self._store.database) if one.uri not in taken]

    def _take(self, step: Step) -> None:
        if step.shrinks:
            for checkpoint in step.checkpoints:
                self._shrink(checkpoint, step.why)
        elif self._dry_run or self._store.drop_checkpoints(
            step.checkpoints[0].stage_run_id, [one.id for one in step.checkpoints], whole_run=step.whole_run
        ):
            for checkpoint in step.checkpoints:
                self._remove(checkpoint.uri)
                self._items.append(Item(uri=checkpoint.uri, action="removed", why=step.why, bytes=checkpoint.bytes))

    def _shrink(self, checkpoint: Kept, why: str) -> None:
        source, uri = self._home.files / checkpoint.uri, ema_uri(checkpoint.uri)
        try:
            if self._dry_run:
                num_bytes = excerpt_bytes(source, prefix="ema.")
            else:
                excerpt = write_excerpt(source, self._home.files / uri, prefix="ema.", sha256=checkpoint.sha256)
                num_bytes = excerpt.num_bytes
                row = CheckpointRow(images=checkpoint.images, uri=uri, sha256=excerpt.sha256, num_bytes=num_bytes)
                if not self._store.shrink_checkpoint(checkpoint.id, ema=row):
                    return  # wanted again meanwhile; the new file has no row and is found later
                self._remove(checkpoint.uri)
        except CheckpointError as error:
            self._problems.append(str(error))
            return
        self._items.append(Item(uri=checkpoint.uri, action="shrunk", why=why, bytes=checkpoint.bytes - num_bytes))

    def _ema_bytes(self, checkpoint: Kept) -> int:
        try:
            return excerpt_bytes(self._home.files / checkpoint.uri, prefix="ema.")
        except CheckpointError as error:
            self._problems.append(str(error))
            return checkpoint.bytes  # nothing would be won

    def _remove(self, uri: str) -> None:
        if not self._dry_run:
            remove_files(self._home.files, [uri])

    def _old_files(self) -> Iterator[tuple[str, int]]:
        """uri and size of files that no row could still be about to name."""
        limit = (
            time.time() - GRACE_SECONDS - max(0.0, file_reads.longest_lease(self._store.database, self._store.now()))
        )
        for folder, _, names in os.walk(self._home.files):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    stat = os.stat(path)
                except FileNotFoundError:
                    continue
                if stat.st_mtime < limit:
                    yield os.path.relpath(path, self._home.files), stat.st_size

    def _remove_unnamed(self, files: Sequence[tuple[str, int]]) -> None:
        named = file_reads.named_files(self._store.database)
        taken = {item.uri for item in self._items}
        limit = time.time() - GRACE_SECONDS
        for uri, size in files:
            if uri in named or uri in taken:
                continue
            if not self._dry_run:
                remove_files(self._home.files, [uri], older_than=limit)
            self._items.append(Item(uri=uri, action="removed", why="no row names it", bytes=size))


def ema_uri(uri: str) -> str:
    """Where the averaged weights of a checkpoint lie once its state is collected."""
    return f"{uri.removesuffix('.safetensors')}.ema.safetensors"


def _kept(database: Database) -> list[Kept]:
    return [_checkpoint(row) for row in file_reads.checkpoint_rows(database)]


def _checkpoint(row: sa.Row) -> Kept:
    return Kept(
        id=row.id,
        stage_run_id=row.stage_run_id,
        images=row.images,
        attempt=row.attempt,
        uri=row.uri,
        sha256=row.sha256,
        bytes=row.bytes,
        sealed=bool(row.sealed),
        content=row.content,
        created=row.created,
        state=RunState(row.state),
        stage_images=row.spec["images"],
        is_wanted=bool(row.is_wanted),
        is_measured=bool(row.is_measured),
    )


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One collection at a time: of two, the second could take a file for garbage that the first has just written."""
    with (home.path / "gc.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{home.path} is being collected by another process; try again when it is done") from error
        yield


class CollectorThread:
    """Collects now and then beside a scheduler's loop, which must not wait for it."""

    def __init__(self, home: Home, store: Store, *, every_seconds: float = COLLECT_SECONDS) -> None:
        self._home, self._store, self._every = home, store, every_seconds
        self._next = time.monotonic() + every_seconds
        self._thread: threading.Thread | None = None

    def turn(self) -> None:
        """Begin a collection if it is time and none is under way."""
        if time.monotonic() < self._next or (self._thread is not None and self._thread.is_alive()):
            return
        self._next = time.monotonic() + self._every
        self._thread = threading.Thread(target=self._collect, name="collector", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        try:
            found = collect(self._home, self._store, quota=home_quota(self._home))
        except Exception:  # the edge of this thread: the loop goes on, and the next collection tries again
            log.exception("collecting files failed; trying again later")
            return
        if found.items:
            log.info("collected %s files, %s bytes", len(found.items), found.freed)
        for problem in found.problems:
            log.warning("not collected: %s", problem)

    def close(self) -> None:
        """Wait for a collection that is under way."""
        if self._thread is not None:
            self._thread.join()
