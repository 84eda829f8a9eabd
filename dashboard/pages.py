"""The pages for people."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from dashboard import facts
from dashboard.charts import StageCurves, line_chart
from dashboard.context import Context, Dashboard, Limit, Offset, RowId, SweepName
from dashboard.errors import UnavailableError, UnknownError
from dashboard.generation import GenerationBusyError, GenerationFailedError
from dashboard.models import Generated, GenerateRequest, TrialDetail
from dashboard.rendering import is_fragment
from dashboard.samples import MissingFileError
from dashboard.tree import stage_tree
from dashboard.wording import short_names
from t2f.card import data_lines
from t2f.errors import UserError

CHARTS = (
    ("Losses", ("loss_d", "loss_g")),
    ("Scores of the discriminator", ("score_right", "score_wrong", "score_fake")),
    ("Diversity of the faces, 1 is that of real ones", ("diversity",)),
)

router = APIRouter(include_in_schema=False)


@router.get("/")
def sweeps(request: Request, dashboard: Context, limit: Limit = 50, offset: Offset = 0) -> Response:
    page = facts.sweep_list(dashboard.database, limit=limit, offset=offset)
    return dashboard.renderer.page(request, "sweeps.html", title="Sweeps", section="/", polls=True, page=page)


@router.get("/sweeps/{name}")
def sweep(name: SweepName, request: Request, dashboard: Context, limit: Limit = 100, offset: Offset = 0) -> Response:
    found = facts.sweep(dashboard.database, name, limit=limit, offset=offset)
    runs = {run.id: run for run in found.stage_runs}
    models = facts.models(dashboard.database, sweep=name)
    parameters = found.varying or list(found.ranking[0].parameters if found.ranking else ())
    return dashboard.renderer.page(
        request,
        "sweep.html",
        title=found.name,
        section="/",
        polls=True,
        sweep=found,
        runs=runs,
        shown_parameters=parameters,
        short=short_names(parameters),
        tree=stage_tree(found.ranking, runs, found.resolutions),
        models=models,
        form=blank_form(models),
    )


@router.get("/sweeps/{name}/trials/{number}")
def trial(
    name: SweepName,
    number: RowId,
    request: Request,
    dashboard: Context,
    stage: Annotated[int | None, Query(ge=4, le=1024, description="resolution of the wall")] = None,
) -> Response:
    found = facts.trial(dashboard.database, name, number)
    sampled = [run for run in found.stages if run.sample]
    chosen = [run for run in sampled if run.resolution == stage] or sampled[-1:]
    return dashboard.renderer.page(
        request,
        "trial.html",
        title=found.name,
        section="/",
        polls=True,
        trial=found,
        sampled=sampled,
        shown=chosen[0] if chosen else None,
        charts=charts(found),
    )


def charts(found: TrialDetail) -> list:
    stages = [
        StageCurves(label=f"{run.resolution} px", images=run.images_planned, curves=run.curves) for run in found.stages
    ]
    drawn = [line_chart(title, names, stages) for title, names in CHARTS]
    return [chart for chart in drawn if chart is not None]


@router.get("/workers")
def workers(request: Request, dashboard: Context) -> Response:
    found = facts.workers(dashboard.database)
    return dashboard.renderer.page(
        request, "workers.html", title="Workers", section="/workers", polls=True, workers=found
    )


@router.get("/models/{number}")
def model(number: RowId, request: Request, dashboard: Context) -> Response:
    found = dashboard.studio.card(number)
    name = f"{found.model.name} v{found.model.version}"
    return dashboard.renderer.page(
        request,
        "model.html",
        title=name,
        section="/generate",
        model=found.model,
        card=found.card,
        lineage=found.lineage,
        # The newest promotion of an alias is what matters, so the history is shown the other way round.
        history=found.lineage.alias_history[::-1],
        versions=sorted(found.versions, key=lambda one: -one.version),
        # In the order of a trial's page; closed gates are a count, and none of a ranked model's.
        scores=[item for item in facts.measures(found.card["scores"]) if item.name != "closed_gates"],
        data_lines=data_lines(found.card["data"], found.card["cleaning"]),
    )


@router.get("/generate")
def generate_form(request: Request, dashboard: Context, drawn: str = "") -> Response:
    kept = dashboard.studio.kept(drawn)
    models = facts.models(dashboard.database)
    if kept is None:
        return generate_page(request, dashboard, form=blank_form(models))
    generated = kept[0]
    form = {
        "sentence": generated.sentence,
        "faces": generated.faces,
        "seed": generated.seed,
        "model": generated.model.id,
    }
    return generate_page(request, dashboard, form=form, generated=generated)


@router.post("/generate")
async def generate(request: Request, dashboard: Context) -> Response:
    """Draw, then go to the page that shows it; within a page that polls, only the drawing is answered."""
    form = {name: str(value) for name, value in (await request.form(max_fields=20)).items()}
    try:
        wanted = GenerateRequest.model_validate({name: value for name, value in form.items() if value})
        generated = await run_in_threadpool(dashboard.studio.draw, wanted)
    except ValidationError as error:
        message = "; ".join(f"{item['loc'][-1] if item['loc'] else 'form'}: {item['msg']}" for item in error.errors())
        return await run_in_threadpool(refused, request, dashboard, form, message, 422)
    except (UserError, MissingFileError) as error:
        return await run_in_threadpool(refused, request, dashboard, form, str(error), 422)
    except UnknownError as error:
        return await run_in_threadpool(refused, request, dashboard, form, str(error), 404)
    except UnavailableError as error:
        return await run_in_threadpool(refused, request, dashboard, form, str(error), 409)
    except (GenerationBusyError, GenerationFailedError) as error:
        response = await run_in_threadpool(refused, request, dashboard, form, str(error), 503)
        response.headers["Retry-After"] = str(GenerationBusyError.retry_after_seconds)
        return response
    if is_fragment(request):
        return dashboard.renderer.page(
            request, "drawn.html", title="Generate", section="/generate", generated=generated, error=None
        )
    return RedirectResponse(f"/generate?drawn={generated.id}", status_code=303)


def refused(request: Request, dashboard: Dashboard, form: dict[str, Any], message: str, status: int) -> Response:
    """The error beside what was typed."""
    if is_fragment(request):
        return dashboard.renderer.page(
            request, "drawn.html", title="Generate", section="/generate", status=status, generated=None, error=message
        )
    typed = {**blank_form([]), **{name: form.get(name, "")[:1000] for name in ("sentence", "faces", "seed")}}
    return generate_page(request, dashboard, form=typed, error=message, status=status)


def generate_page(
    request: Request,
    dashboard: Dashboard,
    *,
    form: dict[str, Any],
    generated: Generated | None = None,
    error: str | None = None,
    status: int = 200,
) -> Response:
    return dashboard.renderer.page(
        request,
        "generate.html",
        title="Generate faces",
        section="/generate",
        status=status,
        models=facts.models(dashboard.database),
        form=form,
        generated=generated,
        error=error,
    )


def blank_form(models: list) -> dict[str, Any]:
    return {"sentence": "", "faces": 4, "seed": 0, "model": models[0].id if models else None}
