"""Templates into responses: whole pages, or the changing part of one for a page that polls."""

import hashlib
import time
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dashboard.models import MAX_FACES, MAX_SENTENCE
from dashboard.samples import etag
from dashboard.wording import FILTERS, sweep_url, trial_url, trial_url_by_name

FOLDER = Path(__file__).parent
MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
IMMUTABLE = "public, max-age=31536000, immutable"


class Static:
    """The style sheet, the script and the icon, read once; addresses carry their hash, so they are cached for good."""

    def __init__(self) -> None:
        self.files = {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir()) if path.is_file()}
        self.versions = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self.files.items()}

    def url(self, name: str) -> str:
        return f"/static/{name}?v={self.versions[name]}"

    def response(self, name: str) -> Response | None:
        if name not in self.files:
            return None
        return Response(
            self.files[name], media_type=MEDIA_TYPES[Path(name).suffix], headers={"Cache-Control": IMMUTABLE}
        )


class Renderer:
    def __init__(self, static: Static) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(FILTERS)
        self.environment.globals.update(
            static=static.url,
            sweep_url=sweep_url,
            trial_url=trial_url,
            trial_url_by_name=trial_url_by_name,
            max_faces=MAX_FACES,
            max_sentence=MAX_SENTENCE,
        )

    def page(
        self,
        request: Request,
        template: str,
        *,
        title: str,
        section: str,
        polls: bool = False,
        status: int = 200,
        **values: Any,
    ) -> Response:
        """The page; where the page itself asks again (X-Fragment), its content alone, or 304 if that is the same."""
        content = self.environment.get_template(template).render(now=time.time(), **values)
        version = etag(content.encode())
        headers = {"ETag": version, "Vary": "X-Fragment"} if polls else {"Vary": "X-Fragment"}
        if is_fragment(request):
            if polls and request.headers.get("if-none-match") == version:
                return Response(status_code=304, headers=headers)
            return Response(content, status, headers, media_type="text/html")
        frame = self.environment.get_template("page.html")
        whole = frame.render(
            title=title,
            section=section,
            path=request.url.path,
            polls=polls,
            version=version,
            content=Markup(content),
        )
        return Response(whole, status, {"Vary": "X-Fragment"}, media_type="text/html")


def is_fragment(request: Request) -> bool:
    return request.headers.get("x-fragment") == "1"
