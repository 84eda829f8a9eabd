"""One message to one hook: what is sent, how it is signed, and everything a receiver may do wrong."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from scheduler.hooksfile import Command, Hook, Webhook
from scheduler.sending import SendingError, message, send, sentence
from scheduler.store import Delivery
from tests.scheduler.receiver import SECRET, Receiver

DELIVERY = Delivery(
    id=3,
    outbox_id=17,
    hook="h",
    event="trial.failed",
    payload={"sweep": "s", "trial": "s/T1", "state": "failed", "reason": "<b>&\n", "kind": "trial.failed"},
    at=1000.5,
    attempt=1,
)


def webhook(port: int, *, scheme: str = "http", target: str = "/x?y=1", timeout: float = 20.0) -> Hook:
    way = Webhook(scheme=scheme, host="127.0.0.1", port=port, target=target, secret=SECRET)
    return Hook(name="h", events=("trial.failed",), way=way, timeout_seconds=timeout, attempts=3)


def command(*words: str, tmp_path, timeout: float = 20.0, **environment: str) -> Hook:
    way = Command(words=words, environment={"PATH": "/usr/bin:/bin", **environment}, folder=tmp_path)
    return Hook(name="h", events=("trial.failed",), way=way, timeout_seconds=timeout, attempts=3)


def test_a_webhook_gets_the_event_signed():
    with Receiver() as receiver:
        send(webhook(receiver.port), DELIVERY)
    ((headers, body, path),) = receiver.got
    assert path == "/x?y=1"
    assert json.loads(body) == {
        "id": 17,
        "event": "trial.failed",
        "at": 1000.5,
        "sweep": "s",
        "trial": "s/T1",
        "state": "failed",
        "kind": "trial.failed",
        "reason": "<b>&\n",
        "text": "trial s/T1 failed: <b>&\n",
    }
    assert headers["webhook-id"] == "17"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = b"17." + headers["webhook-timestamp"].encode() + b"." + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert body == message(DELIVERY), "the same bytes at every try"


@pytest.mark.parametrize(
    ("event", "told", "said"),
    [
        ("sweep.ended", {"sweep": "s", "state": "failed", "error": "x"}, "sweep s has ended, failed: x"),
        ("sweep.ended", {"sweep": "s", "state": "complete"}, "sweep s has ended, complete"),
        (
            "model.best",
            {
                "sweep": "s",
                "trial": "s/T1",
                "name": "s",
                "version": 2,
                "metric": "score",
                "value": 0.5,
                "resolution": 8,
            },
            "s/T1 is the best of s, score 0.500 at 8 px: s:2",
        ),
        ("model.best", {"sweep": "s", "trial": "s/T1", "name": "s", "version": 2}, "s/T1 is the best of s: s:2"),
    ],
)
def test_events_in_a_sentence(event, told, said):
    assert sentence(event, told) == said


def test_a_redirect_is_not_followed():
    with (
        Receiver() as other,
        Receiver(status=302, location=f"http://127.0.0.1:{other.port}/") as receiver,
        pytest.raises(SendingError, match="answered 302, a redirect, which is not followed"),
    ):
        send(webhook(receiver.port), DELIVERY)
    assert (len(receiver.got), len(other.got)) == (1, 0)


def test_other_answers_are_errors():
    with Receiver(status=503) as receiver, pytest.raises(SendingError, match="answered 503"):
        send(webhook(receiver.port), DELIVERY)
    with pytest.raises(SendingError, match="ConnectionRefusedError"):
        send(webhook(receiver.port), DELIVERY)


@pytest.mark.parametrize("said", [b"", b"not http at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_an_error(said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(SendingError):
            send(webhook(server.getsockname()[1]), DELIVERY)


def test_an_answer_a_byte_at_a_time_is_hung_up_on():
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    while not over.wait(0.05):
                        connection.sendall(b"H")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(SendingError):
            send(webhook(server.getsockname()[1], timeout=0.5), DELIVERY)
        over.set()
        thread.join()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, monkeypatch):
    certificate = tmp_path / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "crt.pem"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    certificate.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "crt.pem").read_text())
    with Receiver(certificate=certificate) as receiver:
        with pytest.raises(SendingError, match="CERTIFICATE_VERIFY_FAILED"):
            send(webhook(receiver.port, scheme="https"), DELIVERY)
        assert receiver.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "crt.pem"))
        send(webhook(receiver.port, scheme="https"), DELIVERY)
    assert len(receiver.got) == 1


def test_a_program_gets_the_event_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("T2F_TOKEN_OF_OURS", "secret")
    out = tmp_path / "out"
    script = 'cat > "$OUT"; env | sort >> "$OUT"; pwd >> "$OUT"'
    send(command("/bin/sh", "-c", script, tmp_path=tmp_path, OUT=str(out)), DELIVERY)
    body, *environment = out.read_text().split("\n", 1)
    # The message has no line end, so the environment's first line follows it.
    said = message(DELIVERY).decode()
    assert body.startswith(said)
    names = {line.partition("=")[0] for line in (body[len(said) :] + "\n" + environment[0]).splitlines()}
    assert {"OUT", "PATH", "T2F_EVENT", "T2F_DELIVERY"} <= names
    assert "T2F_TOKEN_OF_OURS" not in names
    assert str(tmp_path.resolve()) in out.read_text()


def test_no_shell_reads_a_command(tmp_path):
    send(command("/bin/echo", "$(touch x); touch y", "; touch z", tmp_path=tmp_path), DELIVERY)
    assert list(tmp_path.iterdir()) == []


def test_programs_that_fail_or_hang_say_why(tmp_path):
    with pytest.raises(SendingError, match=r"ended with status 3: bad  \[31m news"):
        send(command("/bin/sh", "-c", "printf 'bad \\033[31m news\\n' >&2; exit 3", tmp_path=tmp_path), DELIVERY)
    with pytest.raises(SendingError, match="cannot be run: No such file"):
        send(command("/no/such/program", tmp_path=tmp_path), DELIVERY)
    noted = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {noted}; cat > /dev/null; wait"
    with pytest.raises(SendingError, match="ended after 1 s"):
        send(command("/bin/sh", "-c", script, tmp_path=tmp_path, timeout=1.0), DELIVERY)
    assert not is_running(int(noted.read_text())), "what it started is ended too"
    with pytest.raises(SendingError, match="the scheduler stopped"):
        send(command("/bin/sleep", "600", tmp_path=tmp_path), DELIVERY, should_stop=lambda: True)


def is_running(pid: int) -> bool:
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except FileNotFoundError:
            return False
        os.sched_yield()
        time.sleep(0.01)
    return True


def test_a_program_that_reads_nothing_and_writes_much_is_no_trouble(tmp_path):
    send(
        command("/bin/sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2", tmp_path=tmp_path), DELIVERY
    )
