"""Who goes on at the end of a stage: pure functions of what is known of a rung.

A rung is the end of one stage. It ranks distinct stage runs: twelve trials on one stage run are one entry.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.objectives import Objective
from t2f.errors import SpecError
from t2f.spec import RESOLUTIONS, digest
from t2f.trainfile import Section, StagesSection

TYPES = ("none", "halving", "asha", "hyperband", "median")
MEDIAN_QUORUM = 3  # stage runs that must have arrived before one can be below their median
CONTROL_SHARE = 10  # one prunable stage run in so many goes on as a random control
MIN_CONTROLS = 2  # once CONTROL_SHARE stage runs are prunable


@dataclass(frozen=True, kw_only=True)
class EarlyTermination:
    """Which trials go on at the end of a stage."""

    # none: all; halving: the best 1/eta once a rung is complete; asha: without waiting for it; hyperband: halving in
    # brackets that begin at different rungs; median: those not below the median of the stage runs that have arrived.
    type: str = "none"
    eta: int = 3
    min_stage: int = 4  # px: no rung before it


def read_early_terminate(file: Section, stages: StagesSection, objectives: Sequence[Objective]) -> EarlyTermination:
    section = file.section("early_terminate")
    section.only(("type", "eta", "min_stage"))
    kind = section.choice("type", TYPES, default="none")
    if kind != "none" and len(objectives) > 1:
        # The first metric alone would stop members of the front.
        raise SpecError(
            f"{section.at('type')} = {kind!r} is not allowed with several objectives (metric is a list), since a rung "
            "compares one; remove early_terminate, or give one metric"
        )
    if section.content and "type" not in section.content:
        raise SpecError(
            f"{section.where}: {', '.join(section.content)} would have no effect, since 'type' is missing; "
            f"give type: one of {', '.join(TYPES)}"
        )
    if kind == "median" and "eta" in section.content:
        raise SpecError(f"{section.at('eta')} has no meaning for type: median, which keeps the upper half; remove it")
    eta = section.whole("eta", default=3, low=2, high=100)
    policy = EarlyTermination(type=kind, eta=eta, min_stage=read_min_stage(section, stages))
    if kind != "none" and not is_rung(policy, policy.min_stage, stages.resolutions[-1]):
        raise SpecError(
            f"{section.at('type')} = {kind!r} would stop nobody: min_stage = {policy.min_stage} is the last stage, at "
            "whose end all trials are through; give an earlier one, or type: none"
        )
    return policy


def read_min_stage(section: Section, stages: StagesSection) -> int:
    """The first stage at whose end trials are chosen, in px."""
    min_stage = section.whole("min_stage", default=stages.resolutions[0], low=4, high=RESOLUTIONS[-1])
    if min_stage not in stages.resolutions:
        raise SpecError(
            f"{section.at('min_stage')} = {min_stage} is no stage of this sweep; "
            f"its stages are {', '.join(map(str, stages.resolutions))}"
        )
    return min_stage


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stage run at a rung. `value` is the metric turned so that more is better; None while it is not known."""

    stage_run_id: int
    key: str  # of the stage run
    value: float | None
    is_out: bool = False  # failed, diverged or canceled: it never goes on
    is_open: bool = True  # a trial on it waits for the decision
    has_gone_on: bool = False  # a trial on it has been promoted
    is_control: bool = False  # a trial on it was let on by chance


@dataclass(frozen=True, kw_only=True)
class Decision:
    promoted: tuple[int, ...] = ()  # stage runs whose trials go on, the best first
    pruned: tuple[int, ...] = ()  # stage runs whose trials stop, the best first; the others are not decided yet
    behind: tuple[int, ...] = ()  # the pruned ones, and under asha those that will be unless the rung gets fuller


def is_rung(policy: EarlyTermination, resolution: int, final_resolution: int) -> bool:
    """Whether trials are chosen at the end of this stage at all."""
    return policy.type != "none" and policy.min_stage <= resolution < final_resolution


