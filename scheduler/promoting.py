"""The best trial of a sweep becomes a model."""

from collections.abc import Callable

import sqlalchemy as sa

from scheduler import reads
from scheduler.database import Database
from scheduler.finalists import model_standing
from scheduler.ranking import Ranked
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.store import Store

# Writes a bundle file of a sealed stage run and returns (uri, sha256); it needs torch, so the caller brings it.
MakeBundle = Callable[[Sweep, Trial, StageRun, sa.Row], tuple[str, str]]


def promote_best(store: Store, sweep: Sweep, make_bundle: MakeBundle) -> Ranked | None:
    """Give the alias `best` of this sweep to its best trial's model; None where nothing is ranked yet."""
    database = store.database
    ranked = reads.ranking(database, sweep)
    if not ranked:
        return None
    best = ranked[0]
    model = model_standing(best, sweep.resolved.goal)
    known = find_model(database, sweep, "best")
    if known is not None and known.stage_run_id == model.stage_run_id:
        return best
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)[model.trial_id]
    run = next(run for run in path if run.id == model.stage_run_id)
    trial = next(trial for trial in reads.trials(database, sweep.id) if trial.id == model.trial_id)
    uri, sha256 = make_bundle(sweep, trial, run, reads.sealed_checkpoint(database, run.id))
    store.register_model(
        name=sweep.name, trial_id=trial.id, stage_run_id=run.id, uri=uri, sha256=sha256, aliases=["best"]
    )
    return best


def find_model(database: Database, sweep: Sweep, alias: str) -> reads.Model | None:
    """The version of a sweep's model that has this alias."""
    found = [model for model in reads.models(database) if model.name == sweep.name and alias in model.aliases]
    return found[0] if found else None
