"""What follows from a sweep's rows: whose next stage is wanted, who stops, who gets children. It only decides.

The same rows give the same plan, and a plan that was carried out in part is followed by one for the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scheduler import branching, finalists, growing
from scheduler.finalists import fresh_seeds
from scheduler.predicting import predict
from scheduler.reads import Trial, own_ranking, standings_of
from scheduler.reliability import foretells, reliability
from scheduler.roles import FINALISTS
from scheduler.rounds import Rows, run_at, rung_entries, rung_pairs
from scheduler.rungs import Decision, Entry, controls, decide, rank_entries
from scheduler.states import GOING_TRIALS, RunState
from scheduler.store import Fork
from t2f.metrics.figures import Figure


@dataclass(kw_only=True)
class Plan:
    """What is to be written, in this order: whatever dies in between finds the rest to be done."""

    unused: dict[int, Figure] = field(default_factory=dict)  # rungs that turned out not to foretell the final stage
    controls: dict[int, int] = field(default_factory=dict)  # trial id -> px of the rung that lets it on by chance
    forks: list[Fork] = field(default_factory=list)
    pruned: dict[int, str] = field(default_factory=dict)  # trial id -> why
    going: list[Trial] = field(default_factory=list)  # whose next stage is wanted, the most urgent first


def plan_round(rows: Rows) -> Plan:
    """Demand the next stage of every trial that may go on, and stop those that may not."""
    plan = Plan()
    arrived: dict[tuple[int, int], list[Trial]] = {}  # (rung, bracket) -> those who wait for its decision
    for trial in rows.trials:
        if trial.state not in GOING_TRIALS:
            continue
        path = rows.path(trial)
        if not path:
            plan.going.append(trial)
        elif path[-1].state == RunState.DONE and path[-1].resolution < rows.final(trial):
            if rows.is_judged(trial, path[-1].resolution):
                arrived.setdefault((path[-1].resolution, rows.bracket(trial)), []).append(trial)
            else:
                plan.going.append(trial)
    for (resolution, bracket), here in sorted(arrived.items()):
        members = rows.members(resolution, bracket)
        entries = rung_entries(rows, members, resolution)
        complete = not rows.more_trials and not any(rows.may_still_reach(one, resolution) for one in members)
        if rows.sweep.resolved.growing is not None:
            _grow(plan, rows, here, entries, complete=complete)
        elif resolution in plan.unused or _is_unused(plan, rows, resolution):
            plan.going += here
        else:
            _judge(plan, rows, here, entries, complete=complete)
    plan.forks += branches_wanted(rows, [trial for trial in plan.going if trial.id not in plan.controls])
    return plan


def _is_unused(plan: Plan, rows: Rows, resolution: int) -> bool:
    pairs = rung_pairs(rows, resolution)
    figure = reliability(pairs)
    if foretells(figure, pairs):
        return False
    plan.unused[resolution] = figure
    return True


def _judge(plan: Plan, rows: Rows, here: Sequence[Trial], entries: Sequence[Entry], *, complete: bool) -> None:
    """A rung's decision, with those that go on by chance."""
    policy, seed = rows.sweep.resolved.early_terminate, rows.sweep.resolved.space.seed
    resolution = rows.path(here[0])[-1].resolution
    decision = decide(policy, entries, complete=complete)
    by_run = _by_run(rows, here)
    prunable = set(decision.behind)
    lucky = {
        min(by_run[run_id], key=lambda one: one.number).id: resolution
        for run_id in controls([entry for entry in entries if entry.stage_run_id in prunable], seed=seed)
    }
    plan.controls |= lucky
    if policy.type == "median":
        reason = f"below the median at {resolution} px"
    else:
        in_bracket = " of its bracket" if policy.type == "hyperband" else ""
        reason = f"not among the best 1/{policy.eta}{in_bracket} at {resolution} px"
    stopped = [trial for run_id in decision.pruned for trial in by_run.get(run_id, ())]
    plan.pruned |= {trial.id: reason for trial in stopped if trial.id not in lucky}
    plan.going += _in_order(rows, by_run, decision)
    plan.going += sorted((trial for trial in here if trial.id in lucky), key=lambda one: one.number)


def _by_run(rows: Rows, here: Sequence[Trial]) -> dict[int, list[Trial]]:
    found: dict[int, list[Trial]] = {}
    for trial in here:
        found.setdefault(rows.path(trial)[-1].id, []).append(trial)
    return found


