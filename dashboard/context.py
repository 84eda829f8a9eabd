"""What every request handler needs, and the errors it may raise."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi import Path as InPath

from dashboard.errors import UnknownError
from dashboard.models import MAX_ID
from dashboard.rendering import Renderer, Static
from dashboard.studio import Studio
from scheduler import reads
from scheduler.database import Database
from scheduler.reads import Sweep, Trial
from scheduler.store import Store
from t2f.errors import UserError

MAX_LIMIT = 500
MAX_OFFSET = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    home: Path
    database: Database
    static: Static
    renderer: Renderer
    studio: Studio

    @property
    def files(self) -> Path:
        return self.home / "files"


def of_request(request: Request) -> Dashboard:
    return request.app.state.dashboard


Context = Annotated[Dashboard, Depends(of_request)]
RowId = Annotated[int, InPath(ge=0, le=MAX_ID)]
SweepName = Annotated[str, InPath(min_length=1, max_length=200)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="rows at most")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="rows left out before them")]


def the_sweep(dashboard: Dashboard, name: str) -> tuple[Store, Sweep]:
    """The sweep of that name, with what acts on it; UnknownError where there is none."""
    sweep = reads.find_sweep(dashboard.database, name)
    if sweep is None:
        raise UnknownError(f"there is no sweep {name!r}")
    return Store(dashboard.database), sweep


def the_trial(dashboard: Dashboard, name: str, number: int) -> tuple[Store, Trial]:
    """The trial of that number; UnknownError where there is none."""
    store, sweep = the_sweep(dashboard, name)
    try:
        return store, reads.trial(dashboard.database, f"{sweep.name}/T{number}")
    except UserError as error:
        raise UnknownError(str(error)) from error
