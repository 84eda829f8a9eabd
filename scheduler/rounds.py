"""The rows of one sweep at one moment, and what a rung is made of in them: pure functions of what was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.finalists import ORIGIN as REPLICATE
from scheduler.reads import StageRun, Sweep, Trial
from scheduler.reliability import Pair
from scheduler.rungs import Entry, first_rung
from scheduler.states import BROKEN, GOING_TRIALS, RunState, TrialState


@dataclass(frozen=True, kw_only=True)
class Rows:
    sweep: Sweep
    trials: Sequence[Trial]
    paths: Mapping[int, Sequence[StageRun]]  # trial id -> its stage runs from 4 px up
    unused: Mapping[int, Any] = field(default_factory=dict)  # rungs that are not used any more
    more_trials: bool = False  # the search has not yet asked for all of its trials, so that no rung is complete

    def path(self, trial: Trial) -> Sequence[StageRun]:
        return self.paths.get(trial.id, ())

    def final(self, trial: Trial) -> int:
        """px of its last stage."""
        return self.sweep.resolved.space.plan_of(trial.deviation).final_resolution

    def value(self, run: StageRun) -> float | None:
        """The sweep's metric, turned so that more is better; None where it is not measured, or no number."""
        if run.evaluation is None or run.evaluation.state != RunState.DONE:
            return None
        value = run.evaluation.value(self.sweep.resolved.metric)
        return None if value is None else self.turned(value)

    def turned(self, value: float) -> float:
        """A value of the sweep's metric, turned so that more is better."""
        return value if self.sweep.resolved.goal == "maximize" else -value

    def bracket(self, trial: Trial) -> int:
        """px of the first rung at which it may be judged; those of one bracket are compared with each other."""
        resolved = self.sweep.resolved
        if resolved.growing is not None:
            return resolved.growing.min_stage
        return first_rung(resolved.early_terminate, trial.number, resolved.space.plan.resolutions)

    def chooses_at(self, trial: Trial, resolution: int) -> bool:
        """Whether there is a choice at the end of this stage for trials of its bracket."""
        is_one = self.sweep.resolved.may_choose_at(resolution) and resolution not in self.unused
        return is_one and resolution >= self.bracket(trial)

    def is_judged(self, trial: Trial, resolution: int) -> bool:
        return trial.role.is_judged_at(resolution) and self.chooses_at(trial, resolution)

    def may_still_reach(self, trial: Trial, resolution: int) -> bool:
        """Whether an open trial has yet to arrive at this rung, to be compared there."""
        path = self.path(trial)
        is_before = not path or path[-1].resolution < resolution
        return trial.is_open and is_before and trial.role.counts_at(resolution)

    def members(self, resolution: int, bracket: int) -> list[Trial]:
        """The trials that are compared at a rung."""
        return [trial for trial in self.trials if trial.role.counts_at(resolution) and self.bracket(trial) == bracket]


def run_at(path: Sequence[StageRun], resolution: int) -> StageRun | None:
    return next((run for run in path if run.resolution == resolution), None)


def rung_entries(rows: Rows, members: Sequence[Trial], resolution: int) -> list[Entry]:
    """The distinct stage runs of one resolution among these trials.

    A canceled trial takes its stage run out only where no other trial of the sweep is on it.
    """
    on_run: dict[int, list[Trial]] = {}
    runs: dict[int, StageRun] = {}
    for trial in members:
        run = run_at(rows.path(trial), resolution)
        if run is not None:
            runs[run.id] = run
            on_run.setdefault(run.id, []).append(trial)
    return [_entry(rows, run, on_run[run.id]) for run in runs.values()]


def _entry(rows: Rows, run: StageRun, trials: Sequence[Trial]) -> Entry:
    value, evaluation = rows.value(run), run.evaluation
    has_failed = evaluation is not None and evaluation.state == RunState.FAILED
    has_no_value = evaluation is not None and evaluation.state == RunState.DONE and value is None
    judged = [trial for trial in trials if trial.role.is_judged_at(run.resolution)]
    return Entry(
        stage_run_id=run.id,
        key=run.key,
        value=value,
        is_out=run.state in BROKEN
        or has_failed
        or has_no_value
        or all(trial.state == TrialState.CANCELED for trial in trials),
        is_open=any(trial.state in GOING_TRIALS and rows.path(trial)[-1].id == run.id for trial in judged),
        has_gone_on=any(rows.path(trial)[-1].resolution > run.resolution for trial in judged),
        is_control=any(trial.role.control == run.resolution for trial in trials),
    )


def rung_pairs(rows: Rows, resolution: int) -> list[Pair]:
    """Each stage run of a rung whose trials came through the final stage, with the mean of what came of it.

    A random control stands for all that were, or could have been, stopped where it went on.
    """
    final = rows.sweep.resolved.space.plan.final_resolution
    stopped: dict[int, set[int]] = {}  # rung -> stage runs that it stopped
    let_on: dict[int, set[int]] = {}  # rung -> stage runs of its controls that came to the end
    ends: dict[int, dict[int, float]] = {}  # stage run at this rung -> those at the end, with their values
    values: dict[int, float] = {}
    control_of: dict[int, int] = {}  # stage run at this rung -> the rung that let it on by chance
    for trial in rows.trials:
        path, role = rows.path(trial), trial.role
        if not path or role.skips_rungs or trial.origin == REPLICATE:
            continue
        if trial.state == TrialState.PRUNED:
            stopped.setdefault(path[-1].resolution, set()).add(path[-1].id)
        here, last = run_at(path, resolution), path[-1]
        if here is None or last.resolution != final or role.promoted is not None:
            continue
        at_rung, at_end = rows.value(here), rows.value(last)
        if at_rung is None or at_end is None:
            continue
        values[here.id] = at_rung
        ends.setdefault(here.id, {})[last.id] = at_end
        if role.control is not None and role.control >= resolution:
            control_of[here.id] = role.control
            let_on.setdefault(role.control, set()).add(run_at(path, role.control).id)
    weights = {rung: len(stopped.get(rung, set()) | runs) / len(runs) for rung, runs in let_on.items()}
    return [
        Pair(
            at_rung=values[run_id],
            at_end=sum(found.values()) / len(found),
            weight=weights[control_of[run_id]] if run_id in control_of else 1.0,
            is_control=run_id in control_of,
        )
        for run_id, found in ends.items()
    ]
