"""The watchdog ends a process that may no longer write, even one that holds the GIL for ever."""

import subprocess
import sys
import time

import pytest

from workers.watchdog import Watchdog

STUCK = """
import sys, time
from pathlib import Path
from workers.watchdog import Watchdog
dog = Watchdog(Path(sys.argv[1]), hang_seconds=0.3)
{body}
"""

HOLDS_THE_GIL = """
dog.renewed(0.5, asked_at=time.monotonic())
list(range(10**9)).count(object())
"""
HANGS = """
dog.steps_begin()
while not dog.hangs:
    time.sleep(0.05)
dog.dump_and_exit("hangs")
"""


@pytest.mark.parametrize("body", [HOLDS_THE_GIL, HANGS], ids=["a lease that is not renewed", "steps that do not end"])
def test_the_process_ends_with_its_stacks_dumped(tmp_path, body):
    log = tmp_path / "logs" / "stacks"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STUCK.format(body=body), str(log)], timeout=60, check=False)
    assert done.returncode != 0
    assert time.monotonic() - begun < 30
    assert 'File "<string>"' in log.read_text()


def test_renewals_and_release_keep_it_alive(tmp_path):
    body = """
for _ in range(10):
    dog.renewed(0.5, asked_at=time.monotonic())
    time.sleep(0.1)
dog.release()
time.sleep(1)
print("alive")
"""
    command = [sys.executable, "-c", STUCK.format(body=body), str(tmp_path / "stacks")]
    done = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "alive"


def test_a_lease_asked_for_late_ends_early(tmp_path):
    body = "dog.renewed(5, asked_at=time.monotonic() - 4.4)\ntime.sleep(3)"
    command = [sys.executable, "-c", STUCK.format(body=body), str(tmp_path / "stacks")]
    begun = time.monotonic()
    assert subprocess.run(command, timeout=60, check=False).returncode != 0
    assert time.monotonic() - begun < 3


def test_a_hang_is_measured_by_the_usual_step(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    dog = Watchdog(tmp_path / "stacks")
    assert not dog.hangs, "nothing is expected yet"
    dog.steps_begin()
    for _ in range(50):
        now[0] += 10.0
        dog.stepped()
    now[0] += 20 * 10.0 + 59
    assert not dog.hangs
    now[0] += 2
    assert dog.hangs
    dog.steps_end()
    assert not dog.hangs
    dog.close()