def first_rung(policy: EarlyTermination, number: int, resolutions: Sequence[int]) -> int:
    """px of the first rung at which the trial of this number is judged; the final stage stands for none.

    All but hyperband have one for all. Hyperband (arXiv:1603.06560, algorithm 1) hedges: a bracket with s rungs ahead
    of it has n_s = (K + 1) / (s + 1) * eta^s trials, of K rungs in all. Here the trials are dealt out to the brackets
    in these proportions by the golden ratio's multiples, so that any first N trials are divided so, however few.
    """
    rungs = [resolution for resolution in resolutions[:-1] if resolution >= policy.min_stage]
    if policy.type != "hyperband" or not rungs:
        return policy.min_stage
    count = len(rungs)
    weights = [(count + 1) / (ahead + 1) * float(policy.eta) ** ahead for ahead in range(count, -1, -1)]
    share = math.fmod(number * (math.sqrt(5) - 1) / 2, 1.0) * sum(weights)
    for start, weight in zip([*rungs, resolutions[-1]], weights, strict=True):
        share -= weight
        if share < 0:
            return start
    return resolutions[-1]


def decide(policy: EarlyTermination, entries: Sequence[Entry], *, complete: bool) -> Decision:
    """What is settled at a rung (of a bracket, under hyperband).

    complete: whether every trial that can still reach the rung is among the entries.
    halving and hyperband wait for the whole rung, so the outcome does not depend on who finished first. asha lets an
    entry go on as soon as it is among the best 1/eta of those that have arrived (arXiv:1810.05934, algorithm 2), and
    prunes the rest once the rung is complete. median decides on each as it arrives (Golovin et al., Google Vizier, KDD
    2017, section 3.2.2, with the value at the rung in place of the running average).
    """
    ranked = rank_entries(entries)
    if policy.type == "median":
        return _decide_by_median(ranked)
    waiting = any(entry.value is None and not entry.is_out for entry in entries)
    is_settled = complete and not waiting
    if policy.type == "asha":
        keep = len(ranked) // policy.eta
        if is_settled and ranked:
            keep = max(1, keep)
    elif is_settled:
        keep = -(-len(ranked) // policy.eta)
    else:
        keep = 0
    decision = _split(ranked, {entry.stage_run_id for entry in ranked[:keep]})
    if is_settled:
        return decision
    return Decision(promoted=decision.promoted, behind=decision.behind if policy.type == "asha" else ())


def _split(ranked: Sequence[Entry], chosen: set[int]) -> Decision:
    """The chosen ones go on, and whoever else comes to be on a stage run that has been promoted before."""
    goes_on = {entry.stage_run_id for entry in ranked if entry.has_gone_on} | chosen
    rest = tuple(entry.stage_run_id for entry in ranked if entry.stage_run_id not in goes_on)
    promoted = tuple(entry.stage_run_id for entry in ranked if entry.stage_run_id in goes_on)
    return Decision(promoted=promoted, pruned=rest, behind=rest)


def rank_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Those that can be chosen, the best first; equal ones by their stage run's key, a hash, so as if drawn by chance.

    By trial number a grid's first values, and a sampler's first guesses, would win wherever a rung tells nothing.
    """
    known = [entry for entry in entries if entry.value is not None and not entry.is_out]
    return sorted(known, key=lambda entry: (-entry.value, entry.key))


def _decide_by_median(ranked: Sequence[Entry]) -> Decision:
    if len(ranked) < MEDIAN_QUORUM:
        return Decision(promoted=tuple(entry.stage_run_id for entry in ranked))
    middle = statistics.median(entry.value for entry in ranked)
    return _split(ranked, {entry.stage_run_id for entry in ranked if entry.value >= middle})


def controls(prunable: Sequence[Entry], *, seed: int) -> tuple[int, ...]:
    """The stage runs among the prunable ones that go on all the same, as random controls, besides those that do so.

    prunable: those behind at a rung; asha chooses among them before it is complete, so as to learn while it is used.
    One in ten, two at least once there are ten. The choice depends on nothing but the sweep's seed and the keys, so a
    scheduler that dies after it comes to the same one.
    """
    due = 0 if len(prunable) < CONTROL_SHARE else max(MIN_CONTROLS, len(prunable) // CONTROL_SHARE)
    missing = due - sum(entry.is_control for entry in prunable)
    undecided = [entry for entry in prunable if entry.is_open and not entry.is_control]
    undecided.sort(key=lambda entry: digest([seed, "control", entry.key]))
    return tuple(entry.stage_run_id for entry in undecided[: max(0, missing)])
