"""The models and trainings that a sweep's or a trial's name stands for, as files for `t2f` to draw with."""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from scheduler import model_reads, reads, registry
from scheduler.database import Database
from scheduler.home import Home
from scheduler.reads import StageRun, Sweep, Trial
from t2f.card import card_of, scored_on
from t2f.data import PreparedData
from t2f.errors import DataError, UserError
from t2f.spec import StageSpec

if TYPE_CHECKING:
    from t2f.timelapse import Growth


class NamedModels:
    """What the commands of `t2f` ask where a word is no file (`t2f.generate_cli.Known`)."""

    def model_file(self, name: str, home: Path) -> Path:
        """The bundle of a version (NAME:3, NAME@champion, or a sweep's name for its best), or of a trial.

        SWEEP/T3 is the trial's last sealed stage, SWEEP/T3@16 that of 16 px.
        """
        place, database = _opened(name, home)
        model = registry.find_version(database, name)
        if model is not None:
            return _bundle_file(place, model)
        sweep = reads.find_sweep(database, name)
        if sweep is not None:
            raise UserError(f"the sweep {name!r} has no best model yet; it is {sweep.state}; name one of its trials")
        trial, sweep, run = sealed_run(database, name)
        checkpoint = reads.sealed_checkpoint(database, run.id)
        uri = bundle_uri(sweep, trial, run)
        if not (place.files / uri).exists():
            make_model_bundle(place, sweep, trial, run, checkpoint)
        return place.files / uri

    def growth(self, name: str, home: Path) -> "Growth":
        """The sealed stages, with the checkpoints that are still there, of a trial or on the way to a version."""
        # Only who watches a training again waits for torch.
        from t2f.reading import data_reader
        from t2f.timelapse import GrowingStage, Growth, Moment

        place, database = _opened(name, home)
        model = registry.find_version(database, name)
        trial_name = name if model is None else model_reads.source(database, model).trial
        _, sweep, path = _sealed_path(database, trial_name)
        if model is not None:
            on_the_way = {stage.id for stage in model_reads.trained_stages(database, model.stage_run_id)}
            path = [run for run in path if run.id in on_the_way]
        data = sweep_data(place, sweep)
        stages = []
        for run in path:
            rows = reads.checkpoints(database, run.id)
            kept = {row.images: row for row in rows if row.sealed or (place.files / row.uri).exists()}
            moments = [Moment(path=place.files / row.uri, images=row.images) for row in kept.values()]
            stages.append(GrowingStage(stage=StageSpec.from_json(run.spec), moments=tuple(moments)))
        probe = sweep.resolved.evaluation
        return Growth(
            stages=tuple(stages),
            vocabulary=data.vocabulary,
            reader=data_reader(stages[-1].stage, data),
            captions=probe.captions,
            seeds=probe.seeds,
        )


def _opened(name: str, home: Path) -> tuple[Home, Database]:
    place = Home(path=home)
    if not place.has_database:
        raise UserError(
            f"{name} is no file, and {home} holds no database that could know a sweep or trial of that name; "
            "give a model bundle, or --home FOLDER"
        )
    return place, place.open()


def _bundle_file(place: Home, model: model_reads.Model) -> Path:
    path = place.files / model.uri
    if not path.exists():
        raise UserError(
            f"the file of {model.reference}, {path}, is gone; put it back, or make it again from its trial with "
            f"`t2f promote TRIAL`, see `t2f model show {model.reference}`"
        )
    return path


def sealed_run(database: Database, name: str) -> tuple[Trial, Sweep, StageRun]:
    """The sealed stage run that SWEEP/T3 (its last one) or SWEEP/T3@16 names, with its trial and sweep."""
    trial_name, _, resolution = name.partition("@")
    trial, sweep, path = _sealed_path(database, trial_name)
    found = [run for run in path if not resolution or str(run.resolution) == resolution]
    if not found:
        there = ", ".join(f"{trial_name}@{run.resolution}" for run in path)
        raise UserError(f"{trial.name} has no sealed stage of {resolution} px; there are: {there}")
    return trial, sweep, found[-1]


def _sealed_path(database: Database, name: str) -> tuple[Trial, Sweep, list[StageRun]]:
    """A trial, its sweep and its sealed stage runs from 4 px up; UserError where it has none."""
    if "/" not in name and not name.startswith("T"):
        names = ", ".join(sweep.name for sweep in reads.sweeps(database)[:20]) or "none yet"
        raise UserError(f"{name!r} is neither a file nor a sweep, a model or a trial; sweeps: {names}")
    trial = reads.trial(database, name)
    sweep = reads.sweep(database, trial.sweep_name)
    path = reads.paths(database, sweep.id, sweep.resolved.evaluation.key).get(trial.id, [])
    # Also one that is just being rebuilt: its averaged weights are there.
    sealed = [run for run in path if run.weights_sha256 is not None]
    if not sealed:
        raise UserError(f"{trial.name} is {trial.state} and has no sealed stage yet; see `t2f trial show {trial.name}`")
    return trial, sweep, sealed


def sweep_data(place: Home, sweep: Sweep) -> PreparedData:
    """The prepared data that a sweep was submitted with; DataError where it is another one now."""
    data = PreparedData.open(place.data / sweep.data_name)
    if data.key != sweep.data_key:
        raise DataError(
            f"the data set {sweep.data_name!r} changed since {sweep.name!r} was submitted (key {data.key[:12]}..., "
            f"then {sweep.data_key[:12]}...); prepare the old data again"
        )
    return data


def bundle_uri(sweep: Sweep, trial: Trial, run: StageRun) -> str:
    """Named by the weights, not by the checkpoint's file, which is another one once its state is collected."""
    return f"models/{sweep.name}/T{trial.number}-{run.resolution}px-{run.weights_sha256[:12]}.safetensors"


def make_model_bundle(place: Home, sweep: Sweep, trial: Trial, run: StageRun, checkpoint: sa.Row) -> tuple[str, str]:
    """Write a sealed stage run's bundle at its uri; returns (uri, sha256)."""
    # The command line starts without torch.
    from workers.bundles import make_bundle

    data, uri = sweep_data(place, sweep), bundle_uri(sweep, trial, run)
    sha256 = make_bundle(
        place.path,
        data=data,
        stage=StageSpec.from_json(run.spec),
        checkpoint_uri=checkpoint.uri,
        checkpoint_sha256=checkpoint.sha256,
        uri=uri,
        lineage={
            "sweep": sweep.name,
            "trial": trial.name,
            "stage_run": run.key,
            "data": sweep.data_name,
            "data_key": sweep.data_key,
        },
        card=card_of(
            data,
            scores=run.evaluation.metrics if run.evaluation is not None else {},
            scored_on=scored_on(sweep.resolved.evaluation),
        ),
    )
    return uri, sha256
