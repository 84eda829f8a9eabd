"""The tutorial of docs/sweeps.md: its files are written and its commands run, in its order, as a newcomer would."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
TUTORIAL = PAGE[PAGE.index("## A first sweep") : PAGE.index("## Words of a sweep file")]
SECONDS = 420  # for the sweep to end on a busy machine


class Shell:
    """A newcomer's terminal in an empty folder; `t2f up` gets a free port and two workers besides."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        binaries = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
        }
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [*command.split(), "--port", str(port), "--workers", "2", "--beat-seconds", "1"]
        with (self._folder / "up.log").open("w") as log:
            self._background.append(
                subprocess.Popen(words, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
            )

    def wait_for_the_end(self) -> None:
        """Until no sweep is open."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            states = [sweep["state"] for sweep in json.loads(self.run("t2f sweep ls --json"))]
            if not {"running", "paused"} & set(states):
                return
            time.sleep(2)
        raise AssertionError(f"{states} after {SECONDS} s\n{(self._folder / 'up.log').read_text()}")

    def close(self) -> None:
        for process in self._background:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path)
    yield opened
    opened.close()


def test_every_command_of_the_tutorial_works(shell, tmp_path):
    blocks = re.findall(r"```(\w+) ?(\w*)\n(.*?)```", TUTORIAL, re.S)
    assert {kind for kind, _, _ in blocks} == {"sh", "yaml"}
    said = ""
    for kind, how, content in blocks:
        if kind == "yaml":
            name = re.search(r"^name: (\S+)$", content, re.M)[1]
            (tmp_path / f"{name}.yaml").write_text(content)
            continue
        if how == "wait":
            shell.wait_for_the_end()
        for command in content.strip().splitlines():
            if how == "background":
                shell.start(command)
            else:
                said += f"$ {command}\n{shell.run(command)}"
    assert "sharing saves 4 of 12 stage runs" in said
    assert said.count(" complete ") >= 4
    assert "first/T4: complete, fork of first/T3@8" in said
    assert "fork" in said
    assert (tmp_path / "first.csv").read_text().count("\n") == 6, "a header and five trials"
    assert (tmp_path / "face.png").stat().st_size > 1000
