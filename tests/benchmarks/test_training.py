"""The benchmark's arithmetic and its own data; the peer is not needed."""

import sys

import numpy as np
import pytest

from benchmarks import training
from benchmarks.training import NATURAL, Figure, prepared, ratios


def test_a_figure_is_the_median_with_the_extremes():
    figure = Figure(goal="speed", target=1.5, values=(1.0, 3.0, 2.0))
    expected = {"goal": "speed", "target": 1.5, "measured": 2.0, "low": 1.0, "high": 3.0, "n": 3, "better": "higher"}
    assert figure.to_json() == expected


def test_ratios_are_taken_inside_a_round():
    rows = {"peer": [{"cpu": 4.0}, {"cpu": 9.0}], "fp32": [{"cpu": 2.0}, {"cpu": 3.0}]}
    assert ratios(rows, "fp32") == (2.0, 3.0)


def test_the_prepared_captions_have_the_lengths_that_were_asked_for(tmp_path):
    split = prepared(tmp_path, NATURAL).split("train")
    assert set(split.token_lengths_M.tolist()) == set(NATURAL)
    assert abs(float(np.mean(split.token_lengths_M)) - np.mean(NATURAL)) < 3


def test_a_cache_inside_the_project_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["training", "--cache", str(training.ROOT / "cache")])
    with pytest.raises(SystemExit):
        training.main()
    assert "inside the project" in capsys.readouterr().err
