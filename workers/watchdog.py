"""Ends this process before it can do harm: when its lease cannot be renewed, or when its training hangs."""

import faulthandler
import os
import statistics
import time
from collections import deque
from pathlib import Path

# The process ends this share of a lease before the lease does.
LEASE_MARGIN = 0.1
HANG_MEDIAN_STEPS = 20
HANG_SECONDS = 60.0


class Watchdog:
    """Two guards over one attempt.

    The lease's guard is a timer of `faulthandler`, which dumps all stacks and ends the process without needing the GIL,
    so it works although Python itself is stuck. The step's guard is asked by the beating thread: a training that waits
    for ever holds no GIL, and the beats go on.
    """

    def __init__(self, log: Path, *, hang_seconds: float = HANG_SECONDS) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a")
        self._hang_seconds = hang_seconds
        self._durations: deque[float] = deque(maxlen=101)
        self._last_step: float | None = None

    def renewed(self, lease_seconds: float, *, asked_at: float) -> None:
        """The lease holds for so many seconds from `asked_at` (time.monotonic() before the renewal was asked for)."""
        left = asked_at + lease_seconds * (1 - LEASE_MARGIN) - time.monotonic()
        faulthandler.dump_traceback_later(max(left, 0.001), exit=True, file=self._log)

    def stepped(self) -> None:
        now = time.monotonic()
        if self._last_step is not None:
            self._durations.append(now - self._last_step)
        self._last_step = now

    def steps_begin(self) -> None:
        """Steps are expected from now on."""
        self._durations.clear()
        self._last_step = time.monotonic()

    def steps_end(self) -> None:
        """No steps are expected until further notice."""
        self._last_step = None

    @property
    def hangs(self) -> bool:
        """Whether no step ended for 20 median steps and a minute."""
        if self._last_step is None:
            return False
        median = statistics.median(self._durations) if self._durations else 0.0
        return time.monotonic() - self._last_step > HANG_MEDIAN_STEPS * median + self._hang_seconds

    def dump_and_exit(self, reason: str) -> None:
        """Write all stacks to the log and end the process, whatever other threads do."""
        self._log.write(f"{reason}\n")
        self._log.flush()
        faulthandler.dump_traceback(file=self._log)
        os._exit(70)

    def close(self) -> None:
        """Give up the log; the watchdog is of no use after it."""
        self.release()
        self._log.close()

    def release(self) -> None:
        """No lease is held any more."""
        faulthandler.cancel_dump_traceback_later()
        self._last_step = None
