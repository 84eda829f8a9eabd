"""The middleware in front of a small application that answers with what it got."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dashboard.security import MAX_BODY_BYTES, RESPONSE_HEADERS, SecurityMiddleware
from tests.dashboard.client import Client

FORM = {"content-type": "application/x-www-form-urlencoded"}


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"length": len(await request.body())})


@pytest.fixture
def client() -> Client:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/api/x", echo, methods=["POST"])])
    return Client(SecurityMiddleware(app, port=8250))


@pytest.mark.parametrize("host", ["127.0.0.1:8250", "localhost:8250", "[::1]:8250", "LOCALHOST:8250"])
def test_a_loopback_name_with_the_port_is_answered(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8250", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8250.evil.example", ""]
)
def test_another_host_is_refused_with_all_headers(client: Client, host: str) -> None:
    response = client.get("/", headers={"host": host})
    assert response.status_code == 403
    assert {name: response.headers[name] for name in RESPONSE_HEADERS} == RESPONSE_HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8250"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:8250", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_post_from_another_site_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert client.post("/", headers={**FORM, **headers}, content=b"x=1").status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost:8250"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
)
def test_our_own_post_passes(client: Client, headers: dict[str, str]) -> None:
    response = client.post("/", headers={**FORM, **headers}, content=b"x=1")
    assert response.status_code == 200
    assert response.json() == {"length": 3}


def test_a_get_from_another_site_passes(client: Client) -> None:
    assert client.get("/", headers={"origin": "https://evil.example"}).status_code == 200


def test_a_body_at_the_limit_passes_and_one_over_is_refused(client: Client) -> None:
    assert client.post("/", headers=FORM, content=b"x" * MAX_BODY_BYTES).json() == {"length": MAX_BODY_BYTES}
    assert client.post("/", headers=FORM, content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_chunked_body_without_length_is_counted(client: Client) -> None:
    async def chunks(count: int):
        for _ in range(count):
            yield b"x" * 1024

    assert client.post("/", headers=FORM, content=chunks(64)).json() == {"length": 65536}
    assert client.post("/", headers=FORM, content=chunks(65)).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "99999999999999999999999999"])
def test_a_strange_length_is_refused(client: Client, length: str) -> None:
    response = client.post("/", headers={**FORM, "content-length": length}, content=b"x")
    assert response.status_code in (400, 413)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/plain"),
        ("/", "application/json"),
        ("/", "multipart/form-data; boundary=x"),
        ("/api/x", FORM["content-type"]),
        ("/api/x", ""),
    ],
)
def test_a_wrong_content_type_is_refused(client: Client, path: str, content_type: str) -> None:
    assert client.post(path, headers={"content-type": content_type}, content=b"{}").status_code == 415
