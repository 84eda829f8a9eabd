"""Asking for trials while a sweep runs, and drawing what a trial's next stage leaves open.

Nothing here is remembered that matters: what is proposed for a trial follows from the sweep's seed, the trial's number
and the rows. A scheduler that died before it wrote a trial asks for the same one again; a number that somebody else
took meanwhile is not written to. The samplers that are kept from one turn to the next are caches.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from scheduler import search_reads, telling
from scheduler.database import Database
from scheduler.reads import Sweep, Trial
from scheduler.search.gaussian import NotYet
from scheduler.search.methods import LISTED, Exhausted, Sampler, draw_parameters, identities, sampler_of
from scheduler.search.told import Told, ToldState
from scheduler.space import SearchSpace
from scheduler.states import TrialState
from scheduler.store import NewTrial, Store
from scheduler.sweepfile import ResolvedSweep
from scheduler.telling import Caches
from t2f.errors import UserError
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
    caches: Caches = field(default_factory=Caches)
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
    memory = _guarded_memory(store, sweep)
    if memory is None:
        return False
    trials, steps = telling.rows(database, sweep, memory.caches)
    room = count
    if room is None:
        room = resolved.search.parallel or search_reads.num_workers(database, resolved.resources.labels) + RESERVE
        room -= sum(telling.has_work(trial, steps.get(trial.id, [])) for trial in trials)
    count = min(room, _left(database, sweep), MOST_AT_ONCE)
    if count <= 0:
        return False
    told = telling.told_rows(database, sweep, trials, steps, memory.caches)
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

    A pure function of the sweep's seed, the trial's number, the stage and what is told (`telling.told_rows`); two
    trials with the same parameters so far get different ones, since their numbers differ. NotYet while a sampler still
    computes, Exhausted where no values keep the constraints. sampler: one that was used before, to be quicker.
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
    told = {}
    if memory is not None:
        rows = telling.rows(store.database, sweep, memory.caches)
        told = {row.number: row for row in telling.told_rows(store.database, sweep, *rows, memory.caches)}
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
