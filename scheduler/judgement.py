"""A sweep's ranking with chances, ties, gates and correlations, from the database and the files of its evaluations.

Nothing here writes, and nothing needs torch.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scheduler import reads
from scheduler.comparing import (
    Contender,
    is_tie,
    mean_ranks,
    ranked_metrics,
    spearman_figure,
    turned,
    win_probabilities,
)
from scheduler.database import Database
from scheduler.finalists import Fresh, fresh_results, lift, parents_of
from scheduler.objectives import Objective
from scheduler.ranking import Standing, gates_of, rank
from scheduler.reads import Evaluation, StageRun, Sweep
from scheduler.rung_report import RungReport, rung_reports
from t2f.errors import UserError
from t2f.metrics.catalogue import BETTER
from t2f.metrics.figures import Figure, win_probability

MEAN_RANK = "mean-rank"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One trial in the ranking."""

    rank: int | None  # None behind a gate
    trial: str
    number: int
    state: str
    resolution: int
    value: Figure
    gates: tuple[str, ...]
    wins: Mapping[str, float]  # other trials of its resolution -> probability of being better than them
    ties: tuple[str, ...]  # trials from which the difference may be chance
    is_finalist: bool = False  # its value is the mean of fresh seeds
    front: int | None = None  # of several objectives
    others: Mapping[str, float] = field(default_factory=dict)  # values of the objectives after the first

    def to_json(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "trial": self.trial,
            "state": self.state,
            "resolution": self.resolution,
            **self.value.to_json(),
            "closed_gates": list(self.gates),
            "win_probability": dict(self.wins),
            "ties": list(self.ties),
            "is_finalist": self.is_finalist,
            **({"front": self.front, "others": dict(self.others)} if self.others else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Judgement:
    sweep: str
    metric: str
    better: str
    metrics: tuple[str, ...]  # that decide: the metric, or those whose ranks are averaged
    judge: Mapping[str, Any]  # sha256, and its R-precision on real held-out pairs at the last resolution
    places: tuple[Place, ...]
    correlations: Mapping[int, Figure | None]  # resolution -> Spearman's with the final stage
    rungs: tuple[RungReport, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.sweep,
            "metric": self.metric,
            "better": self.better,
            "metrics": list(self.metrics),
            "judge": dict(self.judge),
            "ranking": [place.to_json() for place in self.places],
            "correlation_with_final": {
                str(resolution): figure and figure.to_json() for resolution, figure in self.correlations.items()
            },
            "rungs": [rung.to_json() for rung in self.rungs],
        }


def judge_sweep(database: Database, files: Path, sweep: Sweep, *, metric: str | None) -> Judgement:
    """The sweep's trials ranked by its own metric or metrics, by another one, or by the mean of several ranks.

    files: the home's files, where evaluations keep what comparing them takes. Chances and ties are those of the metric,
    or of the first of several.
    """
    others = () if metric else sweep.resolved.objectives[1:]
    metric = metric or sweep.resolved.metric
    if metric not in (*BETTER, MEAN_RANK):
        raise UserError(f"--metric {metric} is not known; allowed: {', '.join([MEAN_RANK, *BETTER])}")
    trials = {trial.id: trial for trial in reads.trials(database, sweep.id)}
    all_paths = reads.paths(database, sweep.id, sweep.resolved.evaluation.key)
    parents = parents_of((one.id, one.origin, one.attributes) for one in trials.values())
    paths = {
        trial_id: [run for run in path if run.evaluation is not None and run.evaluation.score is not None]
        for trial_id, path in all_paths.items()
    }
    deepest = {trial_id: path[-1] for trial_id, path in paths.items() if path and trial_id in trials}
    values, decisive, chances = {}, (), {}
    for resolution in sorted({run.resolution for run in deepest.values()}):
        runs = {run.id: run for run in deepest.values() if run.resolution == resolution}
        contenders = [
            Contender(stage_run_id=run.id, figures=figures_of(run.evaluation, files)) for run in runs.values()
        ]
        found, decisive = values_of(contenders, metric)
        values |= found
        measured = [one for one in contenders if one.stage_run_id in found]
        for one, row in zip(measured, win_probabilities(measured, decisive), strict=True):
            chances[one.stage_run_id] = {
                other.stage_run_id: chance for other, chance in zip(measured, row, strict=True) if chance is not None
            }
    if deepest and not values:
        raise UserError(
            f"no stage run of {sweep.name} has a value of {metric}; see what was measured with "
            f"`t2f trial show {next(iter(trials.values())).name} --json`"
        )
    better = "lower" if metric == MEAN_RANK else BETTER[metric]
    standings = [
        Standing(
            trial_id=trial_id,
            number=trials[trial_id].number,
            state=trials[trial_id].state,
            stage_run_id=run.id,
            resolution=run.resolution,
            values=(
                values[run.id].value if run.id in values else None,
                *(run.evaluation.value(other.metric) for other in others),
            ),
            gates=gates_of(run.evaluation.metrics),
        )
        for trial_id, run in deepest.items()
    ]
    first = Objective(metric=metric, goal="minimize" if better == "lower" else "maximize")
    goal, fresh = first.goal, fresh_results(standings, parents)
    own = rank([one for one in standings if one.trial_id not in parents], (first, *others))
    ranked = lift(own, fresh, goal)
    of_run: dict[int, list[str]] = {}
    for one in ranked:
        of_run.setdefault(one.standing.stage_run_id, []).append(f"T{one.standing.number}")
    places = []
    for one in ranked:
        standing = one.standing
        if one.fresh is None:
            wins = {
                name: chance
                for run_id, chance in chances[standing.stage_run_id].items()
                for name in of_run.get(run_id, [])
                if int(name[1:]) not in fresh
            }
        else:
            wins = fresh_wins(standing.number, fresh, is_lower_better=better == "lower")
        places.append(
            Place(
                rank=one.rank,
                trial=trials[standing.trial_id].name,
                number=standing.number,
                state=standing.state,
                resolution=standing.resolution,
                value=values[standing.stage_run_id] if one.fresh is None else one.fresh.mean,
                gates=standing.gates if one.fresh is None else one.fresh.best(goal).gates,
                wins=wins,
                ties=tuple(name for name, chance in wins.items() if is_tie(chance)),
                is_finalist=one.fresh is not None,
                front=one.front,
                others={other.metric: value for other, value in zip(others, standing.values[1:], strict=True)},
            )
        )
    return Judgement(
        sweep=sweep.name,
        metric=metric,
        better=better,
        metrics=tuple(decisive),
        judge=judge_of(sweep, deepest.values()),
        places=tuple(places),
        correlations=correlations(
            [path for trial_id, path in paths.items() if trial_id not in parents],
            metric,
            final=sweep.resolved.space.plan.final_resolution,
        ),
        rungs=rung_reports(sweep, list(trials.values()), all_paths),
    )


def fresh_wins(number: int, fresh: Mapping[int, Fresh], *, is_lower_better: bool) -> dict[str, float]:
    """Other finalists -> the chance that another few fresh seeds would give a better mean, seed against seed."""
    found = {}
    for other, result in fresh.items():
        chance = None if other == number else win_probability(fresh[number].mean, result.mean)
        if chance is not None:
            found[f"T{other}"] = 1 - chance if is_lower_better else chance
    return found


def judge_of(sweep: Sweep, runs: Iterable[StageRun]) -> dict[str, Any]:
    """The judge of a sweep, and its R-precision on real pairs at the highest resolution that was measured."""
    measured = [run for run in runs if run.evaluation is not None and "judge_r_precision" in run.evaluation.metrics]
    last = max(measured, key=lambda run: run.resolution, default=None)
    return {
        "sha256": sweep.resolved.evaluation.judge_sha256,
        "r_precision": None if last is None else last.evaluation.metrics["judge_r_precision"],
    }


def figures_of(evaluation: Evaluation, files: Path | None) -> dict[str, Figure]:
    """The figures of an evaluation, with their parts where its file of them is there and whole."""
    parts = {} if files is None else read_parts(evaluation.samples or {}, files)
    found = {}
    for name, entry in evaluation.metrics.items():
        if entry.get("value") is None or not math.isfinite(entry["value"]):
            continue
        more = parts.get(name, {"by": None, "parts": []})
        found[name] = Figure(**entry, by=more["by"], parts=tuple(more["parts"]))
    return found


def read_parts(samples: Mapping[str, Any], files: Path) -> dict[str, Any]:
    """Empty where there is no such file or it is damaged: the ranking stands, without chances and ties."""
    kept = samples.get("parts")
    if not kept:
        return {}
    try:
        content = (files / kept["uri"]).read_bytes()
    except OSError:
        return {}
    return json.loads(content) if hashlib.sha256(content).hexdigest() == kept["sha256"] else {}


def values_of(contenders: Sequence[Contender], metric: str) -> tuple[dict[int, Figure], tuple[str, ...]]:
    """Stage run -> its figure of the metric, where it has one; and the metrics that this is made from."""
    if metric != MEAN_RANK:
        found = {one.stage_run_id: one.figures[metric] for one in contenders if metric in one.figures}
        return found, (metric,)
    ranks = mean_ranks(contenders)
    found = {
        one.stage_run_id: Figure(value=mean)
        for one, mean in zip(contenders, ranks, strict=True)
        if not math.isnan(mean)
    }
    return found, ranked_metrics(contenders)


def correlations(paths: Sequence[Sequence[StageRun]], metric: str, *, final: int) -> dict[int, Figure | None]:
    """Resolution -> Spearman's correlation of the values there with those of the final stage, of trials that got there.

    Trials on one final stage run count once. Trials that were stopped early are missing, which makes it smaller.
    """
    ended = {path[-1].id: path for path in paths if path and path[-1].resolution == final}
    by_stage: dict[int, list[StageRun]] = {}
    for path in ended.values():
        for run in path:
            by_stage.setdefault(run.resolution, []).append(run)
    found: dict[int, Figure | None] = {}
    last = _turned_values(by_stage.pop(final, []), metric)
    for resolution, runs in sorted(by_stage.items()):
        values = _turned_values(runs, metric)
        both = len(values) == len(last)
        pairs = np.array([values, last]) if both else np.empty((2, 0))
        pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
        found[resolution] = spearman_figure(pairs[0], pairs[1])
    return found


def _turned_values(runs: Sequence[StageRun], metric: str) -> list[float]:
    contenders = [Contender(stage_run_id=run.id, figures=figures_of(run.evaluation, None)) for run in runs]
    if metric == MEAN_RANK:
        return [-mean for mean in mean_ranks(contenders)]
    return [turned(metric, one.figures[metric].value) if metric in one.figures else math.nan for one in contenders]
