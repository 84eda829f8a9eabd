"""The JSON API: the facts of the pages, for programs."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from dashboard import facts
from dashboard.context import Context, Limit, Offset, RowId, SweepName, the_sweep, the_trial
from dashboard.models import (
    ErrorAnswer,
    Generated,
    GenerateRequest,
    Health,
    ModelList,
    ModelWithCard,
    Sweep,
    SweepList,
    TrialDetail,
    WorkerList,
)
from scheduler.exporting import export_sweep
from scheduler.trial_logs import trial_logs

ERRORS = {404: {"model": ErrorAnswer}, 422: {"model": ErrorAnswer}}
DRAWING_ERRORS = {status: {"model": ErrorAnswer} for status in (403, 404, 409, 413, 415, 422, 503)}

router = APIRouter()


@router.get("/healthz")
def health(dashboard: Context) -> Health:
    """Whether the pages and the database answer."""
    facts.workers(dashboard.database)
    return Health(status="ok")


@router.get("/api/v1/sweeps", responses={422: {"model": ErrorAnswer}})
def sweeps(dashboard: Context, limit: Limit = 100, offset: Offset = 0) -> SweepList:
    """Sweeps, the newest first."""
    return facts.sweep_list(dashboard.database, limit=limit, offset=offset)


@router.get("/api/v1/sweeps/{name}", responses=ERRORS)
def sweep(name: SweepName, dashboard: Context, limit: Limit = 100, offset: Offset = 0) -> Sweep:
    """A sweep with its trials, the best first, and their stage runs."""
    return facts.sweep(dashboard.database, name, limit=limit, offset=offset)


@router.get("/api/v1/sweeps/{name}/trials/{number}", responses=ERRORS)
def trial(name: SweepName, number: RowId, dashboard: Context) -> TrialDetail:
    """A trial with all its stage runs, attempts and curves."""
    return facts.trial(dashboard.database, name, number)


@router.get("/api/v1/sweeps/{name}/trials/{number}/logs", responses=ERRORS)
def logs(name: SweepName, number: RowId, dashboard: Context) -> dict[str, Any]:
    """What happened to a trial: attempts and their errors, events, where its curves stand, stacks of hung workers."""
    _, found = the_trial(dashboard, name, number)
    return trial_logs(dashboard.database, dashboard.home / "logs", found)


@router.get("/api/v1/sweeps/{name}/export", responses=ERRORS)
def export(name: SweepName, dashboard: Context, format: Literal["csv", "json"] = "csv") -> Response:
    """A sweep's trials with parameters, states, figures at every resolution, seconds and keys, as a file."""
    _, found = the_sweep(dashboard, name)
    text = export_sweep(dashboard.database, found, format=format, out=None)
    return Response(text, media_type="text/csv" if format == "csv" else "application/json")


@router.get("/api/v1/workers")
def workers(dashboard: Context) -> WorkerList:
    """Workers, those that are there first."""
    return WorkerList(workers=facts.workers(dashboard.database))


@router.get("/api/v1/models")
def models(dashboard: Context) -> ModelList:
    """Models that draw: those called best first, then the newest."""
    return ModelList(models=facts.models(dashboard.database))


@router.get("/api/v1/models/{number}", responses=ERRORS)
def model(number: RowId, dashboard: Context) -> ModelWithCard:
    """A model with its card: its data, its scores, what it must not be used for."""
    return dashboard.studio.card(number)


@router.post("/api/v1/generate", responses=DRAWING_ERRORS)
def generate(request: GenerateRequest, dashboard: Context) -> Generated:
    """Faces from a sentence; `picture` is the address of the PNG."""
    return dashboard.studio.draw(request)
