"""What the registry looks at: versions, the history of aliases, where a version comes from. Nothing here writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from scheduler import tables as t
from scheduler.database import Database
from scheduler.reads import Evaluation
from scheduler.states import Outcome, RunState


@dataclass(frozen=True, kw_only=True)
class Model:
    """One version of a model."""

    id: int
    name: str
    version: int
    trial_id: int
    stage_run_id: int
    uri: str
    sha256: str
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    created: float

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """An alias went to a version."""

    alias: str
    version: int
    act: str  # promoted, or rolled back
    by: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Source:
    """The trial and the sweep that a version was made of."""

    sweep: str
    submitted_by: str
    submitted_at: float
    data_name: str
    data_key: str
    provenance: Mapping[str, Any]  # commit, dirty flag, package versions
    resolved: Mapping[str, Any]  # ResolvedSweep.to_json()
    number: int  # of the trial
    origin: str
    parameters: Mapping[str, Any]

    @property
    def trial(self) -> str:
        return f"{self.sweep}/T{self.number}"


@dataclass(frozen=True, kw_only=True)
class TrainedStage:
    """A stage run on the way to a version."""

    id: int
    key: str
    resolution: int
    images: int
    seconds: float
    weights_sha256: str | None
    numerics: tuple[str, ...]  # classes of the attempts that trained it
    trained_for: str | None  # the sweep that bore the cost


def models(database: Database, *, name: str | None = None) -> list[Model]:
    """The versions of one model or of all, the newest first."""
    statement = sa.select(t.models).order_by(t.models.c.id.desc())
    if name is not None:
        statement = statement.where(t.models.c.name == name)
    with database.read.begin() as connection:
        return [
            Model(
                id=row.id,
                name=row.name,
                version=row.version,
                trial_id=row.trial_id,
                stage_run_id=row.stage_run_id,
                uri=row.uri,
                sha256=row.sha256,
                aliases=tuple(row.aliases),
                tags=tuple(row.tags),
                created=row.created,
            )
            for row in connection.execute(statement)
        ]


def find_model(database: Database, name: str, alias: str) -> Model | None:
    """The version of a model that has this alias."""
    found = [model for model in models(database, name=name) if alias in model.aliases]
    return found[0] if found else None


def alias_moves(database: Database, name: str) -> list[AliasMove]:
    """The history of a model's aliases, the oldest move first."""
    statement = (
        sa.select(t.alias_moves, t.models.c.version)
        .join(t.models, t.models.c.id == t.alias_moves.c.model_id)
        .where(t.alias_moves.c.name == name)
        .order_by(t.alias_moves.c.id)
    )
    with database.read.begin() as connection:
        return [
            AliasMove(alias=row.alias, version=row.version, act=row.act, by=row.moved_by, at=row.at)
            for row in connection.execute(statement)
        ]


def source(database: Database, model: Model) -> Source:
    statement = (
        sa.select(
            t.sweeps.c.name,
            t.sweeps.c.created_by,
            t.sweeps.c.created,
            t.sweeps.c.data_name,
            t.sweeps.c.data_key,
            t.sweeps.c.provenance,
            t.sweeps.c.resolved,
            t.trials.c.number,
            t.trials.c.origin,
            t.trials.c.parameters,
        )
        .join(t.trials, t.trials.c.sweep_id == t.sweeps.c.id)
        .where(t.trials.c.id == model.trial_id)
    )
    with database.read.begin() as connection:
        row = connection.execute(statement).one()
    return Source(
        sweep=row.name,
        submitted_by=row.created_by,
        submitted_at=row.created,
        data_name=row.data_name,
        data_key=row.data_key,
        provenance=row.provenance,
        resolved=row.resolved,
        number=row.number,
        origin=row.origin,
        parameters=row.parameters,
    )


def trained_stages(database: Database, stage_run_id: int) -> list[TrainedStage]:
    """The stage runs from 4 px up to this one."""
    found: list[TrainedStage] = []
    following: int | None = stage_run_id
    with database.read.begin() as connection:
        while following is not None:
            row = connection.execute(sa.select(t.stage_runs).where(t.stage_runs.c.id == following)).one()
            attempts = connection.execute(
                sa.select(t.attempts.c.numerics_class, t.attempts.c.outcome, t.sweeps.c.name)
                .join(t.sweeps, t.sweeps.c.id == t.attempts.c.sweep_id)
                .where(t.attempts.c.stage_run_id == row.id)
                .order_by(t.attempts.c.number)
            ).all()
            payers = [attempt.name for attempt in attempts if attempt.outcome == Outcome.DONE]
            found.append(
                TrainedStage(
                    id=row.id,
                    key=row.key,
                    resolution=row.resolution,
                    images=row.images,
                    seconds=row.seconds,
                    weights_sha256=row.weights_sha256,
                    numerics=tuple(dict.fromkeys(one.numerics_class for one in attempts if one.numerics_class)),
                    trained_for=payers[-1] if payers else None,
                )
            )
            following = row.parent_id
    return found[::-1]


def measured(database: Database, stage_run_ids: Sequence[int]) -> dict[tuple[int, str], Evaluation]:
    """(stage run, evaluation key) -> what was measured, the newest evaluation first."""
    statement = (
        sa.select(t.evaluations)
        .where(t.evaluations.c.stage_run_id.in_(list(stage_run_ids)), t.evaluations.c.state == RunState.DONE)
        .order_by(t.evaluations.c.id.desc())
    )
    with database.read.begin() as connection:
        return {
            (row.stage_run_id, row.key): Evaluation(
                id=row.id,
                state=RunState(row.state),
                score=row.score,
                metrics=row.metrics or {},
                samples=row.samples,
                error=row.error,
            )
            for row in connection.execute(statement)
        }
