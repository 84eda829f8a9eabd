"""`t2f hooks` as a user types it."""

import json
import socket

import pytest
from typer.testing import CliRunner

from scheduler.cli import app
from scheduler.store import Store
from t2f.errors import UserError
from tests.scheduler.receiver import Receiver, write_hooks


def t2f(*words: object, home) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--home", str(home.path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_hooks_are_tried_listed_and_retried(six, tmp_path):
    out = tmp_path / "out"
    with Receiver() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/secret-path"
        write_hooks(
            six.path,
            {"name": "chat", "webhook": url},
            {"name": "mail", "on": ["model.best"], "command": ["sh", "-c", f"cat > {out}"]},
        )
        planned = t2f("hooks", "test", "--dry-run", home=six)
        assert "would send to chat (http://127.0.0.1:" in planned
        assert receiver.got == []
        assert t2f("hooks", "test", home=six).splitlines() == ["chat: told", "mail: told"]
        assert json.loads(receiver.got[0][1])["test"] is True
        assert json.loads(out.read_bytes())["id"] == 0
        assert t2f("hooks", "test", "mail", home=six).splitlines() == ["mail: told"]
        receiver.status = 500
        with pytest.raises(UserError, match=r"not told: chat \(http://127.0.0.1:\d+/\.\.\.\): it answered 500"):
            t2f("hooks", "test", "chat", home=six)
    store = Store(six.open())
    store.spread_outbox({"chat": ("model.best",), "mail": ("model.best",)})
    store.end_delivery(store.claim_delivery("chat", seconds=9), error="no [bold]answer[/bold]")
    listed = t2f("hooks", "ls", home=six)
    assert "given up" in listed
    assert "1 at chat: no [bold]answer[/bold]" in listed, "shown as it is"
    assert "secret-path" not in listed
    found = json.loads(t2f("hooks", "ls", "--json", home=six))
    assert [hook["name"] for hook in found["hooks"]] == ["chat", "mail"]
    assert {line["hook"]: line["state"] for line in found["deliveries"]} == {"chat": "given up", "mail": "waiting"}
    assert "secret-path" not in json.dumps(found)
    assert json.loads(t2f("hooks", "retry", "chat", "--json", home=six)) == {"retried": 1}
    assert "0 deliveries" in t2f("hooks", "retry", home=six)
    for words in (("hooks", "test", "x"), ("hooks", "retry", "x")):
        with pytest.raises(UserError, match="there is no hook 'x'"):
            t2f(*words, home=six)


def test_a_home_without_hooks_says_so(six):
    assert "hooks.yaml does not exist" in t2f("hooks", "ls", home=six)


def test_up_refuses_hooks_that_are_wrong_before_anything_starts(six):
    write_hooks(six.path, {"name": "a", "webhook": "nonsense"})
    with pytest.raises(UserError, match="webhook is no address"):
        t2f("up", "--dry-run", "--port", free_port(), home=six)
