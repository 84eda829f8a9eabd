"""Submitting a sweep: its first trials, the stage tree that they come down to, and the rows."""

import getpass
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.exc import IntegrityError

from scheduler import reads, telling
from scheduler.asking import ENQUEUED
from scheduler.database import Database
from scheduler.forecast import Forecast, forecast
from scheduler.forms import StageForms
from scheduler.home import Home
from scheduler.later import Counts, with_later_trials
from scheduler.provenance import provenance
from scheduler.search.listed import combinations, distinct, grid, grid_size
from scheduler.search.methods import LISTED
from scheduler.search.ranges import draw
from scheduler.sharing import stage_runs_here
from scheduler.space import Deviation
from scheduler.store import NewTrial, Store, init_uri
from scheduler.sweepfile import ResolvedSweep
from t2f.data.files import sync
from t2f.errors import SpecError, UserError
from t2f.settings import Value
from t2f.spec import StageSpec


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a sweep comes down to before any trial is stopped."""

    trials: int
    stage_runs: Mapping[int, int]  # resolution -> distinct stage runs
    images: int  # real images shown over all distinct stage runs
    images_unshared: int
    finalists: int = 0  # trials among these that are finalists' fresh seeds
    wanted: int | None = field(default=None, compare=False)  # stages on all paths, where these are not all whole
    # Resolution -> those among the distinct stage runs that the home has already, for other sweeps.
    here: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.stage_runs.values())

    @property
    def saved(self) -> int:
        """Stage runs that sharing saves."""
        wanted = self.trials * len(self.stage_runs) if self.wanted is None else self.wanted
        return wanted - self.total


MAX_DRAWN = 1000  # random trials that stand for those to come


def new_trials(resolved: ResolvedSweep) -> list[NewTrial]:
    """The trials that a sweep begins with: those of `enqueue`, then those that depend on no result.

    The scheduler asks for all others when there is room for them, and draws what an enqueued one leaves open.
    """
    first = [NewTrial(parameters=parameters, origin=ENQUEUED) for parameters in resolved.search.enqueue]
    limit = resolved.budget.max_trials
    if limit is not None and len(first) > limit:
        raise SpecError(f"enqueue has {len(first)} trials and budget.max_trials is {limit}; raise it, or enqueue fewer")
    if resolved.method not in LISTED:
        return first
    known = [trial.parameters for trial in first]
    if resolved.method == "grid":
        origin, chosen = "grid", [parameters for parameters in grid(resolved.space) if parameters not in known]
    else:
        origin, count = resolved.method, limit
        if resolved.growing is not None:
            # A population is small, and children stay near their parents: it must reach everywhere from the start.
            origin, count = "sobol", resolved.growing.population
        chosen, _ = distinct(resolved.space, origin, count - len(first), known=known)
    trials = first + [NewTrial(parameters=parameters, origin=origin) for parameters in chosen]
    if limit is not None and len(trials) > limit:
        raise SpecError(
            f"the grid has {len(trials)} trials and budget.max_trials is {limit}; "
            "list fewer values, or use method: random"
        )
    return trials


def expected_trials(resolved: ResolvedSweep) -> list[NewTrial]:
    """The trials that a sweep may come to, for its tree: where results decide, random ones stand for those to come."""
    trials = new_trials(resolved)
    if resolved.method in LISTED:
        return trials
    more = resolved.budget.max_trials - len(trials)
    drawn, _ = distinct(resolved.space, "random", min(more, MAX_DRAWN))
    return trials + [NewTrial(parameters=parameters, origin="random") for parameters in drawn]


def notes(resolved: ResolvedSweep, tree: "Tree", warm: tuple[int, int] | None) -> list[str]:
    """What a submission should say beside its tree. warm: results of the earlier sweep, those used and all."""
    found, limit = [], resolved.budget.max_trials
    if resolved.method == "grid" and resolved.space.constraints:
        total = sum(1 for _ in combinations(resolved.space))
        kept = sum(1 for _ in grid(resolved.space))
        found.append(f"{kept:,} of {total:,} combinations keep the constraints")
    if resolved.method in ("random", "sobol") and tree.trials < limit:
        found.append(f"{limit - tree.trials:,} of {limit:,} draws repeated earlier ones and were dropped")
    if resolved.method not in LISTED:
        found.append(
            f"{resolved.method} asks for up to {limit:,} trials as results come in; "
            "in this tree random ones stand for them"
        )
    if warm is not None:
        found.append(
            f"{warm[0]:,} of {warm[1]:,} results of {resolved.search.warm_start} are inside this space and used"
        )
    return found


def stage_tree(resolved: ResolvedSweep, trials: Iterable[NewTrial]) -> Tree:
    """The distinct stage runs of these trials and of those that may follow them, by resolution."""
    forms = StageForms(resolved.space)
    runs: dict[int, set[int]] = {resolution: set() for resolution in resolved.space.plan.resolutions}
    count = images = unshared = 0
    for number, trial in enumerate(trials):
        count += 1
        deviation = Deviation.of(trial.attributes)
        for node, resolution, stage_images in forms.nodes(trial.parameters, resolved.root(f"T{number}"), deviation):
            unshared += stage_images
            here = runs.setdefault(resolution, set())
            if node not in here:
                here.add(node)
                images += stage_images
    stage_runs = {resolution: len(found) for resolution, found in runs.items()}
    first = Counts(trials=count, stage_runs=stage_runs, wanted=dict.fromkeys(stage_runs, count))
    all_of_them = with_later_trials(resolved, first)
    if all_of_them == first:
        return Tree(trials=count, stage_runs=stage_runs, images=images, images_unshared=unshared)
    plan = resolved.space.plan
    lengths = dict(zip(plan.resolutions, plan.images, strict=True))
    return Tree(
        trials=all_of_them.trials,
        stage_runs=all_of_them.stage_runs,
        images=sum(number * lengths[px] for px, number in all_of_them.stage_runs.items()),
        images_unshared=sum(number * lengths[px] for px, number in all_of_them.wanted.items()),
        finalists=all_of_them.finalists,
        wanted=sum(all_of_them.wanted.values()),
    )


def tree_in(database: Database | None, resolved: ResolvedSweep, trials: Sequence[NewTrial]) -> Tree:
    """The same, with what of it is in the home's database already."""
    return replace(stage_tree(resolved, trials), here=stage_runs_here(database, resolved, trials))


