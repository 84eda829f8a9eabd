"""A real HTTP server on loopback that hooks are sent to, which can go away and come back on the same port."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = b"0123456789abcdef0123456789abcdef"
SECRET_TEXT = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


class Receiver:
    """Notes every request and answers with `status`; a context."""

    def __init__(self, *, status: int = 200, location: str | None = None, certificate: Path | None = None) -> None:
        self.status, self.location, self.certificate = status, location, certificate
        self.got: list[tuple[dict[str, str], bytes, str]] = []  # headers, body, path
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "Receiver":
        self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def come(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body, self.path))
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # a client that hangs up or refuses the certificate is part of the tests

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def go(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for _, body, _ in self.got]


def write_hooks(home: Path, *hooks: dict[str, Any]) -> None:
    """A hooks.yaml with its secret."""
    (home / "hooks.yaml").write_text(json.dumps({"secret_file": "hooks.secret", "hooks": list(hooks)}))
    secret = home / "hooks.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET_TEXT)


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
