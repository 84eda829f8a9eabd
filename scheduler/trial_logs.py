"""What happened to a trial: its attempts and their errors, events, where its curves stand, stacks of hung workers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from scheduler import reads, trial_reads
from scheduler.database import Database
from scheduler.reads import Trial
from scheduler.states import Outcome

STACK_LINES = 60  # of a worker's dumps, the newest
# Attempts after which a worker may have left its stacks.
LEFT_STACKS = (Outcome.LOST, Outcome.HUNG, Outcome.INFRASTRUCTURE)


def trial_logs(database: Database, logs: Path, trial: Trial) -> dict[str, Any]:
    """All of it as plain values, for programs and for printing. logs: the home's folder of logs."""
    runs = trial_reads.stage_runs_of(database, trial.id)
    workers: dict[str, None] = {}
    stages = []
    for run in runs:
        attempts = reads.attempts(database, run.id)
        workers |= dict.fromkeys(one.worker for one in attempts if one.outcome in LEFT_STACKS)
        curves = trial_reads.last_values(database, run.id)
        stages.append(
            {
                "resolution": run.resolution,
                "key": run.key,
                "state": run.state,
                "images": run.images,
                "error": run.error,
                "attempts": [asdict(one) for one in attempts],
                "curves": {point.name: {"images": point.images, "value": point.value} for point in curves},
            }
        )
    return {
        "trial": trial.name,
        "state": str(trial.state),
        "stage_runs": stages,
        "events": [event_json(event) for event in trial_reads.events_of(database, trial.id)],
        "stacks": {worker: text for worker in workers if (text := _stacks(logs, worker))},
    }


def event_json(event: sa.Row) -> dict[str, Any]:
    return {"id": event.id, "at": event.at, "kind": event.kind, **event.payload}


def _stacks(logs: Path, worker: str) -> str:
    try:
        lines = (logs / f"{worker}.stacks").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-STACK_LINES:])