def existing_database(home: Home) -> Database | None:
    """The home's database; None where there is none yet, so that a dry run makes none."""
    try:
        return home.open()
    except UserError:
        return None


def require_after(database: Database | None, resolved: ResolvedSweep) -> None:
    """SpecError where the sweep is to come after one that is not there."""
    after = resolved.after
    if after is not None and (database is None or reads.find_sweep(database, after) is None):
        raise SpecError(f"after: {after!r} is no sweep of this home; submit that one first, or remove after:")


def require_free_name(database: Database | None, name: str) -> None:
    """UserError where a sweep of this home has the name already."""
    if database is not None and reads.find_sweep(database, name) is not None:
        raise _taken(name)


def _taken(name: str) -> UserError:
    return UserError(f"a sweep named {name!r} exists already; give another name: --name, or name: in the file")


def forecast_sweep(home: Home, resolved: ResolvedSweep, tree: Tree) -> Forecast:
    """What the sweep will take, by what this home has trained so far."""
    database, labels = existing_database(home), resolved.resources.labels
    return forecast(
        database, resolved.space.plan, typical_stages(resolved), tree.stage_runs, here=tree.here, labels=labels
    )


def typical_stages(resolved: ResolvedSweep) -> tuple[StageSpec, ...]:
    """Of one trial, which stands for all where speed is forecast: the lists' first values, the ranges' low ends."""
    chosen: dict[str, Value] = {}
    for parameter in resolved.space.parameters:
        if parameter.is_active(chosen):
            chosen[parameter.name] = parameter.values[0] if parameter.values else draw(parameter, 0.0)
    return resolved.space.stages(chosen)


@dataclass(frozen=True, kw_only=True)
class InitBundle:
    """A model bundle that trials start from, and the files folder of the home that keeps it for the workers."""

    path: Path
    sha256: str  # of its weights
    files: Path

    def keep(self) -> None:
        """Copy it to where workers find it by its weights; one that is there already has the same."""
        place = self.files / init_uri(self.sha256)
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.copyfile(self.path, draft)
        sync(draft)
        draft.rename(place)
        sync(place.parent)


def submit_sweep(
    store: Store,
    resolved: ResolvedSweep,
    *,
    name: str,
    submitted: str,
    data_name: str,
    init: InitBundle | None = None,
    dry_run: bool = False,
) -> Tree:
    """Store a sweep with its trials and return what it comes down to; nothing is written by a dry run.

    init: the model bundle that its trials start from, which is kept with the home's files.
    """
    if resolved.method == "grid":
        # Refused before a million trials are built.
        limit = resolved.budget.max_trials or grid_size(resolved.space)
        if grid_size(resolved.space) > 100 * limit:
            raise SpecError(f"the grid has {grid_size(resolved.space):,} trials and budget.max_trials is {limit}")
    trials = new_trials(resolved)
    tree = tree_in(store.database, resolved, trials if resolved.method in LISTED else expected_trials(resolved))
    telling.warm_rows(store.database, resolved)
    require_after(store.database, resolved)
    require_free_name(store.database, name)
    if dry_run:
        return tree
    if init is not None:
        init.keep()
    try:
        store.create_sweep(
            name=name,
            submitted=submitted,
            resolved=resolved.to_json(),
            data_key=resolved.space.data_key,
            data_name=data_name,
            provenance=provenance(),
            created_by=getpass.getuser(),
            trials=trials,
        )
    except IntegrityError as error:
        raise _taken(name) from error
    return tree
