"""Faces from sentences, drawn in a process of their own: torch stays out of the web server, and a model that crashes or
takes for ever costs one request."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from t2f.errors import UserError

DRAWING_COMMAND = (sys.executable, "-m", "dashboard.drawing")
TIMEOUT_SECONDS = 60.0
MAX_WAITING = 4


class GenerationBusyError(Exception):
    """Too many requests wait already."""

    retry_after_seconds = 5


class GenerationFailedError(Exception):
    """The drawing process crashed or took too long; the next request gets a new one."""


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    bundle: Path
    sha256: str  # of the bundle: what the process remembers it by
    sentence: str
    seeds: tuple[int, ...]
    truncation: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    png: bytes  # one row of faces, R x R px each
    faces: int
    resolution: int  # px
    unknown_words: Mapping[str, str | None]  # each with the nearest word that the model knows


class Generator:
    """Keeps one drawing process, started by the first request, and gives it one request at a time.

    `draw` may be called from many threads: one draws, MAX_WAITING wait, the rest are refused.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_waiting: int = MAX_WAITING,
        command: Sequence[str] = DRAWING_COMMAND,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.command = tuple(command)
        self._places = threading.BoundedSemaphore(max_waiting + 1)
        self._turn = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def draw(self, request: DrawRequest) -> Drawing:
        """The faces; UserError where the sentence or the model cannot be used."""
        if not self._places.acquire(blocking=False):
            raise GenerationBusyError("other faces are being drawn; try again in a few seconds")
        try:
            with self._turn:
                return self._drawn(request)
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process; a later request starts a new one."""
        with self._turn:
            self._stop()

    def _drawn(self, request: DrawRequest) -> Drawing:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        deadline = time.monotonic() + self.timeout_seconds
        message = {
            "path": str(request.bundle),
            "sha256": request.sha256,
            "sentence": request.sentence,
            "seeds": list(request.seeds),
            "truncation": request.truncation,
        }
        try:
            self._connection.send_bytes(json.dumps(message).encode())
            facts = json.loads(self._receive(deadline))
            if "error" in facts:
                raise UserError(facts["error"])
            png = self._receive(deadline)
        except TimeoutError as error:
            self._stop()
            raise GenerationFailedError(
                f"the faces were not drawn within {self.timeout_seconds:g} s; ask for fewer, or try again later"
            ) from error
        except (EOFError, OSError) as error:
            status = self._stop()
            raise GenerationFailedError(
                f"the process that draws faces ended unexpectedly (status {status}); it is started again when asked"
            ) from error
        return Drawing(
            png=png, faces=len(request.seeds), resolution=facts["resolution"], unknown_words=facts["unknown_words"]
        )

    def _receive(self, deadline: float) -> bytes:
        if not self._connection.poll(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        return self._connection.recv_bytes()

    def _start(self) -> None:
        ours, theirs = Pipe()
        # The packages must be found wherever the server was started from.
        paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with theirs:
            self._process = subprocess.Popen(
                [*self.command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self._connection = ours

    def _stop(self) -> int | None:
        """The exit status of the process that was ended, if there was one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is None:
            return None
        crashed = self._wait(0.2)
        if crashed is None:
            self._process.kill()
        status = self._process.wait()
        self._process = None
        return status

    def _wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
