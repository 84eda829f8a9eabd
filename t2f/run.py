"""The loop around a stage's steps: curves, checkpoints, orders. Who keeps them is the reporter's affair."""

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from t2f.memory import PeakMemory
from t2f.stages import Position
from t2f.trainer import StageTrainer

# Steps between two reports of the curves. Divergence is looked for at each, so it is noticed within this many steps;
# checkpoints fall on them, so that a run that goes on reports the same windows.
REPORT_STEPS = 25


class Order(StrEnum):
    """What a reporter wants of the training."""

    CONTINUE = "continue"
    PREEMPT = "preempt"  # save a checkpoint and leave
    CANCEL = "cancel"  # leave


class Ending(StrEnum):
    DONE = "done"
    PREEMPTED = "preempted"
    CANCELED = "canceled"


class Reporter(Protocol):
    """Hears of a training; any exception it raises ends the loop."""

    def stepped(self, position: Position) -> None:
        """After every step; must be cheap."""

    def curves(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Means over the last REPORT_STEPS steps."""

    def order(self) -> Order:
        """Asked after every report of curves."""

    def checkpoint(self, trainer: StageTrainer) -> None:
        """Keep `trainer.state()` durably."""


def memory_curve(peak: PeakMemory) -> dict[str, float]:
    """The stage's peak memory so far in MiB, where the system tells it."""
    return {} if peak.bytes is None else {"peak_memory_mib": round(peak.bytes / 2**20, 1)}


def run_stage(trainer: StageTrainer, reporter: Reporter, *, checkpoint_seconds: float) -> Ending:
    """Train until the stage's end or an order to leave. The state at the end is the caller's to seal.

    Raises DivergedError, and whatever the reporter raises.
    """
    last_checkpoint = time.monotonic()
    peak = PeakMemory(trainer.device)
    while not trainer.position.is_finished:
        trainer.step()
        position = trainer.position
        reporter.stepped(position)
        if position.step % REPORT_STEPS != 0 and not position.is_finished:
            continue
        reporter.curves(position.images_seen, trainer.take_curves() | memory_curve(peak))
        if position.is_finished:
            break
        order = reporter.order()
        if order is Order.CANCEL:
            return Ending.CANCELED
        if order is Order.PREEMPT or time.monotonic() - last_checkpoint >= checkpoint_seconds:
            reporter.checkpoint(trainer)
            last_checkpoint = time.monotonic()
        if order is Order.PREEMPT:
            return Ending.PREEMPTED
    return Ending.DONE
