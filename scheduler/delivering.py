"""Hooks beside the scheduler's loop: a thread for each tells it what the outbox holds, and none holds up the loop."""

import logging
import threading
from pathlib import Path

from scheduler import hook_reads
from scheduler.hooksfile import HOOKS_FILE, Hook, read_hooks
from scheduler.sending import SendingError, send
from scheduler.store import Delivery, Store
from t2f.errors import SpecError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
FIRST_WAIT_SECONDS = 1.0  # doubled at each further try
LONGEST_WAIT_SECONDS = 3600.0
# A try is taken for lost so long after its time is over: its process died.
GRACE_SECONDS = 15.0
STOP_SECONDS = 2.0


def wait_before(attempt: int, *, first: float = FIRST_WAIT_SECONDS) -> float:
    """Seconds from a failed try to the next: 1, 2, 4 ... up to an hour."""
    return min(LONGEST_WAIT_SECONDS, first * 2.0 ** min(attempt - 1, 30))


class HookThreads:
    """The hooks that a home declares, also when it declares others while the scheduler runs.

    `spread` is for the scheduler that leads; deliveries are claimed, so anyone may deliver.
    """

    def __init__(self, store: Store, home: Path, *, first_wait: float = FIRST_WAIT_SECONDS) -> None:
        self._store, self._home, self._first_wait = store, home, first_wait
        self._hooks: tuple[Hook, ...] = ()
        self._seen: tuple[int, int] | None = None  # time of change and size of the file that was read last
        self._stop = threading.Event()  # of the present threads
        self._threads: list[threading.Thread] = []
        self._is_new = True

    def start(self) -> None:
        """SpecError for hooks that are not right; later on such a file is logged, and the hooks before it stay."""
        self._seen = self._stamp()
        self._serve_all(read_hooks(self._home))

    def stop(self) -> None:
        """End the threads; what they are sending is sent again by the next scheduler."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def spread(self) -> None:
        """Give new entries of the outbox to the hooks that want them; quick where there are none."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._read_again()
        if self._is_new or hook_reads.has_news(self._store.database):
            self._store.spread_outbox({hook.name: hook.events for hook in self._hooks})
            self._is_new = False

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = (self._home / HOOKS_FILE).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read_again(self) -> None:
        try:
            hooks = read_hooks(self._home)
        except (SpecError, OSError) as error:  # it may be away just now, while somebody writes it
            log.error("the hooks stay as they were: %s", error)
            return
        # Not waited for: one that hangs must not hold up the loop. What it sends is claimed.
        self._stop.set()
        self._serve_all(hooks)
        log.info("hooks: %s", ", ".join(hook.name for hook in hooks) or "none")

    def _serve_all(self, hooks: tuple[Hook, ...]) -> None:
        self._hooks, self._stop = hooks, threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=[hook, self._stop], daemon=True) for hook in self._hooks
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self, hook: Hook, stop: threading.Event) -> None:
        while not stop.wait(POLL_SECONDS):
            try:
                while not stop.is_set() and self.deliver_next(hook, stop):
                    pass
            except Exception:  # the edge of a thread: what goes wrong here must not end the hook for good
                log.exception("the hook %s could not be served; it is tried again", hook.name)

    def deliver_next(self, hook: Hook, stop: threading.Event) -> bool:
        """Try the delivery that is due, if there is one; whether there was."""
        if not hook_reads.is_due(self._store.database, hook.name):
            return False
        delivery = self._store.claim_delivery(hook.name, seconds=hook.timeout_seconds + GRACE_SECONDS)
        if delivery is None:
            return False
        error = self._try(hook, delivery, stop)
        if error is None:
            self._store.end_delivery(delivery)
        elif delivery.attempt >= hook.attempts:
            log.warning("the hook %s is not told of entry %d: %s; given up", hook.name, delivery.outbox_id, error)
            self._store.end_delivery(delivery, error=error)
        else:
            log.info("the hook %s was not told of entry %d: %s", hook.name, delivery.outbox_id, error)
            again_in = wait_before(delivery.attempt, first=self._first_wait)
            self._store.end_delivery(delivery, error=error, again_in=again_in)
        return True

    def _try(self, hook: Hook, delivery: Delivery, stop: threading.Event) -> str | None:
        """What went wrong; None where the hook was told."""
        if delivery.attempt > hook.attempts:
            return f"{hook.attempts} tries have not come to an end: the scheduler died under each"
        try:
            send(hook, delivery, should_stop=stop.is_set)
        except SendingError as error:
            return str(error)
        return None
