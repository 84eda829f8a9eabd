"""The workers of one scheduler: started, given assignments, found dead and replaced."""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import ray
from ray.exceptions import RayActorError, RayError

from scheduler.store import Assignment
from workers.actor import WorkerActor, WorkerSettings

log = logging.getLogger(__name__)

START_SECONDS = 120.0  # a worker that has not answered by then is started anew


@dataclass
class PooledWorker:
    """One actor as the scheduler sees it."""

    settings: WorkerSettings
    actor: ray.actor.ActorHandle
    identity: ray.ObjectRef
    started: float
    worker_id: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)  # of its Ray node, once it has answered
    call: ray.ObjectRef | None = None
    assignment: Assignment | None = None
    last_stage_run: int | None = None  # whose sealed state it still holds in memory

    @property
    def is_idle(self) -> bool:
        return self.worker_id is not None and self.call is None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A call that came back, or a worker that died (`error` says how) with or without an assignment."""

    worker_id: int | None
    assignment: Assignment | None
    error: str | None


class WorkerPool:
    """As many workers as there are shares; a dead one is replaced, its assignment is the scheduler's affair."""

    def __init__(self, settings: WorkerSettings, *, size: int) -> None:
        """settings: of each worker; its name gets a number and a random part."""
        self._settings = settings
        self._workers = [self._start(number) for number in range(size)]

    def _start(self, number: int) -> PooledWorker:
        name = f"{self._settings.name}-{number}-{uuid.uuid4().hex[:6]}"
        settings = replace(self._settings, name=name)
        shares = {"num_gpus": settings.num_gpus} if settings.num_gpus else {"num_cpus": settings.threads}
        actor = WorkerActor.options(name=name, **shares).remote(settings)
        return PooledWorker(settings=settings, actor=actor, identity=actor.identify.remote(), started=time.monotonic())

    def poll(self) -> list[Ended]:
        """What ended since the last call; dead workers have been replaced when it returns."""
        ended = []
        for number, worker in enumerate(self._workers):
            try:
                ended += self._poll_one(worker)
            except RayError as error:
                # Either the process died or the call's fate is unknown: nothing it does counts any more.
                log.warning("worker %s is gone: %s", worker.settings.name, str(error).partition("\n")[0])
                ended.append(self._bury(worker, error))
                self._workers[number] = self._start(number)
        return ended

    def _poll_one(self, worker: PooledWorker) -> list[Ended]:
        waited_for = worker.identity if worker.worker_id is None else worker.call
        if waited_for is None:
            # An idle worker has no call whose failure would tell of its death.
            waited_for = worker.actor.ping.remote()
            ready, _ = ray.wait([waited_for], timeout=5.0)
            if ready:
                ray.get(waited_for)
            return []
        ready, _ = ray.wait([waited_for], timeout=0)
        if not ready:
            if worker.worker_id is None and time.monotonic() - worker.started > START_SECONDS:
                raise RayActorError(error_msg=f"{worker.settings.name} did not start in {START_SECONDS:g} seconds")
            return []
        answer = ray.get(waited_for)
        if worker.worker_id is None:
            worker.worker_id, worker.labels = answer["worker_id"], answer["labels"]
            return []
        assignment, worker.call, worker.assignment = worker.assignment, None, None
        worker.last_stage_run = assignment.stage_run_id
        return [Ended(worker_id=worker.worker_id, assignment=assignment, error=None)]

    def _bury(self, worker: PooledWorker, error: RayError) -> Ended:
        ray.kill(worker.actor, no_restart=True)
        text = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return Ended(worker_id=worker.worker_id, assignment=worker.assignment, error=text)

    def idle(self) -> list[PooledWorker]:
        return [worker for worker in self._workers if worker.is_idle]

    def busy(self) -> list[PooledWorker]:
        return [worker for worker in self._workers if worker.call is not None]

    @property
    def is_starting(self) -> bool:
        """Whether a worker has not yet said who it is."""
        return any(worker.worker_id is None for worker in self._workers)

    def dispatch(self, worker: PooledWorker, assignment: Assignment) -> None:
        """Hand over what was claimed for this worker."""
        worker.assignment = assignment
        worker.call = worker.actor.work.remote(assignment.to_json())

    def wait(self, seconds: float) -> None:
        """Until a call comes back, at most so long."""
        calls = [w.call if w.worker_id is not None else w.identity for w in self._workers]
        waited_for = [call for call in calls if call is not None]
        if waited_for:
            ray.wait(waited_for, num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def stop(self) -> None:
        """End every worker at once; what they were doing goes on from its last checkpoint another time."""
        for worker in self._workers:
            try:
                if worker.worker_id is not None:
                    ray.get(worker.actor.stop.remote(), timeout=5)
            except RayError:
                log.warning("worker %s did not answer at its end", worker.settings.name)
            ray.kill(worker.actor, no_restart=True)
