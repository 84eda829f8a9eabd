"""Carrying out one assignment: a stage run's training, or the evaluation of a sealed one.

Whatever is written carries the attempt's number, and the store refuses it once another attempt has begun.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from sqlalchemy.exc import OperationalError
from torch import Tensor

from scheduler.store import Assignment, CheckpointRow, Orders, StaleAttempt, Store, init_uri
from t2f.checkpoint import load_tensors, save_tensors
from t2f.data import PreparedData
from t2f.device import numerics_class
from t2f.errors import CheckpointError, DataError
from t2f.generate import init_weights, open_bundle
from t2f.judge import Judge, load_judge
from t2f.pictures import png_bytes, wall
from t2f.probe import EvaluationSpec
from t2f.run import Ending, Order, run_stage
from t2f.spec import StageSpec
from t2f.stages import Position
from t2f.train import evaluate_state
from t2f.trainer import DivergedError, StageTrainer
from workers.files import Files, checkpoint_uri, parts_uri, samples_uri
from workers.watchdog import Watchdog

log = logging.getLogger(__name__)

CURVES_SECONDS = 2.0  # curves wait so long at most before they are written


@dataclass
class Progress:
    """What the beats tell; written by the training thread, read by the beating one."""

    doing: dict[str, object] | None = None
    images: int = 0
    images_per_second: float = 0.0
    orders: Orders = Orders.CONTINUE
    stale: bool = False


@dataclass
class Memory:
    """What a worker keeps from one assignment to the next; all of it can be read again from files."""

    sealed_sha256: str | None = None  # of the checkpoint file that `sealed_state` equals
    sealed_state: dict[str, Tensor] = field(default_factory=dict)
    data: dict[str, PreparedData] = field(default_factory=dict)
    judges: dict[str, tuple[Judge | None, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a worker works: its home folder, store, device, and what it remembers."""

    home: Path
    store: Store
    files: Files
    device: torch.device
    watchdog: Watchdog
    memory: Memory = field(default_factory=Memory)

    def data(self, name: str, key: str) -> PreparedData:
        """The prepared data set of that name; DataError if it is not the one the stage run is about."""
        if key not in self.memory.data:
            found = PreparedData.open(self.home / "data" / name)
            if found.key != key:
                raise DataError(
                    f"the data set {name!r} changed: its key is {found.key[:12]}..., the stage run wants {key[:12]}... "
                    "Prepare the old data again, or submit a new sweep"
                )
            self.memory.data[key] = found
        return self.memory.data[key]

    def judge(self, data: PreparedData) -> tuple[Judge | None, str]:
        if data.key not in self.memory.judges:
            self.memory.judges[data.key] = load_judge(data)
        return self.memory.judges[data.key]

    def state(self, row: CheckpointRow) -> dict[str, Tensor]:
        """The training state of a checkpoint, its hash verified; from memory where this worker made it."""
        if self.memory.sealed_sha256 == row.sha256:
            return self.memory.sealed_state
        state, _ = load_tensors(self.files.path(row.uri), sha256=row.sha256)
        return state

    def init(self, stage: StageSpec, data: PreparedData) -> dict[str, Tensor] | None:
        """The weights that new layers start from, if the sweep gave a model for that; CheckpointError if it is gone."""
        if stage.init_sha256 is None:
            return None
        bundle = open_bundle(self.files.path(init_uri(stage.init_sha256)))
        if bundle.sha256 != stage.init_sha256:
            raise CheckpointError(f"{init_uri(stage.init_sha256)} holds other weights than its name says")
        return init_weights(bundle, data.vocabulary, stage.settings)

    def remember(self, sha256: str, state: Mapping[str, Tensor]) -> None:
        self.memory.sealed_sha256 = sha256
        self.memory.sealed_state = {name: tensor.clone() for name, tensor in state.items()}


