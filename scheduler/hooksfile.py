"""Reading `hooks.yaml` of a home: what the scheduler tells whom. Strict, and never read from anywhere else."""

import base64
import binascii
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scheduler.store.outbox import HOOK_EVENTS
from t2f.errors import SpecError
from t2f.trainfile import Section
from t2f.yamlfile import read_yaml

HOOKS_FILE = "hooks.yaml"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAFE_PATH = "/usr/local/bin:/usr/bin:/bin"
SECRET_BYTES = (24, 64)  # as the Standard Webhooks specification has it
SECRET_PREFIX = "whsec_"
HOW_TO_MAKE_A_SECRET = "`(umask 077; openssl rand -base64 32 > hooks.secret)` makes one"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address that is told by HTTP POST."""

    scheme: str
    host: str
    port: int | None
    target: str  # path and query
    secret: bytes = field(repr=False)

    @property
    def place(self) -> str:
        """What may be shown of the address: the path of many services is a secret itself."""
        return f"{self.scheme}://{self.host}{f':{self.port}' if self.port else ''}/..."


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program that is told by its standard input, without any shell."""

    words: tuple[str, ...]
    environment: Mapping[str, str]  # all of it
    folder: Path

    @property
    def place(self) -> str:
        return self.words[0]


@dataclass(frozen=True, kw_only=True)
class Hook:
    name: str
    events: tuple[str, ...]
    way: Webhook | Command
    timeout_seconds: float
    attempts: int  # after which a delivery is given up


def read_hooks(home: Path) -> tuple[Hook, ...]:
    """The hooks of a home, none where it has no file of them; SpecError for anything that is not right in it."""
    path = home / HOOKS_FILE
    if not path.exists():
        return ()
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SpecError(f"{path} names programs to run and can be written by others; run: chmod go-w {path}")
    content, _ = read_yaml(path)
    file = Section(content, str(path))
    file.only(("secret_file", "secret_env", "hooks"))
    entries = content.get("hooks")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SpecError(
            f"{file.at('hooks')} = {entries!r:.80} is not allowed; it must be a list of mappings, one a hook"
        )
    secret = _read_secret(file, home, is_needed=any("webhook" in entry for entry in entries))
    hooks = tuple(
        _read_hook(file.below(entry, f"hooks[{number}]"), home, secret) for number, entry in enumerate(entries)
    )
    names = [hook.name for hook in hooks]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"{path}: two hooks are named {name!r}; give each a name of its own")
    return hooks


def _read_hook(section: Section, home: Path, secret: bytes) -> Hook:
    keys = ("name", "on", "webhook", "command", "environment", "plain_http", "timeout_seconds", "attempts")
    section.only(keys)
    name = section.text("name")
    if len(name) > 100 or not all(c.isalnum() or c in "-_." for c in name):
        raise SpecError(f"{section.at('name')} = {name!r:.80} is not allowed; use letters, digits, '-', '_' and '.'")
    if ("webhook" in section.content) == ("command" in section.content):
        raise SpecError(f"{section.where}: give one of webhook and command")
    if "webhook" in section.content:
        _refuse(section, "environment", "goes with a command")
        way: Webhook | Command = _read_webhook(section, secret)
    else:
        _refuse(section, "plain_http", "goes with a webhook")
        way = _read_command(section, home)
    return Hook(
        name=name,
        events=_read_events(section),
        way=way,
        timeout_seconds=section.number("timeout_seconds", default=10.0, low=0.1, high=600),
        attempts=section.whole("attempts", default=20, low=1, high=100),
    )


def _refuse(section: Section, key: str, why: str) -> None:
    if key in section.content:
        raise SpecError(f"{section.at(key)} {why}; remove it")


def _read_events(section: Section) -> tuple[str, ...]:
    # YAML 1.2, as it is read here, has no boolean `on`, so the key is the word it looks like.
    events = section.content.get("on", list(HOOK_EVENTS))
    if not isinstance(events, list) or not events or any(event not in HOOK_EVENTS for event in events):
        raise SpecError(f"{section.at('on')} = {events!r} is not allowed; give a list of {', '.join(HOOK_EVENTS)}")
    return tuple(dict.fromkeys(events))


