"""The stage tree as rows of a table: one cell a stage run, as tall as the trials that share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.models import StageRun, Trial

MAX_TRIALS = 200  # a larger tree helps nobody


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A stage run and the rows it covers, or the columns a trial does not reach and the reason in a word."""

    run: StageRun | None = None
    rows: int = 1
    columns: int = 1
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    trial: Trial
    cells: tuple[Cell, ...]


def stage_tree(ranking: Sequence[Trial], runs: Mapping[int, StageRun], resolutions: Sequence[int]) -> tuple[Row, ...]:
    """The ranked trials again, those that share stage runs next to each other; the branch of the best comes first."""
    trials = [trial for trial in ranking if trial.stage_runs][:MAX_TRIALS]
    if not any(len(runs[number].trials) > 1 for trial in trials for number in trial.stage_runs):
        return ()
    place: dict[tuple[int, ...], int] = {}  # of a path's beginning: the best rank that has it
    for index, trial in enumerate(trials):
        for length in range(1, len(trial.stage_runs) + 1):
            place.setdefault(tuple(trial.stage_runs[:length]), index)
    index_of = {trial.number: index for index, trial in enumerate(trials)}

    def branch(trial: Trial) -> list[int]:
        prefixes = [tuple(trial.stage_runs[:length]) for length in range(1, len(trial.stage_runs) + 1)]
        return [*(place[prefix] for prefix in prefixes), index_of[trial.number]]

    ordered = sorted(trials, key=branch)
    heights: dict[int, int] = {}
    for trial in ordered:
        for number in trial.stage_runs:
            heights[number] = heights.get(number, 0) + 1
    rows, seen = [], set()
    for trial in ordered:
        cells = [Cell(run=runs[number], rows=heights[number]) for number in trial.stage_runs if number not in seen]
        seen.update(trial.stage_runs)
        missing = len(resolutions) - len(trial.stage_runs)
        if missing > 0:
            word = "not yet" if trial.state in ("waiting", "running", "paused") else trial.state
            cells.append(Cell(columns=missing, word=word))
        rows.append(Row(trial=trial, cells=tuple(cells)))
    return tuple(rows)
