"""Files: style sheet and script, sample pictures by evaluation id, drawn faces by their id."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from dashboard import facts
from dashboard.context import Context, RowId
from dashboard.errors import UnknownError
from dashboard.rendering import IMMUTABLE
from dashboard.samples import below, etag, thumbnail

router = APIRouter(include_in_schema=False)


@router.get("/static/{name}")
def static_file(name: str, dashboard: Context) -> Response:
    response = dashboard.static.response(name)
    if response is None:
        raise UnknownError("There is nothing at this address.")
    return response


@router.get("/favicon.ico")
def favicon(dashboard: Context) -> Response:
    return static_file("icon.svg", dashboard)


@router.get("/samples/{evaluation_id}.png")
def sample(evaluation_id: RowId, request: Request, dashboard: Context, v: str = "") -> Response:
    row = facts.sample_file(dashboard.database, evaluation_id)
    return png(request, below(dashboard.files, row.uri).read_bytes(), for_good=v == row.version)


@router.get("/samples/{evaluation_id}/thumbnail.png")
def sample_thumbnail(evaluation_id: RowId, request: Request, dashboard: Context, v: str = "") -> Response:
    row = facts.sample_file(dashboard.database, evaluation_id)
    return png(request, thumbnail(below(dashboard.files, row.uri), row.tile), for_good=v == row.version)


@router.get("/generated/{identity}.png")
def generated(
    identity: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")], request: Request, dashboard: Context
) -> Response:
    kept = dashboard.studio.kept(identity)
    if kept is None:
        raise UnknownError("This picture is no longer kept; draw it again: the same sentence and seed give it again.")
    return png(request, kept[1], for_good=True)


def png(request: Request, content: bytes, *, for_good: bool) -> Response:
    """for_good: the address names this very content, so that a browser need never ask again."""
    headers = {"ETag": etag(content), "Cache-Control": IMMUTABLE if for_good else "no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="image/png")
