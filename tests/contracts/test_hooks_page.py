"""The example of docs/hooks.md is read, its commands run, and its check of signatures finds ours genuine."""

import re
import subprocess
import time
from pathlib import Path

from typer.testing import CliRunner

from scheduler.cli import app
from scheduler.hooksfile import read_hooks
from scheduler.sending import headers_of
from scheduler.store.outbox import HOOK_EVENTS
from tests.scheduler.test_sending import DELIVERY

TEXT = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


def test_the_page_is_true(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "t2f-home"
    home.mkdir()
    (make_secret,) = re.findall(r"^    (\(umask.*)$", TEXT, re.M)
    subprocess.run(["sh", "-c", make_secret], check=True)
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (home / "hooks.yaml").write_text(example)
    chat, mail = read_hooks(home)
    done = CliRunner().invoke(app, ["hooks", "test", mail.name], catch_exceptions=False)
    assert done.output == "mail: told\n"
    assert "this is a test" in (home / "best.jsonl").read_text()
    done = CliRunner().invoke(app, ["hooks", "test", "--dry-run"], catch_exceptions=False)
    assert "would send to chat (https://hooks.example.org/...)" in done.output
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict = {}
    exec(code, names)
    headers = headers_of(chat.way, DELIVERY, b"body", now=time.time())
    secret = (home / "hooks.secret").read_text()
    assert names["is_genuine"](secret, headers, b"body")
    assert not names["is_genuine"](secret, headers, b"other")
    assert not names["is_genuine"](secret, headers_of(chat.way, DELIVERY, b"body", now=1.0), b"body")


def test_every_event_is_explained():
    for event in HOOK_EVENTS:
        assert f"| `{event}` |" in TEXT
