"""Ports are asked for before anything starts."""

import socket

import pytest

from scheduler.ports import require_free_port
from t2f.errors import UserError
from tests.scheduler.test_cli import everything_below, t2f


def test_a_port_in_use_is_refused_before_anything_is_written(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            require_free_port(port)
        assert f"port {port} cannot be used" in t2f("up", "--port", port, home=tmp_path / "home", code=2)
        assert everything_below(tmp_path) == {}
    require_free_port(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_do_not_exist_are_refused(port):
    with pytest.raises(UserError, match="from 1 to 65535"):
        require_free_port(port)
