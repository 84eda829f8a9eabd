"""Telling one hook of one event: a signed HTTP request, or a program that is given the event as JSON."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from scheduler.hooksfile import Command, Hook, Webhook
from scheduler.store import Delivery
from t2f.metrics.figures import decimals

SLICE_SECONDS = 0.1  # how soon a program is ended that the scheduler no longer waits for
TAIL_BYTES = 300  # of a program's errors that are kept


class SendingError(Exception):
    """The hook was not told; the message says why, and is shown to people."""


def message(delivery: Delivery) -> bytes:
    """The event as JSON, the same bytes at every try."""
    said = {"id": delivery.outbox_id, "event": delivery.event, "at": delivery.at, **delivery.payload}
    return json.dumps({**said, "text": sentence(delivery.event, delivery.payload)}, sort_keys=True).encode()


def sentence(event: str, told: Mapping[str, Any]) -> str:
    """The event for people."""
    if told.get("test"):
        return "this is a test: nothing has happened"
    if event == "sweep.ended":
        return f"sweep {told['sweep']} has ended, {told['state']}{_because(told.get('error'))}"
    if event == "trial.failed":
        return f"trial {told['trial']} {told['state']}{_because(told.get('reason'))}"
    value = f", {told['metric']} {decimals(told['value'])} at {told['resolution']} px" if "value" in told else ""
    return f"{told['trial']} is the best of {told['sweep']}{value}: {told['name']}:{told['version']}"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def send(hook: Hook, delivery: Delivery, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Tell the hook; SendingError where it was not told, or has not said that it was.

    should_stop: asked while a program runs, which is then ended.
    """
    if isinstance(hook.way, Webhook):
        _post(hook.way, delivery, timeout=hook.timeout_seconds)
    else:
        _run(hook.way, delivery, timeout=hook.timeout_seconds, should_stop=should_stop)


# Webhooks


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 over "id.timestamp.body", as the Standard Webhooks specification writes it (v1)."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"


def headers_of(webhook: Webhook, delivery: Delivery, body: bytes, *, now: float) -> dict[str, str]:
    identity, timestamp = str(delivery.outbox_id), str(int(now))
    return {
        "Content-Type": "application/json",
        "User-Agent": "t2f-hooks",
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(webhook.secret, identity, timestamp, body),
    }


def _post(webhook: Webhook, delivery: Delivery, *, timeout: float) -> None:
    """http.client follows no redirect, asks no proxy and knows no other scheme; certificates are verified."""
    connection: http.client.HTTPConnection
    if webhook.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(webhook.host, webhook.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(webhook.host, webhook.port, timeout=timeout)
    # The connection's own timeout counts each read anew, so a server that answers a byte at a time would hold us.
    guard = threading.Timer(timeout, _hang_up, [connection])
    guard.daemon = True
    guard.start()
    body = message(delivery)
    try:
        connection.request("POST", webhook.target, body, headers_of(webhook, delivery, body, now=time.time()))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = " (no answer in time)" if guard.finished.is_set() else ""
        raise SendingError(_plain(f"{type(error).__name__}: {error}{late}")) from error
    finally:
        guard.cancel()
        connection.close()
    if 300 <= status < 400:
        raise SendingError(f"it answered {status}, a redirect, which is not followed")
    if not 200 <= status < 300:
        raise SendingError(f"it answered {status}")


def _hang_up(connection: http.client.HTTPConnection) -> None:
    open_socket = connection.sock
    if open_socket is None:
        return
    try:
        # Of the socket itself: that of TLS would say goodbye first, to somebody who does not answer.
        socket.socket.shutdown(open_socket, socket.SHUT_RDWR)
    except OSError:
        return  # it was closed in this moment


# Programs


def _run(command: Command, delivery: Delivery, *, timeout: float, should_stop: Callable[[], bool]) -> None:
    environment = {**command.environment, "T2F_EVENT": delivery.event, "T2F_DELIVERY": str(delivery.outbox_id)}
    # Files, not pipes: a program that reads or writes slowly, or not at all, blocks nobody.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(message(delivery))
        given.seek(0)
        try:
            process = subprocess.Popen(
                command.words,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd=command.folder,
                start_new_session=True,
            )
        except OSError as error:
            raise SendingError(f"{command.words[0]} cannot be run: {error.strerror}") from error
        deadline = time.monotonic() + timeout
        while (status := _ended(process)) is None:
            if should_stop() or time.monotonic() > deadline:
                _end(process)
                raise SendingError(
                    f"it was ended after {timeout:g} s" if not should_stop() else "the scheduler stopped"
                )
        if status != 0:
            raise SendingError(f"it ended with status {status}{_tail(errors)}")


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=SLICE_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started; it leads a session of its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(errors: BinaryIO) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - TAIL_BYTES))
    said = _plain(errors.read().decode("utf-8", errors="replace")).strip()
    return f": {said}" if said else ""


def _plain(text: str) -> str:
    """Without line ends and what a terminal would obey: others wrote it."""
    return "".join(c if c.isprintable() else " " for c in text)
