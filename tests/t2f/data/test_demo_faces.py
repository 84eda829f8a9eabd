from collections import Counter

import numpy as np
import pytest

from t2f.data.demo_faces import (
    FACIAL_HAIR,
    GLASSES,
    HAIR_COLOURS,
    HAIR_STYLES,
    HIDDEN_MOUTH,
    MOUTHS,
    NUM_COMBINATIONS,
    SKINS,
    Painter,
    combination,
    draw_combinations,
)

PLAIN = {
    "skin": "tan",
    "hair_colour": "brown",
    "hair_style": "short",
    "facial_hair": "none",
    "glasses": "none",
    "mouth": "serious",
}


def test_every_combination_comes_once():
    combinations = {tuple(combination(number).items()) for number in range(NUM_COMBINATIONS)}
    assert len(combinations) == NUM_COMBINATIONS >= 2 * 7000


def test_a_mouth_is_hidden_exactly_under_a_moustache():
    for number in range(0, NUM_COMBINATIONS, 7):
        attributes = combination(number)
        assert (attributes["facial_hair"] == "moustache") == (attributes["mouth"] == HIDDEN_MOUTH)


def test_drawn_combinations_differ_and_follow_the_seed():
    drawn = draw_combinations(500, seed=3)
    assert max(Counter(tuple(attributes.values()) for attributes in drawn).values()) == 1
    assert drawn == draw_combinations(500, seed=3) != draw_combinations(500, seed=4)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("skin", SKINS),
        ("hair_colour", HAIR_COLOURS),
        ("hair_style", HAIR_STYLES),
        ("facial_hair", FACIAL_HAIR),
        ("glasses", GLASSES),
        ("mouth", MOUTHS),
    ],
)
def test_each_value_looks_different_at_32_px(name, values):
    painter = Painter()
    small = {value: np.asarray(painter.draw(PLAIN | {name: value}).reduce(2)).astype(float) for value in values}
    for value, image_HWC in small.items():
        for other, other_HWC in small.items():
            if value != other:
                assert np.abs(image_HWC - other_HWC).max() > 35, (value, other)


def test_a_face_is_64_px_rgb_and_shows_its_skin():
    image = Painter().draw(PLAIN)
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert image.getpixel((24, 42)) == tuple(bytes.fromhex(SKINS["tan"][1:]))
