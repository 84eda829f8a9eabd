"""The overhead's benchmark runs a whole sweep on a real Ray."""

import json
import subprocess
import sys

import pytest


@pytest.mark.ray
def test_every_stage_run_of_the_quick_sweep_is_counted():
    command = [sys.executable, "-m", "benchmarks.scheduler_overhead", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (goal,) = json.loads(done.stdout.strip().splitlines()[-1])
    assert goal["measured"] > 0
    assert "stage runs of" in goal["goal"]
