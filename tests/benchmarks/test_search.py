"""The benchmark of the search: its arithmetic, and sweep files that mean what they should."""

import itertools
import statistics
from pathlib import Path

import pytest

from benchmarks import search
from scheduler.sweepfile import read_sweep
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml


def test_the_best_of_a_chance_choice_is_the_mean_over_all_choices():
    values = [0.3, 0.1, 0.7, 0.2, 0.5]
    for count in (1, 2, 5):
        slow = statistics.mean(max(chosen) for chosen in itertools.combinations(values, count))
        assert search.best_of_chance(values, count) == pytest.approx(slow)


def test_the_grid_spans_the_ranges_evenly():
    rates = search.rates(6)
    assert (rates[0], rates[-1]) == (search.LOW, search.HIGH)
    steps = [later / earlier for earlier, later in itertools.pairwise(rates)]
    assert steps == pytest.approx([64 ** (1 / 5)] * 5, rel=0.01)


@pytest.mark.parametrize("size", [search.FULL, search.SMALL])
def test_all_three_ways_search_the_same_ranges_at_the_same_stages(size):
    texts = search.sweeps(size, seed=1, hours=0.01)
    read = {way: read_sweep(Section(parse_yaml(text, source=way), way), Path()) for way, text in texts.items()}
    assert {way: one.method for way, one in read.items()} == {"grid": "grid", "TPE and ASHA": "tpe", "grow": "grow"}
    assert len({one.stages for one in read.values()}) == len({one.seed for one in read.values()}) == 1
    for way in search.WAYS:
        assert read[way].budget.gpu_hours == 0.01
        assert [(one.low, one.high) for one in read[way].parameters] == [(search.LOW, search.HIGH)] * 2
