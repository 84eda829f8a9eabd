"""The Gaussian process in a process of its own: nobody waits for it, and it is told at most 500 rows."""

import json
import os
import signal
import time

import pytest

from scheduler.search import gaussian
from scheduler.search.gaussian import MAX_ROWS, GaussianSampler, NotYet
from scheduler.search.ranges import contains
from scheduler.search.told import Told, ToldState, most_telling
from t2f.errors import UserError
from tests.scheduler.search.spaces import D_RATE, GAMMA, LOSS, RATE, space

SPACE = space(RATE, D_RATE, LOSS, GAMMA)


def row(number: int, place: float | None) -> Told:
    parameters = {
        "generator.learning_rate": 10 ** (-5 + 4 * (number % 20 + 0.5) / 20),
        "discriminator.learning_rate": 10 ** (-5 + 4 * (number % 7 + 0.5) / 7),
        "loss.name": "wgan-gp",
    }
    state = ToldState.RUNNING if place is None else ToldState.MEASURED
    return Told(number=number, parameters=parameters, state=state, places=() if place is None else (place,))


def test_the_best_the_newest_and_the_running_are_told():
    told = [row(number, (number % 97) / 100) for number in range(2000)] + [row(2000, None), row(2001, None)]
    kept = most_telling(told, MAX_ROWS)
    assert len(kept) == MAX_ROWS
    assert [one.number for one in kept] == sorted(one.number for one in kept)
    assert {2000, 2001} <= {one.number for one in kept}
    best = sorted(told[:2000], key=lambda one: (-one.places[0], one.number))[:100]
    assert {one.number for one in best} <= {one.number for one in kept}
    assert {one.number for one in told[1800:2000]} <= {one.number for one in kept}
    assert most_telling(told[:10], MAX_ROWS) == told[:10]


def fetched(sampler: GaussianSampler, told: list[Told], *, number: int, seed: int) -> dict:
    """A proposal, however long it takes; the scheduler would look again at its next turn."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            return dict(sampler(SPACE, told, number, seed))
        except NotYet:
            continue
    raise AssertionError("no proposal came")


@pytest.mark.slow
def test_a_process_of_its_own_proposes_the_same_whenever_it_is_asked():
    told = [row(number, (number % 20 + 0.5) / 20) for number in range(20)] + [row(20, None)]
    sampler = GaussianSampler(objectives=1, wait_seconds=0.05)
    try:
        with pytest.raises(NotYet):
            sampler(SPACE, told, 21, 7)
        first = fetched(sampler, told, number=21, seed=7)
        assert all(contains(one, first[one.name]) for one in SPACE.parameters if one.name in first)
        assert ("loss.r1_gamma" in first) == (first["loss.name"] != "wgan-gp")
        child = gaussian.PROCESS._child
        assert child.pid != os.getpid()
        assert fetched(sampler, told, number=22, seed=8) != first
        # Killed, the next proposal starts another one, which gives the same.
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert fetched(GaussianSampler(objectives=1), told, number=21, seed=7) == first
    finally:
        gaussian.PROCESS.close()


def test_a_process_that_dies_while_it_computes_is_an_error_with_what_to_do(monkeypatch):
    monkeypatch.setattr(gaussian.sys, "executable", "/bin/false")
    sampler = GaussianSampler(objectives=1, wait_seconds=30)
    try:
        with pytest.raises(UserError, match="the process of method: gp ended with status 1; .* Resume the sweep"):
            sampler(SPACE, [row(0, 0.5)], 1, 7)
    finally:
        gaussian.PROCESS.close()


def test_what_the_process_cannot_do_comes_back_as_words():
    (answer,) = gaussian.serve(["{}"])
    assert json.loads(answer) == {"error": "KeyError: 'parameters'"}
