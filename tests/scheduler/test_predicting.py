"""Which child of a stage run is the most promising."""

import pytest

from scheduler.predicting import predict


def test_the_nearest_known_stage_run_says_most():
    known = [({"a": 0.001}, 0.2), ({"a": 0.1}, 0.8)]
    assert predict({"a": 0.002}, known) < 0.5 < predict({"a": 0.05}, known)
    assert predict({"a": 0.01}, known) == pytest.approx(0.5), "half way on a logarithmic scale"
    assert predict({"a": 1}, []) is None


def test_words_and_constants_are_compared_too():
    known = [({"loss": "x", "same": 3}, 0.2), ({"loss": "y", "same": 3}, 0.8)]
    assert predict({"loss": "y", "same": 3}, known) > 0.7
    assert predict({"loss": "z", "same": 3}, known) == pytest.approx(0.5)
