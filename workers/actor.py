"""The worker: a Ray actor that holds a share of a device and carries out one assignment after another."""

import logging
import os
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

from scheduler.database import open_database
from scheduler.states import WorkerState
from scheduler.store import Assignment, Store
from t2f.device import configure, default_device, numerics_class
from workers.attempt import Beats, Progress, Workplace, carry_out
from workers.cluster import node_labels
from workers.files import Files
from workers.watchdog import Watchdog

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """All that a worker process is told at its start."""

    name: str
    home: str
    database_url: str = field(repr=False)  # may hold a password
    threads: int
    num_gpus: float
    beat_seconds: float


class Worker:
    """Serves its share of a device; `work` trains in one thread while the control group's methods answer in another."""

    def __init__(self, settings: WorkerSettings) -> None:
        home = Path(settings.home)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        configure(threads=settings.threads)
        self._settings = settings
        self._progress = Progress()
        store = Store(open_database(settings.database_url))
        device = default_device() if settings.num_gpus else torch.device("cpu")
        self._workplace = Workplace(
            home=home,
            store=store,
            files=Files(home),
            device=device,
            watchdog=Watchdog(home / "logs" / f"{settings.name}.stacks"),
        )
        self._labels = node_labels()
        self._id = store.register_worker(
            name=settings.name,
            node=platform.node(),
            pid=os.getpid(),
            device=numerics_class(device).partition(" | ")[0],
            share=settings.num_gpus or float(settings.threads),
            labels=self._labels,
        )
        self._beating = threading.Thread(target=self._beat_for_ever, name="worker beats", daemon=True)
        self._beating.start()

    @ray.method(concurrency_group="control")
    def identify(self) -> dict[str, Any]:
        """The worker's row, process and labels."""
        return {"worker_id": self._id, "pid": os.getpid(), "labels": self._labels}

    def work(self, assignment_json: dict) -> str:
        """Carry out one assignment; the row says how it ended, the returned word is for the log."""
        # Threads are counted per thread that asks, and Ray calls this from a thread of its own.
        configure(threads=self._settings.threads)
        claimed_at = time.monotonic()
        assignment = Assignment.from_json(assignment_json)
        self._progress = Progress(
            doing={
                "kind": assignment.kind,
                "stage_run": assignment.stage_run_id,
                "resolution": assignment.resolution,
                "attempt": assignment.attempt,
            }
        )
        progress, beat_seconds = self._progress, self._settings.beat_seconds
        with Beats(assignment, self._workplace, progress, beat_seconds=beat_seconds, claimed_at=claimed_at):
            outcome = carry_out(assignment, self._workplace, progress)
        self._progress = Progress()
        return outcome

    @ray.method(concurrency_group="control")
    def ping(self) -> float:
        """Seconds since 1970 by this machine's clock: answers while a training runs."""
        return time.time()

    @ray.method(concurrency_group="control")
    def stop(self) -> None:
        """Mark the worker as ended; whatever it still does is fenced by its attempt's number."""
        self._workplace.store.end_worker(self._id, WorkerState.ENDED)

    def _beat_for_ever(self) -> None:
        process = psutil.Process()
        while True:
            progress = self._progress
            telemetry = {
                "images_per_second": round(progress.images_per_second, 2) if progress.doing else 0.0,
                "images": progress.images,
                "memory_bytes": process.memory_info().rss,
            }
            try:
                self._workplace.store.worker_beat(self._id, progress.doing, telemetry)
            except Exception:  # a database that is away for a moment costs a beat, not the training
                log.exception("the worker's beat failed; trying again")
            time.sleep(self._settings.beat_seconds)


# One thread works, two answer; a method whose call was lost is never called again by Ray: the lease decides.
WorkerActor = ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"control": 2})(Worker)
