"""Training a trial again from its rows, and saying for each stage whether its weights are the same."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scheduler import reads, trial_reads
from scheduler.home import Home
from scheduler.models import sweep_data
from scheduler.reads import Trial
from scheduler.store import init_uri
from t2f.errors import CheckpointError, UserError
from t2f.spec import StageSpec, stage_keys
from t2f.threads import quiet_threads


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A sealed stage run as its rows say."""

    stage: StageSpec
    key: str
    weights_sha256: str
    numerics_classes: tuple[str, ...]  # of all attempts at it and at the stages before


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One stage, trained again."""

    resolution: int
    key: str
    recorded: str  # hash of the weights
    found: str
    recorded_classes: tuple[str, ...]
    found_class: str

    @property
    def is_same(self) -> bool:
        return self.recorded == self.found

    @property
    def must_be_same(self) -> bool:
        """Whether all of it was trained in the class of numerics that it was trained in again."""
        return self.recorded_classes == (self.found_class,)


def recorded_stages(home: Home, trial: Trial, *, through: int | None = None) -> list[Recorded]:
    """The sealed stages of a trial from 4 px up, to be trained again; UserError where that cannot be.

    through: the last resolution in px. Default: the last one that is sealed.
    """
    database = home.open()
    sealed = [run for run in trial_reads.stage_runs_of(database, trial.id) if run.weights_sha256 is not None]
    there = ", ".join(f"{run.resolution} px" for run in sealed)
    if not sealed:
        raise UserError(f"{trial.name} is {trial.state} and has no sealed stage that could be compared")
    if through is not None and through not in [run.resolution for run in sealed]:
        raise UserError(f"--through {through} is not allowed; the sealed stages of {trial.name} are {there}")
    chosen = [run for run in sealed if through is None or run.resolution <= through]
    stages = [StageSpec.from_json(run.spec) for run in chosen]
    root = reads.sweep(database, trial.sweep_name).resolved.root(trial.name)
    for run, key in zip(chosen, stage_keys(stages, root), strict=True):
        if run.key != key:
            made_with = trial_reads.submission(database, trial.sweep_id).provenance
            raise UserError(
                f"this version trains the stage of {run.resolution} px of {trial.name} to other numbers (key "
                f"{key[:12]}..., recorded {run.key[:12]}...); take the commit it was submitted with: "
                f"{made_with.get('commit') or 'not recorded'}"
            )
    classes: dict[str, None] = {}
    found = []
    for run, stage in zip(chosen, stages, strict=True):
        attempts = reads.attempts(database, run.id)
        classes |= dict.fromkeys(one.numerics_class for one in attempts if one.numerics_class)
        found.append(
            Recorded(
                stage=stage, key=run.key, weights_sha256=run.weights_sha256, numerics_classes=tuple(sorted(classes))
            )
        )
    return found


def reproduce(home: Home, trial: Trial, recorded: list[Recorded], *, scratch: Path) -> Iterator[Verdict]:
    """Train the recorded stages in a scratch folder, with as many threads and on such a device as they had.

    DataError where the prepared data is another one now.
    """
    sweep = reads.sweep(home.open(), trial.sweep_name)
    data = sweep_data(home, sweep)
    quiet_threads()
    # The command line starts without torch.
    import torch

    from t2f.generate import init_weights, open_bundle
    from t2f.reproduce import retrain

    first = recorded[0]
    init = None
    if first.stage.init_sha256 is not None:
        bundle = open_bundle(home.files / init_uri(first.stage.init_sha256))
        if bundle.sha256 != first.stage.init_sha256:
            raise CheckpointError(f"{init_uri(first.stage.init_sha256)} holds other weights than its name says")
        init = init_weights(bundle, data.vocabulary, first.stage.settings)
    on_gpu = any("| cuda |" in one for one in first.numerics_classes) and torch.cuda.is_available()
    trained = retrain(
        [one.stage for one in recorded],
        data=data,
        folder=scratch,
        init=init,
        threads=recorded_threads(first.numerics_classes),
        device=torch.device("cuda" if on_gpu else "cpu"),
    )
    for one, again in zip(recorded, trained, strict=True):
        yield Verdict(
            resolution=again.resolution,
            key=one.key,
            recorded=one.weights_sha256,
            found=again.weights_sha256,
            recorded_classes=one.numerics_classes,
            found_class=again.numerics_class,
        )


def recorded_threads(numerics_classes: tuple[str, ...]) -> int:
    """The number of CPU threads that a class of numerics names; 1 where none does."""
    counts = {int(found[1]) for one in numerics_classes if (found := re.search(r"\| (\d+) threads", one))}
    return max(1, *counts) if len(counts) == 1 else 1
