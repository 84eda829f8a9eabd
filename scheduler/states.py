"""The states of sweeps, trials, stage runs and workers, and the legal moves between those of a stage run.

The database refuses every other move (a trigger reads the table `moves`, which a migration fills from MOVES).
"""

from enum import StrEnum


class SweepState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"  # no new stage runs are started for it
    STOPPING = "stopping"  # what runs is finished, then it ends as stopped
    COMPLETE = "complete"
    STOPPED = "stopped"  # ended early, by a person or its budget
    CANCELED = "canceled"
    FAILED = "failed"  # it cannot be carried out: the error says why


class TrialState(StrEnum):
    WAITING = "waiting"  # nothing of it has run yet
    RUNNING = "running"  # a stage run of it is wanted, or its rung is not yet decided
    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"  # stopped at a rung; its last stage run is kept, so it can be promoted later
    FAILED = "failed"
    DIVERGED = "diverged"
    CANCELED = "canceled"


class RunState(StrEnum):
    """The state of a stage run or an evaluation."""

    WAITING = "waiting"  # nobody unpaused demands it
    READY = "ready"
    LEASED = "leased"  # claimed for a worker that has not answered yet
    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"
    CANCELING = "canceling"
    CANCELED = "canceled"


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    LOST = "lost"  # its lease ran out: the worker died, hung or was cut off
    PREEMPTED = "preempted"
    OOM = "oom"
    HUNG = "hung"
    DIVERGED = "diverged"
    INFRASTRUCTURE = "infrastructure"  # the machine failed under it: disk, memory, database
    ERROR = "error"
    CANCELED = "canceled"


class WorkerState(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    ENDED = "ended"
    LOST = "lost"


MOVES: frozenset[tuple[RunState, RunState]] = frozenset(
    {
        (RunState.WAITING, RunState.READY),  # an unpaused demand exists
        (RunState.READY, RunState.WAITING),  # no unpaused demand is left
        (RunState.READY, RunState.CANCELED),  # the last demand went
        (RunState.WAITING, RunState.CANCELED),
        (RunState.CANCELED, RunState.READY),  # a new demand came
        (RunState.READY, RunState.LEASED),  # a claim: attempt + 1 and the lease in the same transaction
        (RunState.LEASED, RunState.RUNNING),  # the worker began, with the same attempt number
        (RunState.LEASED, RunState.READY),  # lost, preempted or an infrastructure error
        (RunState.RUNNING, RunState.READY),
        (RunState.RUNNING, RunState.DONE),  # sealed together with its last checkpoint
        (RunState.RUNNING, RunState.DIVERGED),
        (RunState.LEASED, RunState.FAILED),  # retries used up, or the same error twice without progress
        (RunState.RUNNING, RunState.FAILED),
        (RunState.LEASED, RunState.CANCELING),
        (RunState.RUNNING, RunState.CANCELING),
        (RunState.CANCELING, RunState.CANCELED),  # acknowledged, or its lease ran out
        (RunState.DONE, RunState.READY),  # its full state was collected and is needed again
        (RunState.WAITING, RunState.DONE),  # ... and no longer is: what was sealed stays sealed
        (RunState.READY, RunState.DONE),
        (RunState.CANCELING, RunState.DONE),
        (RunState.CANCELED, RunState.WAITING),  # a new demand came, and its parent must be rebuilt first
        (RunState.FAILED, RunState.READY),  # a person's retry
        (RunState.DIVERGED, RunState.READY),
    }
)

OPEN_SWEEPS = (SweepState.RUNNING, SweepState.PAUSED, SweepState.STOPPING)
WANTING_SWEEPS = (SweepState.RUNNING, SweepState.PAUSED)  # those that still want new stages
ENDED_SWEEPS = tuple(state for state in SweepState if state not in OPEN_SWEEPS)
OPEN_TRIALS = (TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED)
GOING_TRIALS = (TrialState.WAITING, TrialState.RUNNING)  # those that nobody paused
BROKEN_TRIALS = (TrialState.FAILED, TrialState.DIVERGED)

ACTIVE = (RunState.LEASED, RunState.RUNNING, RunState.CANCELING)
BROKEN = (RunState.DIVERGED, RunState.FAILED, RunState.CANCELED)
ENDED = (RunState.DONE, *BROKEN)
