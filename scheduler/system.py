"""The whole system on one machine: Ray, scheduler and workers in this process's care, the dashboard beside it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from types import TracebackType

from scheduler.delivering import HookThreads
from scheduler.home import Home
from scheduler.labels import Labels
from scheduler.runner import Runner, RunnerSettings, start_pool
from scheduler.store import Store
from t2f.errors import UserError
from workers.cluster import start_ray, stop_ray

LEASES_PER_BEAT = 3
DASHBOARD_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    home: Home
    port: int = 8250
    cpu_workers: int | None = None  # None: one a core
    num_gpus: float | None = None  # of each worker; None: 1 where there are GPUs
    beat_seconds: float = 10.0
    ray: str | None = None  # address of a running Ray; None: start a local one
    labels: Labels = field(default_factory=dict)  # of the local one's workers

    @property
    def cpu_shares(self) -> int:
        return self.cpu_workers or len(os.sched_getaffinity(0))

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class System:
    """A context: everything runs inside it, and is stopped at its end."""

    def __init__(self, settings: SystemSettings) -> None:
        self.settings = settings
        self._dashboard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "System":
        settings = self.settings
        database = settings.home.create()
        self._dashboard = start_dashboard(settings)
        try:
            start_ray(num_cpus=settings.cpu_shares, labels=settings.labels, address=settings.ray)
            runner_settings = RunnerSettings(
                home=settings.home.path,
                database_url=settings.home.database_url,
                cpu_shares=settings.cpu_shares,
                num_gpus=settings.num_gpus,
                lease_seconds=settings.beat_seconds * LEASES_PER_BEAT,
                beat_seconds=settings.beat_seconds,
            )
            store = Store(database)
            hooks = HookThreads(store, settings.home.path)
            hooks.start()
            self.runner = Runner(database, store, start_pool(runner_settings), runner_settings, hooks)
            wait_for_dashboard(settings, self._dashboard)
        except BaseException:
            self._stop_dashboard()
            stop_ray()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.close()
        stop_ray()
        self._stop_dashboard()

    def _stop_dashboard(self) -> None:
        if self._dashboard is not None and self._dashboard.poll() is None:
            self._dashboard.terminate()
            try:
                self._dashboard.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._dashboard.kill()


def start_dashboard(settings: SystemSettings) -> subprocess.Popen[bytes]:
    """The pages in a process of their own, which ends with this one, however this one ends."""
    command = [sys.executable, "-m", "scheduler", "dashboard", "--home", str(settings.home.path)]
    return subprocess.Popen(
        [*command, "--port", str(settings.port)], stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent
    )


def _end_with_parent() -> None:
    # PR_SET_PDEATHSIG: a kill -9 of the scheduler must not leave a dashboard that holds the port.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    # Ctrl-C is for the scheduler, which ends the pages last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for_dashboard(settings: SystemSettings, process: subprocess.Popen[bytes]) -> None:
    """Until the pages answer; UserError if they do not start, whose reason the process has printed itself."""
    deadline = time.monotonic() + DASHBOARD_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"the dashboard did not start on port {settings.port}; choose another one with --port")
        try:
            with urllib.request.urlopen(f"{settings.dashboard}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise UserError(f"the dashboard did not answer at {settings.dashboard} within {DASHBOARD_SECONDS:g} seconds")
