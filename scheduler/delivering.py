"""Hooks beside the scheduler's loop: a thread for each tells it what the outbox holds, and none holds up the loop."""

import logging
import threading
from collections.abc import Sequence

from scheduler import hook_reads
from scheduler.hooksfile import Hook
from scheduler.sending import SendingError, send
from scheduler.store import Delivery, Store

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
    """The hooks of one scheduler: `spread` is for the one that leads; deliveries are claimed, so anyone may deliver."""

    def __init__(self, store: Store, hooks: Sequence[Hook], *, first_wait: float = FIRST_WAIT_SECONDS) -> None:
        self._store, self._hooks, self._first_wait = store, tuple(hooks), first_wait
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=[hook], daemon=True) for hook in hooks]
        self._is_new = True

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; what they are sending is sent again by the next scheduler."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def spread(self) -> None:
        """Give new entries of the outbox to the hooks that want them; quick where there are none."""
        if self._is_new or hook_reads.has_news(self._store.database):
            self._store.spread_outbox({hook.name: hook.events for hook in self._hooks})
            self._is_new = False

    def _serve(self, hook: Hook) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                while not self._stop.is_set() and self.deliver_next(hook):
                    pass
            except Exception:  # the edge of a thread: what goes wrong here must not end the hook for good
                log.exception("the hook %s could not be served; it is tried again", hook.name)

    def deliver_next(self, hook: Hook) -> bool:
        """Try the delivery that is due, if there is one; whether there was."""
        if not hook_reads.is_due(self._store.database, hook.name):
            return False
        delivery = self._store.claim_delivery(hook.name, seconds=hook.timeout_seconds + GRACE_SECONDS)
        if delivery is None:
            return False
        error = self._try(hook, delivery)
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

    def _try(self, hook: Hook, delivery: Delivery) -> str | None:
        """What went wrong; None where the hook was told."""
        if delivery.attempt > hook.attempts:
            return f"{hook.attempts} tries have not come to an end: the scheduler died under each"
        try:
            send(hook, delivery, should_stop=self._stop.is_set)
        except SendingError as error:
            return str(error)
        return None
