"""Whether a port can be had, asked before anything is started or written."""

import socket

from t2f.errors import UserError


def require_free_port(port: int) -> None:
    """UserError where something listens on the loopback port already, or there is no such port."""
    if not 1 <= port <= 65535:
        raise UserError(f"--port {port} is not allowed; it must be a whole number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); stop what listens there, perhaps another `t2f up`, "
                f"or choose another one: --port {port + 1 if port < 65535 else port - 1}"
            ) from error
