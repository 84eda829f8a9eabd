"""hooks.yaml: read strictly, from the home alone; every mistake named with file, field and what to do."""

import pytest

from scheduler.hooksfile import Command, Webhook, read_hooks
from t2f.errors import SpecError
from tests.scheduler.receiver import SECRET, SECRET_TEXT, write_hooks

URL = "https://example.org/hooks/t2f?team=faces"


def test_a_home_without_the_file_has_no_hooks(tmp_path):
    assert read_hooks(tmp_path) == ()


def test_hooks_as_they_are_written(tmp_path):
    write_hooks(
        tmp_path,
        {"name": "chat", "on": ["sweep.ended"], "webhook": URL, "timeout_seconds": 3, "attempts": 5},
        {"name": "mail", "command": ["cat", "-u"], "environment": {"TO": "ann"}},
    )
    chat, mail = read_hooks(tmp_path)
    assert chat.way == Webhook(
        scheme="https", host="example.org", port=None, target="/hooks/t2f?team=faces", secret=SECRET
    )
    assert (chat.events, chat.timeout_seconds, chat.attempts) == (("sweep.ended",), 3, 5)
    assert chat.way.place == "https://example.org/...", "the path of many services is a secret itself"
    assert "0123456789" not in repr(chat)
    assert mail.events == ("sweep.ended", "trial.failed", "model.best")
    assert isinstance(mail.way, Command)
    assert mail.way.words[0].endswith("/cat")
    assert mail.way.environment == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TO": "ann"}


def test_the_secret_may_come_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "hooks.yaml").write_text(f"secret_env: T2F_SECRET\nhooks: [{{name: a, webhook: '{URL}'}}]")
    with pytest.raises(SpecError, match="T2F_SECRET is empty or not set"):
        read_hooks(tmp_path)
    monkeypatch.setenv("T2F_SECRET", f"whsec_{SECRET_TEXT}")
    assert read_hooks(tmp_path)[0].way.secret == SECRET


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ({"name": "a", "webook": URL}, r"hooks\[0\]: unknown key 'webook'; did you mean 'webhook'"),
        ({"name": "a"}, "give one of webhook and command"),
        ({"name": "a", "webhook": URL, "command": ["cat"]}, "give one of webhook and command"),
        ({"webhook": URL}, "'name' is missing"),
        ({"name": "a b", "webhook": URL}, "name = 'a b' is not allowed"),
        ({"name": "a", "webhook": URL, "on": ["sweep.end"]}, "give a list of sweep.ended, trial.failed, model.best"),
        ({"name": "a", "webhook": URL, "on": "sweep.ended"}, "give a list of"),
        ({"name": "a", "webhook": "ftp://example.org/x"}, "webhook is no address"),
        ({"name": "a", "webhook": "file:///etc/passwd"}, "webhook is no address"),
        ({"name": "a", "webhook": "https://example.org:99999/"}, "webhook is no address"),
        ({"name": "a", "webhook": "https://ann:x@example.org/"}, "holds a space, a user or a fragment"),
        ({"name": "a", "webhook": "https://example.org/a\r\nHost: b"}, "webhook is no address"),
        ({"name": "a", "webhook": "http://example.org/"}, "would be sent unencrypted"),
        ({"name": "a", "webhook": URL, "plain_http": 1}, "it must be true or false"),
        ({"name": "a", "webhook": URL, "environment": {}}, "environment goes with a command"),
        ({"name": "a", "command": ["cat"], "plain_http": True}, "plain_http goes with a webhook"),
        ({"name": "a", "command": "cat x"}, "no shell reads it"),
        ({"name": "a", "command": ["cat", 3]}, "give a list of words"),
        ({"name": "a", "command": ["no-such-program"]}, "'no-such-program' is no program"),
        ({"name": "a", "command": ["./x"]}, "give an absolute path"),
        ({"name": "a", "command": ["cat"], "environment": {"A B": "x"}}, "environment.A B"),
        ({"name": "a", "command": ["cat"], "attempts": 0}, "attempts = 0 is not allowed"),
        ({"name": "a", "command": ["cat"], "timeout_seconds": 0}, "timeout_seconds = 0 is not allowed"),
    ],
)
def test_mistakes_in_a_hook_are_named(tmp_path, hook, said):
    write_hooks(tmp_path, hook)
    with pytest.raises(SpecError, match=said) as error:
        read_hooks(tmp_path)
    assert "hooks.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hooks: []", "must be a list of mappings"),
        ("hooks: {a: 1}", "must be a list of mappings"),
        ("hook: []", "did you mean 'hooks'"),
        (f"hooks: [{{name: a, webhook: '{URL}'}}]", "webhooks are signed; give secret_file"),
        ("secret_file: x\nsecret_env: Y\nhooks: [{name: a, command: [cat]}]", "give one of secret_file and secret_env"),
        ("hooks: [{name: a, command: [cat]}, {name: a, command: [cat]}]", "two hooks are named 'a'"),
        ("secret_file: gone\nhooks: [{name: a, command: [cat]}]", "gone cannot be read: No such file"),
        ("secret_file: .\nhooks: [{name: a, command: [cat]}]", "is no file"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, said):
    (tmp_path / "hooks.yaml").write_text(text)
    with pytest.raises(SpecError, match=said):
        read_hooks(tmp_path)


def test_what_others_could_read_or_change_is_refused(tmp_path):
    write_hooks(tmp_path, {"name": "a", "webhook": URL})
    (tmp_path / "hooks.secret").chmod(0o640)
    with pytest.raises(SpecError, match="can be read by others"):
        read_hooks(tmp_path)
    (tmp_path / "hooks.secret").chmod(0o600)
    (tmp_path / "hooks.secret").write_text("hello")
    with pytest.raises(SpecError, match="must be base64 of 24 to 64 bytes"):
        read_hooks(tmp_path)
    (tmp_path / "hooks.yaml").chmod(0o666)
    with pytest.raises(SpecError, match="can be written by others"):
        read_hooks(tmp_path)