def _read_webhook(section: Section, secret: bytes) -> Webhook:
    written = section.text("webhook")
    plain = section.content.get("plain_http", False)
    if not isinstance(plain, bool):
        raise SpecError(f"{section.at('plain_http')} = {plain!r} is not allowed; it must be true or false")
    try:
        url = urlsplit(written)
        port = url.port
    except ValueError as error:
        raise SpecError(f"{section.at('webhook')} is no address: {error}; give https://HOST/PATH") from error
    if url.scheme not in ("https", "http") or not url.hostname or not written.isascii() or not written.isprintable():
        raise SpecError(f"{section.at('webhook')} is no address; give https://HOST/PATH, in ASCII, without spaces")
    if " " in written or url.fragment or url.username is not None or url.password is not None:
        raise SpecError(f"{section.at('webhook')} holds a space, a user or a fragment (#); give https://HOST/PATH")
    if url.scheme == "http" and url.hostname not in LOOPBACK and not plain:
        raise SpecError(
            f"{section.at('webhook')} = http://{url.hostname}/... would be sent unencrypted; use https, or say "
            "plain_http: true where the network is your own"
        )
    target = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
    return Webhook(scheme=url.scheme, host=url.hostname, port=port, target=target, secret=secret)


def _read_command(section: Section, home: Path) -> Command:
    words = section.content["command"]
    if not isinstance(words, list) or not words or not all(_is_word(word) for word in words):
        raise SpecError(
            f"{section.at('command')} = {words!r:.200} is not allowed; give a list of words, the program first: "
            "no shell reads it"
        )
    program = shutil.which(words[0], path=SAFE_PATH) if "/" not in words[0] else words[0]
    if program is None or not Path(program).is_absolute() or not os.access(program, os.X_OK):
        raise SpecError(
            f"{section.at('command')} = {words[0]!r} is no program; give an absolute path of one, or the name of one "
            f"in {SAFE_PATH}"
        )
    environment = section.mapping("environment")
    for name, value in environment.items():
        if not str(name).isidentifier() or not _is_word(value):
            raise SpecError(f"{section.at('environment')}.{name} = {value!r:.80} is not allowed; give NAME: text")
    basis = {"PATH": SAFE_PATH, "LANG": "C.UTF-8"}
    return Command(words=(program, *words[1:]), environment={**basis, **environment}, folder=home.resolve())


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _read_secret(file: Section, home: Path, *, is_needed: bool) -> bytes:
    """What webhooks are signed with; empty where there is none and none is needed."""
    given = [key for key in ("secret_file", "secret_env") if key in file.content]
    if len(given) > 1:
        raise SpecError(f"{file.where}: give one of secret_file and secret_env")
    if not given:
        if is_needed:
            raise SpecError(
                f"{file.where}: webhooks are signed; give secret_file: hooks.secret ({HOW_TO_MAKE_A_SECRET}), or "
                "secret_env: NAME"
            )
        return b""
    name = file.text(given[0])
    if given == ["secret_env"]:
        where, text = f"{file.where}: the environment's {name}", os.environ.get(name, "")
        if not text:
            raise SpecError(f"{where} is empty or not set; {HOW_TO_MAKE_A_SECRET}")
    else:
        where, text = str(home / name), _read_secret_file(home / name)
    return _decoded(text.strip(), where)


def _read_secret_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SpecError(f"{path} is no file; {HOW_TO_MAKE_A_SECRET}")
        if stat.S_IMODE(mode) & 0o077:
            raise SpecError(f"{path} can be read by others ({stat.S_IMODE(mode):o}); run: chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII text"
        raise SpecError(f"{path} cannot be read: {reason}; {HOW_TO_MAKE_A_SECRET}") from error


def _decoded(text: str, where: str) -> bytes:
    low, high = SECRET_BYTES
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not low <= len(secret) <= high:
        raise SpecError(f"{where} is no secret: it must be base64 of {low} to {high} bytes; {HOW_TO_MAKE_A_SECRET}")
    return secret
