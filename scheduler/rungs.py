"""Who goes on at the end of a stage: pure functions of what is known of a rung.

A rung is the end of one stage. It ranks distinct stage runs: twelve trials on one stage run are one entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.sweepfile import EarlyTermination


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stage run at a rung. `value` is the metric turned so that more is better; None while it is not known."""

    stage_run_id: int
    first_trial: int  # the lowest number among the trials on it
    value: float | None
    is_out: bool = False  # failed, diverged or canceled: it never goes on


@dataclass(frozen=True, kw_only=True)
class Decision:
    promoted: frozenset[int] = frozenset()  # stage runs whose trials go on
    pruned: frozenset[int] = frozenset()  # stage runs whose trials stop; the others are not decided yet


def is_rung(policy: EarlyTermination, resolution: int, final_resolution: int) -> bool:
    """Whether trials are chosen at the end of this stage at all."""
    return policy.type != "none" and policy.min_stage <= resolution < final_resolution


def decide(policy: EarlyTermination, entries: Sequence[Entry], *, complete: bool) -> Decision:
    """What is settled at a rung.

    complete: whether every trial that can still reach the rung is among the entries.
    halving waits for the whole rung, so its outcome does not depend on who finished first. asha lets an entry go on as
    soon as it is among the best 1/eta of those that have arrived (arXiv:1810.05934, algorithm 2), and prunes the rest
    once the rung is complete.
    """
    ranked = sorted(
        (entry for entry in entries if entry.value is not None and not entry.is_out),
        key=lambda entry: (-entry.value, entry.first_trial),
    )
    waiting = any(entry.value is None and not entry.is_out for entry in entries)
    is_settled = complete and not waiting
    if policy.type == "halving":
        if not is_settled or not ranked:
            return Decision()
        keep = -(-len(ranked) // policy.eta)
    else:
        keep = len(ranked) // policy.eta
        if is_settled and ranked:
            keep = max(1, keep)
    promoted = frozenset(entry.stage_run_id for entry in ranked[:keep])
    rest = frozenset(entry.stage_run_id for entry in ranked[keep:])
    return Decision(promoted=promoted, pruned=rest if is_settled else frozenset())
