"""The simulated witnesses, on an untrained model."""

import pytest

from benchmarks.photofit import FACES, GENERATIONS, compare, mean_entry
from t2f.generate import open_bundle
from tests.t2f.helpers import write_bundle


@pytest.mark.parametrize("own", [True, False])
def test_witnesses_never_get_farther_away(tiny_data, tmp_path, own):
    write_bundle(tmp_path / "m", tiny_data)
    rows, others = compare(open_bundle(tmp_path / "m"), tiny_data, 2, own=own)
    assert (FACES, len(others)) == (8, 2)
    for row in rows:
        assert len(row) == GENERATIONS
        assert row == sorted(row, reverse=True)


def test_figures_are_means_with_intervals():
    found = mean_entry("nearer", 0.0, [1.0, 2.0, 3.0])
    assert (found["measured"], found["n"]) == (2.0, 3)
    assert found["low"] == pytest.approx(2 - 1.96 / 3**0.5, abs=1e-3)
