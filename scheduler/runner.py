"""The scheduler's loop: lead, find what was lost, decide, give work to idle workers. The one module that knows workers.

It keeps nothing in memory that matters: killed at any moment and started again, it goes on from the database.
"""

import logging
import os
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from scheduler import promoting, reads, room, settling
from scheduler.collecting import CollectorThread
from scheduler.database import Database, is_full
from scheduler.delivering import HookThreads
from scheduler.dispatching import assignments, may_preempt
from scheduler.fair_share import FairShare
from scheduler.home import Home
from scheduler.models import make_model_bundle
from scheduler.postgres import passes_by_itself
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.states import WorkerState
from scheduler.store import Store
from t2f.data import prepared_key
from t2f.errors import UserError
from workers.actor import WorkerSettings
from workers.cluster import available_gpus
from workers.pool import Ended, WorkerPool

log = logging.getLogger(__name__)

TURN_SECONDS = 0.5  # from one look at the database to the next, at most
CHORE_SECONDS = 1.0  # between two looks at what changes slowly: the lead, leases that ran out, whom to preempt
LEADER_LEASE_SECONDS = 10.0
AWAY_SECONDS = 1.0  # from a turn that the database did not take to the next


@dataclass(frozen=True, kw_only=True)
class RunnerSettings:
    """How this scheduler runs its workers."""

    home: Path
    database_url: str = field(repr=False)  # may hold a password
    cpu_shares: int  # workers where there are no GPUs, of one thread each
    num_gpus: float | None = None  # of each worker; None: 1 where there are GPUs, else a CPU share
    lease_seconds: float = 30.0
    beat_seconds: float = 10.0


def start_pool(settings: RunnerSettings) -> WorkerPool:
    """One worker for each share of this cluster; Ray must be running."""
    gpus = available_gpus()
    num_gpus = settings.num_gpus if settings.num_gpus is not None else float(gpus > 0)
    size = int(gpus / num_gpus) if num_gpus else settings.cpu_shares
    worker = WorkerSettings(
        name="worker",
        home=str(settings.home.resolve()),
        database_url=settings.database_url,
        threads=1,
        num_gpus=num_gpus,
        beat_seconds=settings.beat_seconds,
    )
    return WorkerPool(worker, size=size)


class Runner:
    """One scheduler process. `turn()` does one round; `run()` goes on until told to stop."""

    def __init__(
        self, database: Database, store: Store, pool: WorkerPool, settings: RunnerSettings, hooks: HookThreads
    ) -> None:
        self._database, self._store, self._pool, self._settings = database, store, pool, settings
        self._hooks = hooks
        self._home = Home(path=settings.home)
        self._holder = f"{platform.node()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._term: int | None = None
        self._next_chores = 0.0  # by the monotonic clock
        self._ended: list[Ended] = []  # that are not yet written
        self._held_up: str | None = None  # why no work is given out
        self._collector = CollectorThread(self._home, store)
        self._fair_share = FairShare(store)

    def run(self, *, should_stop: Callable[[], bool]) -> None:
        while True:
            try:
                if should_stop():  # which may look at the database too
                    return
                self.turn()
            except DBAPIError as error:
                # A turn can be done again from its beginning; who died meanwhile, the leases tell.
                if not (passes_by_itself(error) or is_full(error)):
                    raise
                log.warning("the database is away or has no room; trying again: %s", error.orig)
                time.sleep(AWAY_SECONDS)
            self._pool.wait(TURN_SECONDS)

    def turn(self) -> None:
        """One round; does nothing while another scheduler leads."""
        has_chores = time.monotonic() >= self._next_chores
        if has_chores and not self._lead():
            log.info("another scheduler leads; waiting")
            return
        self._ended += self._pool.poll()
        while self._ended:  # each is forgotten once it is written
            self._note_end(self._ended[0])
            del self._ended[0]
        if has_chores:
            self._store.expire_leases()
            self._look_for_room()
        sweeps = reads.open_sweeps(self._database)
        for sweep in sweeps:
            if settling.pause_changed_data(self._store, sweep, prepared_key(self._data_folder(sweep))):
                continue
            promote = partial(self._promote, sweep)
            if settling.settle(self._store, sweep, promote=promote):
                # In this order: killed in between, the next scheduler finds the sweep open and does both.
                settling.end_sweep(self._store, sweep, fault=promote())
        if self._held_up is None:
            self._dispatch()
            if has_chores:
                self._preempt()
        self._fair_share.turn(has_rivals=len(sweeps) > 1)
        self._collector.turn()
        self._hooks.spread()

    def _lead(self) -> bool:
        """Renew the lead in time; whether this scheduler has it."""
        term = self._store.lead(self._holder, LEADER_LEASE_SECONDS)
        if term is None:
            return False
        self._next_chores = time.monotonic() + CHORE_SECONDS
        if term != self._term:
            self._term, self._held_up, self._fair_share = term, None, FairShare(self._store)
            self._bury_the_dead()
        return True

    def _look_for_room(self) -> None:
        """Give out no work while what it writes might not fit, and say so; what runs goes on."""
        why = room.shortage(self._home, self._database)
        if (why is None) != (self._held_up is None):  # the bytes in it change with every look
            self._store.hold_up(self._holder, self._term, why)
            log.warning("%s", why or "there is room on the disk again")
            self._held_up = why

    def _data_folder(self, sweep: Sweep) -> Path:
        return self._home.data / sweep.data_name

    def _promote(self, sweep: Sweep) -> str | None:
        """Make the sweep's best trial its model; what kept that from being done, since other sweeps must go on."""
        try:
            promoting.promote_best(self._store, sweep, self._make_bundle)
        except UserError as error:
            log.warning("sweep %s: %s", sweep.name, error)
            return str(error)
        return None

    def _make_bundle(self, sweep: Sweep, trial: Trial, run: StageRun, checkpoint: Row) -> tuple[str, str]:
        return make_model_bundle(self._home, sweep, trial, run, checkpoint)

    def _note_end(self, ended: Ended) -> None:
        # What a finished call did is in its rows already; only a death must be written by somebody else.
        if ended.error is not None and ended.worker_id is not None:
            self._store.lose_worker(ended.worker_id, error=ended.error)

    def _bury_the_dead(self) -> None:
        """Workers of this machine whose process is gone will not renew their leases: their work is free at once."""
        for worker in reads.workers(self._database):
            alive = worker.state in (WorkerState.IDLE, WorkerState.BUSY)
            if alive and worker.node == platform.node() and not is_same_process(worker.pid, worker.started):
                self._store.lose_worker(worker.id, error="its process is gone; found by a new scheduler")

    def _dispatch(self) -> None:
        for worker, assignment in assignments(
            self._store, self._pool.idle(), lease_seconds=self._settings.lease_seconds
        ):
            self._pool.dispatch(worker, assignment)

    def _preempt(self) -> None:
        """Make room for a stage run that none of the idle workers can take; one that is starting may take it yet."""
        idle = self._pool.idle()
        if not self._pool.is_starting and may_preempt(idle, self._pool.busy()):
            self._store.preempt([worker.worker_id for worker in idle])

    def close(self) -> None:
        """Stop the workers and give up the lead, so that the next scheduler need not wait."""
        self._hooks.stop()
        self._pool.stop()
        self._collector.close()
        if self._term is not None:
            self._store.resign(self._holder, self._term)


def is_same_process(pid: int, started: float) -> bool:
    """Whether the process with this number runs and is not a later one that got the same number."""
    try:
        return psutil.Process(pid).create_time() <= started + 1
    except psutil.Error:
        return False
