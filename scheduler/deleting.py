"""Deleting a sweep with its files."""

import time
from dataclasses import dataclass
from pathlib import Path

from scheduler import file_reads
from scheduler.files import remove_files, size_of
from scheduler.reads import Sweep
from scheduler.store import Store
from scheduler.store.deleting import Doomed
from t2f.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What deleting a sweep takes away."""

    trials: int
    stage_runs: int
    shared_stage_runs: int  # these stay, since other sweeps want them
    models: int
    files: int
    bytes: int


def delete_sweep(store: Store, files: Path, sweep: Sweep, *, by: str, dry_run: bool = False) -> Deletion:
    """Delete an ended sweep: its trials, its models, and the stage runs and files that no other sweep shares.

    files: the home's folder of files. A crash after the rows are gone leaves files that `t2f gc` finds.
    """
    begun = time.time()
    found = file_reads.doomed_by(store.database, sweep.id) if dry_run else store.delete_sweep(sweep.id, by=by)
    _refuse(sweep, found)
    num_bytes = sum(size_of(files / uri) for uri in found.uris)
    if not dry_run:
        remove_files(files, found.uris, older_than=begun)
    return Deletion(
        trials=found.trials,
        stage_runs=len(found.stage_runs),
        shared_stage_runs=found.shared,
        models=len(found.models),
        files=len(found.uris),
        bytes=num_bytes,
    )


def _refuse(sweep: Sweep, found: Doomed | None) -> None:
    if found is None:
        raise UserError(f"the sweep {sweep.name!r} is gone already; t2f sweep ls shows those there are")
    if found.is_open:
        raise UserError(
            f"the sweep {sweep.name!r} is {sweep.state if sweep.is_open else 'open'}; only one that has ended can be "
            f"deleted: t2f sweep cancel {sweep.name}, or t2f sweep stop {sweep.name} and wait"
        )
    if found.is_active:
        raise UserError(
            f"a worker still holds stage runs of {sweep.name!r}; wait a moment until it has let go, then delete again"
        )
    if found.aliases:
        raise UserError(
            f"models of {sweep.name!r} have the aliases {', '.join(found.aliases)}; "
            "give these to other models first, then delete"
        )