def _in_order(rows: Rows, by_run: Mapping[int, Sequence[Trial]], decision: Decision) -> list[Trial]:
    """The trials of promoted stage runs: the best stage run first, of its trials the most promising one."""
    found: list[Trial] = []
    for run_id in decision.promoted:
        trials = by_run.get(run_id, ())
        found += _best_predicted_first(rows, trials) if len(trials) > 1 else trials
    return found


def _best_predicted_first(rows: Rows, trials: Sequence[Trial]) -> list[Trial]:
    """Siblings by what stage runs like their next ones gave under other parents; by number where nothing is known."""
    wanted = len(rows.path(trials[0]))
    resolution = rows.sweep.resolved.space.plan.resolutions[wanted]
    runs = {run.id: run for path in rows.paths.values() if (run := run_at(path, resolution)) is not None}
    known = [(run.spec["settings"], value) for run in runs.values() if (value := rows.value(run)) is not None]
    space = rows.sweep.resolved.space
    guesses = {
        trial.id: predict(space.stages(trial.parameters, trial.deviation)[wanted].settings.flat(), known)
        for trial in trials
    }
    return sorted(trials, key=lambda one: (-(guesses[one.id] or 0.0), one.number))


def _grow(plan: Plan, rows: Rows, here: Sequence[Trial], entries: Sequence[Entry], *, complete: bool) -> None:
    """The best stage runs of a stage go on in several ways, once all have arrived."""
    resolved = rows.sweep.resolved
    policy, space = resolved.growing, resolved.space
    resolution = rows.path(here[0])[-1].resolution
    if not complete or any(entry.value is None and not entry.is_out for entry in entries):
        return
    left = float("inf")
    if resolved.budget.max_trials is not None:
        left = resolved.budget.max_trials - sum(trial.origin != finalists.ORIGIN for trial in rows.trials)
    by_run = _by_run(rows, here)
    has_children = {
        run.id
        for trial in rows.trials
        if str(resolution) in trial.role.forked and (run := run_at(rows.path(trial), resolution)) is not None
    }
    for run_id, ways in growing.next_generation(policy, rank_entries(entries)).items():
        trials = by_run.get(run_id, [])
        if not ways:
            plan.pruned |= {trial.id: f"not among those that go on from {resolution} px" for trial in trials}
            continue
        plan.going += trials
        if trials and run_id not in has_children:
            count = max(0, int(min(ways - len(trials), left)))
            born = growing.children(policy, space, parent_of(trials[0]), after=resolution, count=count)
            left -= len(born)
            plan.forks.append(Fork(trial_id=trials[0].id, at=str(resolution), shared_until=resolution, children=born))


def parent_of(trial: Trial) -> growing.Parent:
    return growing.Parent(number=trial.number, parameters=trial.parameters, deviation=trial.deviation)


def branches_wanted(rows: Rows, going: Sequence[Trial]) -> list[Fork]:
    """Further draws of late parameters for those that go on to the stage where they are drawn."""
    resolved = rows.sweep.resolved
    if resolved.branch < 2:
        return []
    resolutions = resolved.space.plan.resolutions
    found = []
    for trial in going:
        path, role = rows.path(trial), trial.role
        if not path or role.skips_rungs or role.free_from < float("inf"):
            continue
        after = path[-1].resolution
        following = resolutions[resolutions.index(after) + 1]
        is_new = after > role.passes and str(after) not in role.forked  # a branch begins with draws of its own
        if is_new and branching.late_at(resolved.space, following):
            born = branching.branches(resolved.space, parent_of(trial), after=after, count=resolved.branch - 1)
            found.append(Fork(trial_id=trial.id, at=str(after), shared_until=after, children=born))
    return found


def finalists_wanted(rows: Rows) -> list[Fork]:
    """The fresh seeds that are still to be asked for, once everybody else has ended."""
    resolved = rows.sweep.resolved
    if not resolved.replicate.trials or rows.more_trials or any(trial.is_open for trial in rows.trials):
        return []
    seeds = fresh_seeds(resolved.space.seed, resolved.replicate.seeds)
    trials = {trial.id: trial for trial in rows.trials}
    parents = finalists.parents_of((one.id, one.origin, one.attributes) for one in rows.trials)
    ranked = own_ranking(rows.sweep, standings_of(rows.sweep, rows.trials, rows.paths), parents)
    chosen = [trials[one.trial_id] for one in finalists.finalists(ranked, resolved.replicate.top)]
    return [
        Fork(
            trial_id=trial.id,
            at=FINALISTS,
            shared_until=None,
            children=finalists.replicates(trial.number, trial.parameters, trial.deviation, seeds),
        )
        for trial in chosen
        if FINALISTS not in trial.role.forked
    ]
