"""How well each rung of a sweep foretells the final stage, for people: what is known of it, and whether it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.reads import StageRun, Sweep, Trial
from scheduler.reliability import reliability
from scheduler.rounds import Rows, rung_pairs
from scheduler.rungs import is_rung
from t2f.metrics.figures import Figure


@dataclass(frozen=True, kw_only=True)
class RungReport:
    resolution: int
    figure: Figure | None  # the rank correlation with the final stage; of an unused rung the one that ended its use
    is_used: bool

    def to_json(self) -> dict[str, Any]:
        figure = self.figure and self.figure.to_json()
        return {"resolution": self.resolution, "correlation_with_final": figure, "is_used": self.is_used}

    def __str__(self) -> str:
        if self.figure is None:
            return f"rung at {self.resolution} px: not known yet how well it foretells the final stage"
        figure = self.figure
        end = "" if self.is_used else "; not used any more, all go on there"
        return (
            f"rung at {self.resolution} px: rank correlation with the final stage {figure.value:.2f} "
            f"({figure.low:.2f} to {figure.high:.2f}), {figure.note}{end}"
        )


def rung_reports(
    sweep: Sweep, trials: Sequence[Trial], paths: Mapping[int, Sequence[StageRun]]
) -> tuple[RungReport, ...]:
    rows = Rows(sweep=sweep, trials=trials, paths=paths)
    plan, policy = sweep.resolved.space.plan, sweep.resolved.early_terminate
    return tuple(
        RungReport(
            resolution=resolution,
            figure=sweep.unused_rungs.get(resolution) or reliability(rung_pairs(rows, resolution)),
            is_used=resolution not in sweep.unused_rungs,
        )
        for resolution in plan.resolutions
        if is_rung(policy, resolution, plan.final_resolution)
    )
