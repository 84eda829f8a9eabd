"""What every request must pass and every response must carry, as one ASGI middleware.

The pages are served on a loopback address without a login, so the dangers are other web sites open in the same
browser: DNS rebinding (answered by the Host allowlist), forged posts (Origin and Sec-Fetch-Site) and injected script
(the content security policy).
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_SECONDS = 10.0  # a sender that dawdles longer is cut off
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
RESPONSE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send "Origin: null" for our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request that goes no further, with the status and the sentence it is answered with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def allowed_hosts(port: int) -> frozenset[str]:
    """The Host headers under which this server may be reached."""
    names = ("127.0.0.1", "localhost", "[::1]")
    hosts = {f"{name}:{port}" for name in names}
    return frozenset(hosts | set(names)) if port == 80 else frozenset(hosts)


class SecurityMiddleware:
    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self.app = app
        self.hosts = allowed_hosts(port)
        self.origins = frozenset(f"http://{host}" for host in self.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in RESPONSE_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        try:
            headers = Headers(scope=scope)
            self.check_host(headers)
            if scope["method"] not in SAFE_METHODS:
                self.check_origin(headers)
                check_content_type(scope["path"], headers)
                receive = replayed(await read_body(headers, receive), receive)
        except RefusedError as refused:
            response = JSONResponse({"error": refused.message}, status_code=refused.status)
            await response(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if len(given) != 1 or given[0].lower() not in self.hosts:
            allowed = ", ".join(sorted(self.hosts))
            raise RefusedError(
                403, f"this server is not called {', '.join(given) or 'nothing'!r}; it answers to {allowed}"
            )

    def check_origin(self, headers: Headers) -> None:
        """Browsers send at least one of the two headers with a post; other clients send neither and pass."""
        origins = headers.getlist("origin")
        if any(origin.lower() not in self.origins for origin in origins):
            raise RefusedError(403, "this request comes from another site; open the dashboard itself and try there")
        sites = headers.getlist("sec-fetch-site")
        if any(site not in ("same-origin", "none") for site in sites):
            raise RefusedError(403, "this request comes from another site; open the dashboard itself and try there")


def check_content_type(path: str, headers: Headers) -> None:
    wanted = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
    given = headers.get("content-type", "").split(";")[0].strip().lower()
    if given != wanted:
        raise RefusedError(415, f"the body's content type is {given or 'missing'}; send {wanted}")


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body, however it is framed; RefusedError where it is too long or comes too slowly."""
    too_long = RefusedError(413, f"the body is too long; at most {MAX_BODY_BYTES} bytes are taken")
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise RefusedError(400, "Content-Length is not a number")
    if int(declared[:20]) > MAX_BODY_BYTES:
        raise too_long
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "the connection was closed before the body's end")
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise too_long
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {BODY_TIMEOUT_SECONDS:g} s") from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A receive channel that gives the body once, then what the real one gives."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
