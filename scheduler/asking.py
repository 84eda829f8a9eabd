"""Asking for trials while a sweep runs, and drawing what a trial's next stage leaves open.

Nothing here is remembered that matters: what is proposed for a trial follows from the sweep's seed, the trial's number
and the rows. A scheduler that died before it wrote a trial asks for the same one again; a number that somebody else
took meanwhile is not written to. The samplers that are kept from one turn to the next are caches.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from scheduler import reads, search_reads
from scheduler.database import Database
from scheduler.reads import Sweep, Trial
from scheduler.search.gaussian import NotYet
from scheduler.search.methods import LISTED, Exhausted, Sampler, draw_parameters, identities, sampler_of
from scheduler.search.told import FAILED_PLACE, Measured, Told, ToldState, inside, places
from scheduler.search_reads import Step
from scheduler.space import SearchSpace
from scheduler.states import BROKEN_TRIALS, GOING_TRIALS, TrialState
from scheduler.store import NewTrial, Store
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import SpecError, UserError
from t2f.settings import Value

log = logging.getLogger(__name__)

ENQUEUED = "enqueued"  # the origin of a trial that a person asked for; its parameters may still be incomplete
RESERVE = 1  # trials with work beyond one for each worker, so that none waits for a proposal
MOST_AT_ONCE = 20  # trials asked for in one turn


@dataclass
class _Memory:
    """What is kept of one sweep between turns; without it everything is only slower."""

    sampler: Sampler
    space: SearchSpace  # that it draws from; an edit of the sweep changes it
    known: dict[tuple[int, int], tuple | None] = field(default_factory=dict)  # (number, parameters) -> identity
    is_exhausted: bool = False


_MEMORIES: WeakKeyDictionary[Store, dict[int, _Memory]] = WeakKeyDictionary()


def _memory(store: Store, sweep: Sweep) -> _Memory:
    memories = _MEMORIES.setdefault(store, {})
    resolved = sweep.resolved
    if sweep.id not in memories or memories[sweep.id].space != resolved.space:
        sampler = sampler_of(resolved.method, resolved.space, objectives=len(resolved.objectives))
        memories[sweep.id] = _Memory(sampler=sampler, space=resolved.space)
    return memories[sweep.id]


def wants_more(store: Store, sweep: Sweep) -> bool:
    """Whether trials are still to be asked for."""
    if sweep.resolved.method in LISTED:
        return False
    memory = _MEMORIES.get(store, {}).get(sweep.id)
    is_exhausted = memory is not None and memory.space == sweep.resolved.space and memory.is_exhausted
    return not is_exhausted and _left(store.database, sweep) > 0


def _left(database: Database, sweep: Sweep) -> int:
    """How many trials the budget has left; forks and finalists are no part of it."""
    origins = (sweep.resolved.method, ENQUEUED)
    return sweep.resolved.budget.max_trials - search_reads.num_trials(database, sweep.id, origins)


def ask_trials(store: Store, sweep: Sweep, *, count: int | None = None) -> bool:
    """Add as many trials as the workers can use and the budget allows; whether there is something new to settle.

    A sampler that fails pauses the sweep, with what it said. count: how many are wanted instead.
    """
    if not wants_more(store, sweep):
        return False
    database, resolved = store.database, sweep.resolved
    trials = reads.trials(database, sweep.id)
    steps = steps_of(database, sweep)
    room = count
    if room is None:
        room = resolved.search.parallel or search_reads.num_workers(database) + RESERVE
        room -= sum(has_work(trial, steps.get(trial.id, [])) for trial in trials)
    count = min(room, _left(database, sweep), MOST_AT_ONCE)
    if count <= 0:
        return False
    memory = _guarded_memory(store, sweep)
    if memory is None:
        return False
    told = told_rows(database, sweep, trials, steps)
    first = max((trial.number for trial in trials), default=-1) + 1
    taken = _taken(resolved, trials, memory)
    added: list[NewTrial] = []
    ended = False
    for number in range(first, first + count):
        try:
            parameters = _proposal(memory, resolved, number, told, taken)
        except NotYet:
            break
        except Exhausted as end:
            memory.is_exhausted = ended = True
            store.end_search(sweep.id, reason=f"{resolved.method} stopped before its {number + 1}th trial: {end}")
            break
        except UserError as error:
            _pause(store, sweep, error)
            break
        added.append(NewTrial(parameters=parameters, origin=resolved.method))
        told.append(Told(number=number, parameters=parameters, state=ToldState.RUNNING))
        taken.add(identities(resolved.space)(parameters))
    return (bool(added) and store.add_asked(sweep.id, added, first=first)) or ended


def _guarded_memory(store: Store, sweep: Sweep) -> _Memory | None:
    try:
        return _memory(store, sweep)
    except UserError as error:
        _pause(store, sweep, error)
        return None


def _pause(store: Store, sweep: Sweep, error: UserError) -> None:
    log.warning("the sweep %s is paused: %s", sweep.name, error, exc_info=error.__cause__)
    store.set_sweep_paused(sweep.id, paused=True, error=f"{error}; resume the sweep to try again")


def _proposal(
    memory: _Memory, resolved: ResolvedSweep, number: int, told: Sequence[Told], taken: set[tuple | None]
) -> dict[str, Value]:
    identity = identities(resolved.space)
    return draw_parameters(
        memory.sampler,
        resolved.space,
        number=number,
        stage=resolved.space.plan.resolutions[0],
        told=told,
        chosen={},
        is_taken=lambda parameters: (found := identity(parameters)) is not None and found in taken,
    )


def _taken(resolved: ResolvedSweep, trials: Sequence[Trial], memory: _Memory) -> set[tuple | None]:
    identity = identities(resolved.space)
    for trial in trials:
        key = (trial.number, len(trial.parameters))
        if key not in memory.known:
            memory.known[key] = identity(trial.parameters)
    return set(memory.known.values()) - {None}


# What a trial's next stage leaves open


def is_complete(resolved: ResolvedSweep, trial: Trial, stage: int) -> bool:
    """Whether a trial has every parameter that its stage of this resolution needs."""
    return all(
        parameter.name in trial.parameters
        or not parameter.is_active(trial.parameters)
        or (parameter.from_stage is not None and parameter.from_stage > stage)
        for parameter in resolved.space.parameters
    )


def draw_late(
    resolved: ResolvedSweep, trial: Trial, stage: int, told: Sequence[Told], *, sampler: Sampler | None = None
) -> dict[str, Value]:
    """The trial's parameters, completed by those that begin at or before its stage of `stage` px.

    A pure function of the sweep's seed, the trial's number, the stage and what is told (`told_rows`); two trials with
    the same parameters so far get different ones, since their numbers differ. NotYet while a sampler still computes,
    Exhausted where no values keep the constraints. sampler: one that was used before, to be quicker.
    """
    sampler = sampler or sampler_of(resolved.method, resolved.space, objectives=len(resolved.objectives))
    return draw_parameters(
        sampler, resolved.space, number=trial.number, stage=stage, told=told, chosen=trial.parameters
    )


def completed(
    store: Store, sweep: Sweep, wanted: Mapping[int, int], trials: Sequence[Trial]
) -> tuple[list[Trial], bool]:
    """The trials that may go on to a stage now, with what it leaves open drawn and written; whether others must wait.

    wanted: trial id -> px of its next stage. Left out are trials whose values are still being computed, which must
    wait, and those that ended because no values keep the constraints.
    """
    undrawn = {trial.id for trial in trials if not is_complete(sweep.resolved, trial, wanted[trial.id])}
    if not undrawn:
        return list(trials), False
    memory = _guarded_memory(store, sweep)
    told = {row.number: row for row in _told_now(store, sweep)} if memory is not None else {}
    going: list[Trial] = []
    must_wait = memory is None
    for trial in trials:
        if trial.id not in undrawn:
            going.append(trial)
            continue
        if must_wait:
            continue
        stage = wanted[trial.id]
        try:
            others = [row for row in told.values() if row.number != trial.number]
            parameters = draw_late(sweep.resolved, trial, stage, others, sampler=memory.sampler)
        except NotYet:
            must_wait = True
        except Exhausted as end:
            reason = f"the parameters that begin at {stage} px: {end}"
            store.set_trial_states({trial.id: TrialState.FAILED}, reason=reason)
        except UserError as error:
            _pause(store, sweep, error)
            must_wait = True
        else:
            if store.set_parameters(trial.id, parameters, stage=stage):
                going.append(replace(trial, parameters=parameters))
                told[trial.number] = Told(number=trial.number, parameters=parameters, state=ToldState.RUNNING)
    return going, must_wait


def _told_now(store: Store, sweep: Sweep) -> list[Told]:
    return told_rows(store.database, sweep, reads.trials(store.database, sweep.id), steps_of(store.database, sweep))


# What samplers are told


def steps_of(database: Database, sweep: Sweep) -> dict[int, list[Step]]:
    """Trial id -> its stage runs, from 4 px up; of a sweep that somebody's own loop trains, what was told."""
    found: dict[int, list[Step]] = {}
    resolved = sweep.resolved
    if resolved.own_loop:
        return {
            trial.id: [_told_step(resolved, trial, trial.told)]
            for trial in reads.trials(database, sweep.id)
            if trial.told is not None
        }
    for step in search_reads.steps(database, sweep.id, resolved.evaluation.key, resolved.objectives):
        found.setdefault(step.trial_id, []).append(step)
    return found


