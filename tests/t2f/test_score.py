"""The score and its parts."""

import math

import numpy as np
import pytest

from t2f.metrics.figures import Figure, block_figure, mean_figure
from t2f.score import fidelity, score_figures, text_figure

FLOOR = {
    "swd": Figure(value=10.0),
    "colour_distance": Figure(value=0.1),
    "shuffle_gap": Figure(value=0.8, low=0.7, high=0.9),
}
CEILING = {"swd": Figure(value=1000.0), "colour_distance": Figure(value=0.9)}


def figures(swd: float, colour: float, gap: float, *, spread: float = 0.1) -> dict[str, Figure]:
    wave = 1 + spread * np.cos(np.arange(10))
    return {
        "swd": block_figure(swd, 3 * swd * wave),
        "colour_distance": block_figure(colour, colour * wave),
        "shuffle_gap": mean_figure(np.full(50, gap) + spread * np.tile([-1, 1], 25)),
    }


def test_fidelity_is_a_place_between_ceiling_and_floor_on_a_log_scale():
    def at(distances):
        return fidelity(distances, FLOOR, CEILING)

    assert at({"swd": 10.0}) == pytest.approx(1)
    assert at({"swd": 1000.0}) == pytest.approx(0)
    assert at({"swd": 100.0}) == pytest.approx(0.5)
    assert at({"swd": 5.0}) == 1
    assert at({"swd": 5000.0}) == 0
    both = (0.5 + math.log(0.9 / 0.3) / math.log(0.9 / 0.1)) / 2
    assert at({"swd": 100.0, "colour_distance": 0.3}) == pytest.approx(both)


def test_text_is_the_share_of_the_reals_gap():
    def share(gap):
        return text_figure(mean_figure(np.full(50, gap)), FLOOR["shuffle_gap"]).value

    assert share(0.4) == pytest.approx(0.5)
    assert share(1.2) == 1
    assert share(-0.4) == 0


def test_the_score_is_the_geometric_mean():
    found = score_figures(figures(100.0, 0.3, 0.4), floor=FLOOR, ceiling=CEILING)
    assert found["text"].value == pytest.approx(0.5)
    assert found["score"].value == pytest.approx(math.sqrt(found["fidelity"].value * 0.5))
    for name in ("score", "fidelity", "text"):
        assert 0 < found[name].low < found[name].value < found[name].high < 1
    assert len(found["score"].parts) == 10
    wider = score_figures(figures(100.0, 0.3, 0.4, spread=0.2), floor=FLOOR, ceiling=CEILING)
    assert wider["score"].high - wider["score"].low > found["score"].high - found["score"].low


def test_text_that_is_ignored_gives_nothing():
    found = score_figures(figures(100.0, 0.3, -0.4), floor=FLOOR, ceiling=CEILING)
    assert (found["score"].value, found["score"].low) == (0, 0)


@pytest.mark.parametrize("real", [Figure(value=0.01, low=-0.01, high=0.03), None])
def test_where_the_reals_have_no_gap_the_score_is_the_fidelity(real):
    floor = {name: figure for name, figure in {**FLOOR, "shuffle_gap": real}.items() if figure is not None}
    found = score_figures(figures(100.0, 0.3, 0.4), floor=floor, ceiling=CEILING)
    assert "text" not in found
    assert found["score"] == found["fidelity"]


def test_too_few_images_for_blocks_give_a_score_without_interval():
    alone = {name: Figure(value=value) for name, value in (("swd", 20.0), ("colour_distance", 0.2))}
    floor, ceiling = ({name: Figure(value=value) for name in alone} for value in (0.1, 200.0))
    found = score_figures(alone, floor=floor, ceiling=ceiling)
    assert 0 < found["score"].value < 1
    assert found["score"].low is None
