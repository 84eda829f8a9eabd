"""Trials become models: the best one of a sweep by itself, any other by a person's wish; aliases go and come back."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from scheduler import model_reads, reads, registry
from scheduler.finalists import model_standing
from scheduler.model_reads import Model
from scheduler.ranking import Ranked
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.registry import BEST
from scheduler.store import Store
from t2f.cli import checked_name
from t2f.errors import UserError

# Writes a bundle file of a sealed stage run and returns (uri, sha256); it needs torch, so the caller brings it.
MakeBundle = Callable[[Sweep, Trial, StageRun, sa.Row], tuple[str, str]]


def promote_best(store: Store, sweep: Sweep, make_bundle: MakeBundle) -> Ranked | None:
    """Give the alias `best` of this sweep to its best trial's model; None where nothing is ranked yet.

    UserError where the bundle cannot be written (a full disk, a damaged checkpoint): it says how it is made later.
    """
    database = store.database
    ranked = reads.ranking(database, sweep)
    if not ranked:
        return None
    best = ranked[0]
    model = model_standing(best, sweep.resolved.goal)
    known = model_reads.find_model(database, sweep.name, BEST)
    if known is not None and known.stage_run_id == model.stage_run_id:
        return best
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)[model.trial_id]
    run = next(run for run in path if run.id == model.stage_run_id)
    trial = next(trial for trial in reads.trials(database, sweep.id) if trial.id == model.trial_id)
    try:
        uri, sha256 = make_bundle(sweep, trial, run, reads.sealed_checkpoint(database, run.id))
    except (OSError, UserError) as error:
        name = f"{trial.name}@{run.resolution}"
        raise UserError(
            f"the best model, {name}, could not be written: {error}; "
            f"once that is mended, make it with `t2f promote {name}`"
        ) from error
    store.register_model(
        name=sweep.name,
        trial_id=trial.id,
        stage_run_id=run.id,
        uri=uri,
        sha256=sha256,
        aliases=[BEST],
        facts={"metric": sweep.resolved.metric, "value": model.value, "resolution": run.resolution},
    )
    return best


def promote_version(store: Store, model: Model, alias: str, *, name: str | None = None, by: str) -> Model:
    """Give a version an alias; under another name it becomes a version of that model too."""
    alias = registry.checked_alias(alias)
    if name in (None, model.name):
        store.move_alias(model.id, alias, by=by)
        return registry.version(store.database, model.reference)
    name = checked_model_name(store, name, model_reads.source(store.database, model).sweep)
    number = store.register_model(
        name=name,
        trial_id=model.trial_id,
        stage_run_id=model.stage_run_id,
        uri=model.uri,
        sha256=model.sha256,
        aliases=[alias],
        by=by,
    )
    return registry.version(store.database, f"{name}:{number}")


def promote_run(
    store: Store,
    trial: Trial,
    sweep: Sweep,
    run: StageRun,
    alias: str,
    *,
    make_bundle: MakeBundle,
    name: str | None = None,
    by: str,
) -> Model:
    """Make a version of a sealed stage run, unless it is one, and give it an alias.

    name: the model's; that of the trial's sweep where it is left out.
    """
    alias = registry.checked_alias(alias)
    name = checked_model_name(store, name or sweep.name, sweep.name)
    known = [model for model in model_reads.models(store.database, name=name) if model.stage_run_id == run.id]
    if known:
        return promote_version(store, known[0], alias, by=by)
    uri, sha256 = make_bundle(sweep, trial, run, reads.sealed_checkpoint(store.database, run.id))
    number = store.register_model(
        name=name, trial_id=trial.id, stage_run_id=run.id, uri=uri, sha256=sha256, aliases=[alias], by=by
    )
    return registry.version(store.database, f"{name}:{number}")


def roll_back(store: Store, name: str, alias: str, *, by: str) -> Model:
    """Give an alias back to the version that had it before."""
    alias = registry.checked_alias(alias)
    registry.version(store.database, f"{name}@{alias}")  # says what there is, where it is missing
    number = store.roll_back_alias(name, alias, by=by)
    if number is None:
        raise UserError(
            f"no version of {name!r} had the alias {alias!r} before; promote one with "
            f"`t2f model promote {name}:N {alias}`"
        )
    return registry.version(store.database, f"{name}:{number}")


def tag(store: Store, model: Model, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
    """Add and take away words of a version; returns those that it has then."""
    for word in add:
        registry.checked_word(word, "tag")
    missing = sorted(set(remove) - set(model.tags))
    if missing:
        raise UserError(f"{model.reference} has no tag {missing[0]!r}; its tags: {', '.join(model.tags) or 'none'}")
    return store.tag_model(model.id, add=add, remove=remove)


def checked_model_name(store: Store, name: str, sweep_name: str) -> str:
    """A model's name that is safe in an address, and no other sweep's: that one's own best model will have it."""
    if checked_name(name) != sweep_name and reads.find_sweep(store.database, name) is not None:
        raise UserError(
            f"the model name {name!r} is that of another sweep, whose models have it; use another name than a sweep's"
        )
    return name
