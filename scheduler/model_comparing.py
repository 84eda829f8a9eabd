"""Two models side by side: their figures with intervals, and which is better on the same held-out images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler import model_reads, reads, registry
from scheduler.comparing import Contender, is_tie, turned, win_probabilities
from scheduler.database import Database
from scheduler.judgement import figures_of
from scheduler.models import sealed_run
from scheduler.ranking import gates_of
from scheduler.reads import Evaluation, Sweep
from t2f.errors import UserError
from t2f.metrics.catalogue import BETTER
from t2f.metrics.figures import Figure

DECIDING = tuple(name for name, better in BETTER.items() if better != "neither")


@dataclass(frozen=True, kw_only=True)
class Side:
    """A measured stage run, as one of two that are compared."""

    name: str  # as it was given
    trial: str
    sweep: Sweep
    stage_run_id: int
    resolution: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    sides: tuple[Side, Side]
    metric: str  # that decides
    figures: tuple[Mapping[str, Figure], Mapping[str, Figure]]
    gates: tuple[tuple[str, ...], tuple[str, ...]]
    judge: Mapping[str, Any]  # sha256, and its R-precision on real held-out pairs, as the first one was measured
    wins: Mapping[str, float]  # metric -> probability that the first is better on other images of the same kind
    better: str | None  # a side's name; None for a tie, or where they cannot be compared
    reason: str

    def to_json(self) -> dict[str, Any]:
        names = [side.name for side in self.sides]
        return {
            "models": [
                {
                    "name": side.name,
                    "trial": side.trial,
                    "resolution": side.resolution,
                    "closed_gates": list(gates),
                    "figures": {name: figure.to_json() for name, figure in figures.items()},
                }
                for side, gates, figures in zip(self.sides, self.gates, self.figures, strict=True)
            ],
            "metric": self.metric,
            "judge": dict(self.judge),
            "win_probability": {names[0]: dict(self.wins)},
            "better": self.better,
            "reason": self.reason,
        }


def compare(database: Database, files: Path, first: str, second: str, *, metric: str | None) -> Comparison:
    """Two versions, or sealed stage runs of trials, by a metric; the first one's sweep's own where it is left out.

    files: the home's files, where evaluations keep what comparing them takes.
    """
    sides = (find_side(database, first), find_side(database, second))
    metric = metric or sides[0].sweep.resolved.metric
    if metric not in DECIDING:
        raise UserError(f"--metric {metric} is not known; allowed: {', '.join(DECIDING)}")
    evaluations, is_same = evaluations_of(database, sides)
    contenders = [
        Contender(stage_run_id=side.stage_run_id, figures=figures_of(evaluation, files))
        for side, evaluation in zip(sides, evaluations, strict=True)
    ]
    for side, contender in zip(sides, contenders, strict=True):
        if metric not in contender.figures:
            there = ", ".join(name for name in DECIDING if name in contender.figures)
            raise UserError(f"{side.name} has no value of {metric}; it has: {there}")
    gates = tuple(gates_of(evaluation.metrics) for evaluation in evaluations)
    comparable = is_same and sides[0].resolution == sides[1].resolution
    both = [name for name in DECIDING if all(name in one.figures for one in contenders)] if comparable else []
    chances = {name: win_probabilities(contenders, (name,))[0][1] for name in both}
    wins = {name: chance for name, chance in chances.items() if chance is not None}
    better, reason = decide(sides, contenders, gates, metric, wins.get(metric), is_same=is_same)
    return Comparison(
        sides=sides,
        metric=metric,
        figures=tuple(one.figures for one in contenders),
        gates=gates,
        judge={
            "sha256": sides[0].sweep.resolved.evaluation.judge_sha256,
            "r_precision": evaluations[0].metrics.get("judge_r_precision"),
        },
        wins=wins,
        better=better,
        reason=reason,
    )


def decide(
    sides: tuple[Side, Side],
    contenders: list[Contender],
    gates: tuple[tuple[str, ...], ...],
    metric: str,
    chance: float | None,
    *,
    is_same: bool,
) -> tuple[str | None, str]:
    """The name of the better side, None where there is none, and why; chance: that the first one wins."""
    names = [side.name for side in sides]
    if sides[0].stage_run_id == sides[1].stage_run_id:
        return None, "they are the same stage run"
    if bool(gates[0]) != bool(gates[1]):
        kept_out = 0 if gates[0] else 1
        return names[1 - kept_out], f"{names[kept_out]} is kept out by a gate: {', '.join(gates[kept_out])}"
    if sides[0].resolution != sides[1].resolution:
        return None, (
            f"figures at {sides[0].resolution} px and {sides[1].resolution} px cannot be compared; name stages of one "
            "resolution, such as SWEEP/T3@16"
        )
    if not is_same:
        return None, (
            "they were measured with different probes, judges or images, so their figures cannot be compared; "
            "`t2f evaluate` measures each on the same data"
        )
    if chance is None:
        values = [turned(metric, one.figures[metric].value) for one in contenders]
        return None, (
            f"by {metric} alone {names[values.index(max(values))]} is ahead, but the values of single images that tell "
            "how sure this is are not kept"
        )
    if is_tie(chance):
        return None, f"a tie: the difference in {metric} may be chance ({names[0]} wins with {chance:.0%})"
    winner = 0 if chance > 0.5 else 1
    return names[winner], f"better in {metric} with {max(chance, 1 - chance):.1%} on other images of the same kind"


def find_side(database: Database, name: str) -> Side:
    """A version of a model, or a trial's sealed stage run."""
    model = registry.find_version(database, name)
    if model is None:
        trial, sweep, run = sealed_run(database, name)
        return Side(name=name, trial=trial.name, sweep=sweep, stage_run_id=run.id, resolution=run.resolution)
    source = model_reads.source(database, model)
    stages = model_reads.trained_stages(database, model.stage_run_id)
    return Side(
        name=name,
        trial=source.trial,
        sweep=reads.sweep(database, source.sweep),
        stage_run_id=model.stage_run_id,
        resolution=stages[-1].resolution,
    )


def evaluations_of(database: Database, sides: tuple[Side, Side]) -> tuple[tuple[Evaluation, Evaluation], bool]:
    """An evaluation of each, and whether the two have the same key: those that do come first.

    Two sweeps that share a stage run may both have measured it, each under its own key.
    """
    found = model_reads.measured(database, [side.stage_run_id for side in sides])
    own = [side.sweep.resolved.evaluation.key for side in sides]
    for key in dict.fromkeys([*own, *(key for _, key in found)]):
        if all((side.stage_run_id, key) in found for side in sides):
            return (found[sides[0].stage_run_id, key], found[sides[1].stage_run_id, key]), True
    for side, key in zip(sides, own, strict=True):
        if (side.stage_run_id, key) not in found:
            stage = f"{side.trial} at {side.resolution} px"
            raise UserError(f"{side.name} ({stage}) is not yet evaluated; see `t2f trial show {side.trial}`")
    return (found[sides[0].stage_run_id, own[0]], found[sides[1].stage_run_id, own[1]]), False
