"""The web application: pages for people, JSON under /api/v1, both from the same facts."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from dashboard import acts, api, pages, pictures
from dashboard.context import Dashboard
from dashboard.errors import UnavailableError, UnknownError
from dashboard.generation import GenerationBusyError, GenerationFailedError, Generator
from dashboard.rendering import Renderer, Static
from dashboard.samples import MissingFileError
from dashboard.security import RESPONSE_HEADERS, SecurityMiddleware
from dashboard.studio import Studio
from scheduler.database import Database
from t2f.errors import UserError

log = logging.getLogger(__name__)

HEADINGS = {
    404: "Not found",
    405: "Not possible here",
    409: "Not yet",
    422: "That cannot be shown",
    503: "Not just now",
}


def create_app(home: Path, database: Database, *, port: int, generate: Generator | None = None) -> FastAPI:
    """The dashboard of a home, to be reached on a loopback address at this port.

    generate: draws the faces; a new Generator where none is given. It is closed when the application ends.
    """
    generator = generate or Generator()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        generator.close()

    app = FastAPI(
        title="T2F",
        summary="Sweeps of text-to-face trainings: their trials, stage runs, workers and models.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    static = Static()
    app.state.dashboard = Dashboard(
        home=home, database=database, static=static, renderer=Renderer(static), studio=Studio(home, database, generator)
    )
    app.add_middleware(SecurityMiddleware, port=port)
    app.include_router(api.router)
    app.include_router(acts.router)
    app.include_router(pages.router)
    app.include_router(pictures.router)
    add_error_handlers(app)
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Every error has a status and a sentence: a page for people, JSON under /api."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        message = "There is nothing at this address." if error.status_code == 404 else str(error.detail)
        return answer(request, error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def wrong_input(request: Request, error: RequestValidationError) -> Response:
        return answer(request, 422, "; ".join(describe(item) for item in error.errors()))

    @app.exception_handler(UnknownError)
    @app.exception_handler(MissingFileError)
    async def unknown(request: Request, error: Exception) -> Response:
        return answer(request, 404, str(error))

    @app.exception_handler(UnavailableError)
    async def unavailable(request: Request, error: UnavailableError) -> Response:
        return answer(request, 409, str(error))

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        return answer(request, 422, str(error))

    @app.exception_handler(GenerationBusyError)
    async def busy(request: Request, error: GenerationBusyError) -> Response:
        return answer(request, 503, str(error), {"Retry-After": str(error.retry_after_seconds)})

    @app.exception_handler(GenerationFailedError)
    async def failed(request: Request, error: GenerationFailedError) -> Response:
        return answer(request, 503, str(error), {"Retry-After": "1"})

    @app.exception_handler(OperationalError)
    async def database_error(request: Request, error: OperationalError) -> Response:
        log.warning("the database could not be read: %s", error)
        return answer(request, 503, "the database cannot be read just now; try again soon", {"Retry-After": "2"})

    @app.exception_handler(Exception)
    async def defect(request: Request, _error: Exception) -> Response:
        # Sent outside the middleware, so it needs its headers here; the server logs the traceback.
        return answer(request, 500, "a defect of the dashboard; its log has the details", dict(RESPONSE_HEADERS))


def answer(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message}, status, headers)
    renderer: Renderer = request.app.state.dashboard.renderer
    heading = HEADINGS.get(status, "Something went wrong" if status >= 500 else "That is not possible")
    response = renderer.page(
        request, "error.html", title=heading, section="", status=status, heading=heading, message=message
    )
    response.headers.update(headers or {})
    return response


def describe(item: dict) -> str:
    """One wrong input: its name, what is allowed, and what was given, in plain ASCII and not too long."""
    name = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    given = ascii(item.get("input"))
    given = given if len(given) <= 60 else f"{given[:60]}…"
    return f"{name} = {given} is not allowed: {item['msg'][:1].lower()}{item['msg'][1:]}"