class _StoreReporter:
    """Writes a training's curves and checkpoints under its attempt's number."""

    def __init__(self, workplace: Workplace, assignment: Assignment, progress: Progress) -> None:
        self._workplace, self._assignment, self._progress = workplace, assignment, progress
        self._curves: list[tuple[str, int, float]] = []
        self._curves_written = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque(maxlen=50)

    def stepped(self, position: Position) -> None:
        self._workplace.watchdog.stepped()
        self._recent.append((time.monotonic(), position.images_seen))
        (begun, first), (now, last) = self._recent[0], self._recent[-1]
        self._progress.images = position.images_seen
        self._progress.images_per_second = (last - first) / (now - begun) if now > begun else 0.0

    def curves(self, images_seen: int, values: Mapping[str, float]) -> None:
        self._curves += [(name, images_seen, value) for name, value in values.items()]
        if time.monotonic() - self._curves_written >= CURVES_SECONDS:
            self.flush()

    def flush(self) -> None:
        assignment = self._assignment
        if self._curves:
            self._workplace.store.add_curves(assignment.stage_run_id, assignment.attempt, self._curves)
        self._curves, self._curves_written = [], time.monotonic()

    def order(self) -> Order:
        if self._progress.stale:
            raise StaleAttempt("the beats were refused: another attempt has this stage run")
        return Order(self._progress.orders.value)

    def checkpoint(self, trainer: StageTrainer) -> None:
        self.flush()
        assignment, images = self._assignment, trainer.position.images_seen
        saved = save_checkpoint(self._workplace.files, assignment, trainer)
        self._workplace.store.add_checkpoint(
            assignment.stage_run_id,
            assignment.attempt,
            images=images,
            uri=checkpoint_uri(assignment.stage_run_id, assignment.attempt, images),
            sha256=saved.sha256,
            num_bytes=saved.num_bytes,
        )


def save_checkpoint(files: Files, assignment: Assignment, trainer: StageTrainer):
    """Write the training state to its immutable path."""
    position = trainer.position
    path = files.path(checkpoint_uri(assignment.stage_run_id, assignment.attempt, position.images_seen))
    metadata = {"key": assignment.key, "stage": trainer.stage.to_json(), "step": position.step}
    return save_tensors(path, trainer.state(), metadata)


def carry_out(assignment: Assignment, workplace: Workplace, progress: Progress) -> str:
    """Do what was assigned and write how it ended; returns the outcome in a word.

    Errors are written under the attempt's number, not raised: the row is what counts.
    """
    work = train if assignment.kind == "train" else measure
    try:
        return work(assignment, workplace, progress)
    except StaleAttempt as error:
        log.warning("stage run %s, attempt %s: %s", assignment.stage_run_id, assignment.attempt, error)
        return "stale"
    except DivergedError as error:
        workplace.store.report_diverged(assignment.stage_run_id, assignment.attempt, evidence=error.evidence)
        return "diverged"
    except Exception as error:  # the edge of this process: whatever went wrong belongs to the attempt
        log.exception("stage run %s, attempt %s failed", assignment.stage_run_id, assignment.attempt)
        return _report(assignment, workplace.store, error, progressed=progress.images > 0)
    finally:
        workplace.watchdog.steps_end()


def _report(assignment: Assignment, store: Store, error: Exception, *, progressed: bool) -> str:
    # What the machine did (disk, memory, database) is retried often; what the code or the data did, seldom.
    infrastructure = (
        isinstance(error, OSError | MemoryError | OperationalError) or "out of memory" in str(error).lower()
    )
    text = f"{type(error).__name__}: {error}"
    try:
        if assignment.kind == "train":
            store.report_error(
                assignment.stage_run_id,
                assignment.attempt,
                error=text,
                infrastructure=infrastructure,
                progressed=progressed,
            )
        else:
            store.evaluation_error(assignment.evaluation_id, assignment.attempt, error=text)
    except StaleAttempt:
        return "stale"
    return "error"


def train(assignment: Assignment, workplace: Workplace, progress: Progress) -> str:
    """Train one stage run from its newest good checkpoint to its end, and seal it."""
    store, begun = workplace.store, time.monotonic()
    stage = StageSpec.from_json(assignment.spec)
    data = workplace.data(assignment.data_name, assignment.data_key)
    parent = workplace.state(assignment.parent) if assignment.parent is not None else None
    init = workplace.init(stage, data)
    trainer = StageTrainer(stage, data, parent=parent, init=init, device=workplace.device)
    go_on(trainer, assignment, workplace)
    progress.images = trainer.position.images_seen
    store.start(
        assignment.stage_run_id,
        assignment.attempt,
        numerics_class=numerics_class(workplace.device, precision=stage.settings.compute.precision),
        start_images=trainer.position.images_seen,
    )
    reporter = _StoreReporter(workplace, assignment, progress)
    workplace.watchdog.steps_begin()
    ending = run_stage(trainer, reporter, checkpoint_seconds=assignment.checkpoint_seconds)
    workplace.watchdog.steps_end()
    if ending is Ending.CANCELED:
        store.acknowledge_cancel(assignment.stage_run_id, assignment.attempt)
    elif ending is Ending.PREEMPTED:
        store.report_preempted(assignment.stage_run_id, assignment.attempt)
    else:
        reporter.flush()
        saved = save_checkpoint(workplace.files, assignment, trainer)
        images = trainer.position.images_seen
        store.seal(
            assignment.stage_run_id,
            assignment.attempt,
            images=images,
            uri=checkpoint_uri(assignment.stage_run_id, assignment.attempt, images),
            sha256=saved.sha256,
            num_bytes=saved.num_bytes,
            weights_sha256=trainer.weights_sha256(),
            seconds=time.monotonic() - begun,
        )
        workplace.remember(saved.sha256, trainer.state())
    return ending.value


