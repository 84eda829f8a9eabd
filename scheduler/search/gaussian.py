"""The Gaussian process: its proposals come from a process of their own, which has torch in memory and one thread.

    python -m scheduler.search.gaussian      reads a request a line, JSON, and writes a proposal a line

The scheduler never waits for it longer than a moment: a proposal that is not there yet is fetched at a later turn.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from scheduler.search.listed import at_shares
from scheduler.search.told import Told, ToldState, most_telling
from scheduler.space import Parameter, SearchSpace
from t2f.errors import UserError
from t2f.settings import Value

MAX_ROWS = 500  # the costs of a proposal grow with their cube: a few seconds at this number
WAIT_SECONDS = 0.2  # of a turn of the scheduler
IDLE_SECONDS = 600.0  # after which the process ends


class NotYet(Exception):  # noqa: N818 - no error: the proposal is being computed
    """Ask again, with the same arguments, a moment later."""


class GaussianSampler:
    """The sampler of one sweep: asks the process, and keeps the answer that is still to come."""

    def __init__(self, *, objectives: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._objectives, self._wait_seconds = objectives, wait_seconds
        self._key: tuple[int, int] | None = None
        self._answer: Future[dict[str, Value]] = Future()

    def __call__(self, space: SearchSpace, told: Sequence[Told], number: int, seed: int) -> Mapping[str, Value]:
        """NotYet while the process computes; rows that are told meanwhile are the next trial's."""
        if self._key != (number, seed):
            request = {
                "parameters": [parameter.to_json() for parameter in space.parameters],
                "told": [asdict(row) for row in most_telling(told, MAX_ROWS)],
                "objectives": self._objectives,
                "seed": seed,
            }
            self._key, self._answer = (number, seed), PROCESS.request(request)
        try:
            return self._answer.result(timeout=self._wait_seconds)
        except TimeoutError:
            raise NotYet from None
        except UserError:
            self._key = None  # the next turn tries again
            raise


class _Process:
    """One child process for all sweeps, started at the first request and again if it ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def request(self, content: Mapping[str, Any]) -> Future[dict[str, Value]]:
        answer: Future[dict[str, Value]] = Future()
        # A daemon: a scheduler that ends does not wait for a proposal.
        threading.Thread(target=self._fill, args=(answer, json.dumps(content)), daemon=True).start()
        return answer

    def _fill(self, answer: Future[dict[str, Value]], line: str) -> None:
        try:
            with self._one_at_a_time:
                answer.set_result(self._exchange(line))
        except Exception as error:  # the edge of this thread: whoever waits for the answer gets it
            answer.set_exception(error)

    def _exchange(self, line: str) -> dict[str, Value]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "scheduler.search.gaussian"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        child = self._child
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            found = child.stdout.readline()
        except OSError:
            found = ""
        if not found:
            status = child.wait()
            self.close()
            raise UserError(
                f"the process of method: gp ended with status {status}; its last words are in the scheduler's own "
                "output. Resume the sweep to try again, or submit it with method: tpe"
            )
        content = json.loads(found)
        if "error" in content:
            raise UserError(f"method: gp could not propose a trial: {content['error']}; use method: tpe")
        return content["parameters"]

    def close(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._child = None


PROCESS = _Process()
atexit.register(PROCESS.close)


# The process itself


def propose(content: Mapping[str, Any]) -> dict[str, Value]:
    """The proposal for one request."""
    # The scheduler's own process does not wait for Optuna here.
    from scheduler.search.tpe import by_blocks, gaussian_proposal

    parameters = [Parameter.from_json(stored) for stored in content["parameters"]]
    told = [
        Told(**{**row, "state": ToldState(row["state"]), "places": tuple(row["places"])}) for row in content["told"]
    ]
    seed = content["seed"]

    def of_block(block: Sequence[Parameter]) -> dict[str, Value]:
        found = gaussian_proposal(told, block, objectives=content["objectives"], seed=seed)
        if found:
            return found
        # Too little is known of these: at random. Whether they are active is decided already.
        shares = np.random.default_rng([seed, parameters.index(block[0])]).random(len(block)).tolist()
        return at_shares([replace(one, when={}) for one in block], shares)

    return by_blocks(parameters, of_block)


def serve(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        try:
            yield json.dumps({"parameters": propose(json.loads(line))})
        except Exception as error:  # the edge of this process: the scheduler says it with the sweep
            yield json.dumps({"error": f"{type(error).__name__}: {error}"})


def _lines() -> Iterable[str]:
    """Lines of the standard input until it ends, or nothing came for a while."""
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        yield line


if __name__ == "__main__":
    for answered in serve(_lines()):
        print(answered, flush=True)
