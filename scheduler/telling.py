"""What samplers are told: a sweep's rows, and those of the sweep that it starts from; search/told.py has the scale.

Caches keep what does not change any more between two turns of the loop; without them everything is only slower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scheduler import reads, search_reads
from scheduler.database import Database
from scheduler.objectives import Objective
from scheduler.reads import Sweep, Trial
from scheduler.search.told import FAILED_PLACE, Measured, Told, ToldState, inside, places
from scheduler.search_reads import Step
from scheduler.states import BROKEN_TRIALS, GOING_TRIALS, TrialState
from scheduler.store.rows import batches
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import SpecError
from t2f.settings import Value


@dataclass
class Caches:
    """What does not change any more of a sweep's rows."""

    ended: dict[int, tuple[Trial, list[Step]]] = field(default_factory=dict)  # by the trial's id
    measured: dict[int, Measured] = field(default_factory=dict)  # by the stage run's id
    # (trial id, its number of parameters, px reached) -> what of the parameters is told; None: it is not of this space
    tellable: dict[tuple[int, int, int], dict[str, Value] | None] = field(default_factory=dict)


def rows(database: Database, sweep: Sweep, caches: Caches) -> tuple[list[Trial], dict[int, list[Step]]]:
    """All trials in the order of their numbers, and their stage runs; those of ended trials are not read again."""
    if sweep.resolved.own_loop:
        return reads.trials(database, sweep.id), steps_of(database, sweep)
    states = search_reads.trial_states(database, sweep.id)
    # A trial that was promoted after its end has another state until it has ended anew.
    known = {
        trial_id: caches.ended[trial_id]
        for trial_id, state in states.items()
        if trial_id in caches.ended and caches.ended[trial_id][0].state == state
    }
    others = [trial_id for trial_id in states if trial_id not in known]
    steps = _steps_by_trial(search_reads.steps_of_trials(database, others, *_evaluated(sweep.resolved)))
    again = (trial for ids in batches(others) for trial in reads.trials_of(database, ids))
    read = {trial.id: (trial, steps.get(trial.id, [])) for trial in again}
    caches.ended = {**known, **{trial_id: row for trial_id, row in read.items() if not row[0].is_open}}
    found = [known.get(trial_id) or read[trial_id] for trial_id in states if trial_id in known or trial_id in read]
    return [trial for trial, _ in found], {trial.id: path for trial, path in found}


def _evaluated(resolved: ResolvedSweep) -> tuple[str, Sequence[Objective]]:
    return resolved.evaluation.key, resolved.objectives


def _steps_by_trial(steps: Sequence[Step]) -> dict[int, list[Step]]:
    found: dict[int, list[Step]] = {}
    for step in steps:
        found.setdefault(step.trial_id, []).append(step)
    return found


def steps_of(database: Database, sweep: Sweep) -> dict[int, list[Step]]:
    """Trial id -> its stage runs, from 4 px up; of a sweep that somebody's own loop trains, what was told."""
    resolved = sweep.resolved
    if resolved.own_loop:
        return {
            trial.id: [_told_step(resolved, trial, trial.told)]
            for trial in reads.trials(database, sweep.id)
            if trial.told is not None
        }
    return _steps_by_trial(search_reads.steps(database, sweep.id, *_evaluated(resolved)))


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
    database: Database,
    sweep: Sweep,
    trials: Sequence[Trial],
    steps: Mapping[int, Sequence[Step]],
    caches: Caches | None = None,
) -> list[Told]:
    """Every trial that tells something, in the order of numbers; first those of the sweep that this one starts from."""
    return [*warm_rows(database, sweep.resolved), *_tell(sweep.resolved, trials, steps, caches or Caches())]


def _tell(
    resolved: ResolvedSweep, trials: Sequence[Trial], steps: Mapping[int, Sequence[Step]], caches: Caches
) -> list[Told]:
    """One sweep's own trials as samplers see them; told.py has the scale.

    Told are trials as the method proposes them: one that deviates from its sweep by a fork, by other stages or by a
    seed of its own says nothing about its parameters alone.
    """
    placed = places(_measured(resolved, steps, caches.measured))
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
        key = (trial.id, len(trial.parameters), reached)
        if key not in caches.tellable:
            # A value that was drawn for a stage which the trial never reached had no part in its result.
            parameters = {name: value for name, value in trial.parameters.items() if late.get(name, 0) <= reached}
            caches.tellable[key] = parameters if inside(resolved.space, parameters) else None
        parameters = caches.tellable[key]
        if parameters is not None:
            found.append(Told(number=trial.number, parameters=parameters, state=state, places=place))
    return found


def _measured(
    resolved: ResolvedSweep, steps: Mapping[int, Sequence[Step]], found: dict[int, Measured]
) -> list[Measured]:
    """The distinct stage runs that have a value of each objective; those found before are taken from there."""
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
    rows = _tell(other.resolved, reads.trials(database, other.id), steps_of(database, other), Caches())
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