def go_on(trainer: StageTrainer, assignment: Assignment, workplace: Workplace) -> None:
    """Load the newest checkpoint of this stage run that is whole; a damaged one is passed over for the one before."""
    for row in assignment.checkpoints:
        try:
            trainer.load(workplace.state(row))
        except CheckpointError as error:
            log.warning("%s; going back to the checkpoint before it", error)
        else:
            return


def measure(assignment: Assignment, workplace: Workplace, progress: Progress) -> str:
    """Evaluate a sealed stage run and keep its figures and its wall of samples."""
    store, begun = workplace.store, time.monotonic()
    store.start_evaluation(assignment.evaluation_id, assignment.attempt)
    spec = EvaluationSpec.from_json(assignment.spec["evaluation"])
    stage = StageSpec.from_json(assignment.spec["stage"])
    data = workplace.data(assignment.data_name, assignment.data_key)
    judge, judge_hash = workplace.judge(data)
    if judge_hash != spec.judge_sha256:
        raise DataError(
            f"the judge of {data.name!r} is not the one the sweep was submitted with "
            f"({judge_hash[:12]}..., wanted {spec.judge_sha256[:12]}...)"
        )
    (sealed,) = assignment.checkpoints
    result = evaluate_state(
        stage,
        workplace.state(sealed),
        data,
        judge=judge,
        judge_sha256=judge_hash,
        spec=spec,
        device=workplace.device,
    )
    stored = workplace.files.put(
        samples_uri(assignment.evaluation_id, assignment.attempt), png_bytes(wall(result.wall, columns=spec.seeds))
    )
    parts = workplace.files.put(parts_uri(assignment.evaluation_id, assignment.attempt), result.parts_bytes())
    store.finish_evaluation(
        assignment.evaluation_id,
        assignment.attempt,
        metrics=result.metrics_json(),
        score=result.score,
        samples={
            "uri": stored.uri,
            "sha256": stored.sha256,
            "captions": list(spec.captions),
            "seeds": spec.seeds,
            "tile": stage.resolution,
            "parts": {"uri": parts.uri, "sha256": parts.sha256},
        },
        seconds=time.monotonic() - begun,
    )
    return "done"


class Beats:
    """Renews an assignment's lease from a thread of its own, and hears the orders that come back."""

    def __init__(
        self,
        assignment: Assignment,
        workplace: Workplace,
        progress: Progress,
        *,
        beat_seconds: float,
        claimed_at: float,
    ) -> None:
        self._assignment, self._workplace, self._progress = assignment, workplace, progress
        self._beat_seconds = beat_seconds
        self._ended = threading.Event()
        workplace.watchdog.renewed(assignment.lease_seconds, asked_at=claimed_at)
        self._thread = threading.Thread(target=self._beat_until_ended, name="beats", daemon=True)

    def __enter__(self) -> "Beats":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._workplace.watchdog.release()

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            asked_at = time.monotonic()
            try:
                self._progress.orders = self._beat()
            except StaleAttempt:
                self._progress.stale = True
                # The training asks for orders within REPORT_STEPS; it is stopped there, and writes nothing till then.
                return
            except Exception:  # a database that is away for a moment: the lease's guard decides how long is too long
                log.exception("a beat failed; trying again")
                continue
            self._workplace.watchdog.renewed(self._assignment.lease_seconds, asked_at=asked_at)
            if self._workplace.watchdog.hangs:
                self._report_hang()

    def _beat(self) -> Orders:
        assignment, store = self._assignment, self._workplace.store
        if assignment.kind == "evaluate":
            return store.beat_evaluation(
                assignment.evaluation_id, assignment.attempt, lease_seconds=assignment.lease_seconds
            )
        return store.beat(
            assignment.stage_run_id,
            assignment.attempt,
            images=self._progress.images,
            images_per_second=self._progress.images_per_second,
            lease_seconds=assignment.lease_seconds,
        )

    def _report_hang(self) -> None:
        assignment = self._assignment
        self._workplace.store.report_error(
            assignment.stage_run_id,
            assignment.attempt,
            error="the training hangs: no step ended for 20 median steps and a minute; stacks are in the worker's log",
            infrastructure=True,
            progressed=True,
        )
        self._workplace.watchdog.dump_and_exit(f"stage run {assignment.stage_run_id} hangs")