def _told_step(resolved: ResolvedSweep, trial: Trial, values: Mapping[str, float]) -> Step:
    return Step(
        trial_id=trial.id,
        stage_run_id=-trial.id,
        parent_id=None,
        resolution=resolved.space.plan.final_resolution,
        is_measured=True,
        values=tuple(values.get(objective.metric) for objective in resolved.objectives),
    )


def has_work(trial: Trial, path: Sequence[Step]) -> bool:
    """Whether a worker has, or could have, something to do for a trial; not while it waits at a rung."""
    return trial.state in GOING_TRIALS and not (path and path[-1].is_measured)


def told_rows(
    database: Database, sweep: Sweep, trials: Sequence[Trial], steps: Mapping[int, Sequence[Step]]
) -> list[Told]:
    """Every trial that tells something, in the order of numbers; first those of the sweep that this one starts from."""
    return [*warm_rows(database, sweep.resolved), *tell(sweep.resolved, trials, steps)]


def tell(resolved: ResolvedSweep, trials: Sequence[Trial], steps: Mapping[int, Sequence[Step]]) -> list[Told]:
    """One sweep's own trials as samplers see them; told.py has the scale.

    Told are trials as the method proposes them: one that deviates from its sweep by a fork, by other stages or by a
    seed of its own says nothing about its parameters alone.
    """
    placed = places(_measured(resolved, steps))
    late = {one.name: one.from_stage for one in resolved.space.parameters if one.from_stage is not None}
    failed = (FAILED_PLACE,) * len(resolved.objectives)
    found: list[Told] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        path = steps.get(trial.id, [])
        measured = [step for step in path if step.stage_run_id in placed]
        reached = path[-1].resolution if path else 0
        if trial.state == TrialState.CANCELED or trial.attributes.get("deviation"):
            continue
        if trial.state in BROKEN_TRIALS:
            state, place = ToldState.FAILED, failed
        elif trial.is_open and (has_work(trial, path) or trial.state == TrialState.PAUSED):
            state, place, reached = ToldState.RUNNING, (), max(late.values(), default=0)
        elif measured:
            state, place, reached = ToldState.MEASURED, placed[measured[-1].stage_run_id], measured[-1].resolution
        else:
            continue
        # A value that was drawn for a stage which the trial never reached had no part in its result.
        parameters = {name: value for name, value in trial.parameters.items() if late.get(name, 0) <= reached}
        if inside(resolved.space, parameters):
            found.append(Told(number=trial.number, parameters=parameters, state=state, places=place))
    return found


