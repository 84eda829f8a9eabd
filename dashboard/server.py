"""The dashboard as a server of its own process, on a loopback address."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from dashboard.acts import TOKEN_FILE
from dashboard.app import create_app
from scheduler.home import Home
from t2f.errors import UserError
from t2f.tokens import token_file

DEFAULT_PORT = 8250
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def serve(
    home: Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the pages of a home until SIGINT or SIGTERM; `ready` hears the address once it answers."""
    listener = listen(host, port)
    with listener:
        port = listener.getsockname()[1]
        token_file(home / TOKEN_FILE)  # before anybody wants to show it
        app = create_app(home, Home(path=home).open(), port=port)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            limit_concurrency=512,
        )
        AnnouncingServer(config, lambda: ready and ready(f"http://{shown(host)}:{port}/")).run(sockets=[listener])


class AnnouncingServer(uvicorn.Server):
    """Calls back once the server takes connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], object]) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.announce()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; UserError where the address cannot be had."""
    if host not in LOOPBACK_HOSTS:
        raise UserError(
            f"host {host!r} is not allowed; this version serves the dashboard only on this machine, so give 127.0.0.1, "
            "::1 or localhost. To look at it from elsewhere, forward the port: `ssh -L 8250:127.0.0.1:8250 MACHINE`"
        )
    if not 0 <= port <= 65535:
        raise UserError(f"port {port} is not allowed; it must be a whole number from 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(
            f"port {port} on {host} cannot be used ({error.strerror or error}); perhaps a dashboard runs there. "
            f"Stop it, or choose another port: --port {port + 1 if port < 65535 else port - 1}"
        ) from error
    return listener


def shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