def _measured(resolved: ResolvedSweep, steps: Mapping[int, Sequence[Step]]) -> list[Measured]:
    """The distinct stage runs that have a value of each objective."""
    found: dict[int, Measured] = {}
    for path in steps.values():
        for step in path:
            if step.is_measured and step.stage_run_id not in found and None not in step.values:
                values = tuple(
                    objective.turned(value) for objective, value in zip(resolved.objectives, step.values, strict=True)
                )
                found[step.stage_run_id] = Measured(
                    stage_run_id=step.stage_run_id,
                    parent_id=step.parent_id,
                    resolution=step.resolution,
                    values=values,
                )
    return [found[stage_run_id] for stage_run_id in sorted(found)]


def warm_rows(database: Database, resolved: ResolvedSweep) -> list[Told]:
    """The results of the sweep that this one starts from, as far as they lie in its space; numbers count down from -1.

    Their places are those among their own sweep, so other stages or another probe do no harm. SpecError where that
    sweep is missing, looks for something else, has other parameters, or was trained on other data.
    """
    warm, _ = warm_start(database, resolved)
    return warm


def warm_start(database: Database, resolved: ResolvedSweep) -> tuple[list[Told], int]:
    """The rows that `warm_rows` gives, and how many results the other sweep has."""
    name = resolved.search.warm_start
    if name is None:
        return [], 0
    other = reads.find_sweep(database, name)
    if other is None:
        raise SpecError(f"warm_start: there is no sweep {name!r}; `t2f sweep ls` lists them")
    _check_alike(name, other.resolved, resolved)
    rows = tell(other.resolved, reads.trials(database, other.id), steps_of(database, other))
    rows = [row for row in rows if row.state != ToldState.RUNNING]
    used = [replace(row, number=-1 - row.number) for row in rows if inside(resolved.space, row.parameters)]
    return sorted(used, key=lambda row: row.number), len(rows)


def _check_alike(name: str, other: ResolvedSweep, resolved: ResolvedSweep) -> None:
    pairs = {
        "metrics": ([one.metric for one in other.objectives], [one.metric for one in resolved.objectives]),
        "parameters that vary": (sorted(other.space.varying), sorted(resolved.space.varying)),
        "prepared data": ([other.space.data_key[:12]], [resolved.space.data_key[:12]]),
        "preset": ([other.space.preset], [resolved.space.preset]),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise SpecError(
                f"warm_start: the {what} of {name} are {', '.join(theirs)}, here {', '.join(ours)}; they must be the "
                "same for its results to mean the same. Start from another sweep, or remove warm_start"
            )
