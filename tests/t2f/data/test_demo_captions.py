from itertools import pairwise

import pytest

from t2f.data.demo_captions import (
    _FACIAL_HAIR,
    _GLASSES,
    _HAIR_COLOUR,
    _HAIR_STYLE,
    _MOUTH_DOING,
    _MOUTH_THING,
    _SKIN,
    CAPTIONS_PER_IMAGE,
    describe,
)
from t2f.data.demo_faces import combination, draw_combinations


def says(text, phrases):
    return any(phrase in text for phrase in phrases)


@pytest.fixture(scope="module")
def described():
    return [
        (attributes, text)
        for number, attributes in enumerate(draw_combinations(400, seed=0))
        for text in describe(attributes, seed=0, number=number)
    ]


def test_captions_of_an_image_differ_and_follow_the_seed():
    for number in range(0, 5000, 17):
        texts = describe(combination(number), seed=1, number=number)
        assert len(set(texts)) == len(texts) == CAPTIONS_PER_IMAGE
    assert describe(combination(5), seed=1, number=5) == describe(combination(5), seed=1, number=5)
    assert describe(combination(5), seed=1, number=5) != describe(combination(5), seed=2, number=5)


def test_skin_and_hair_are_in_every_caption(described):
    for attributes, text in described:
        skins = _SKIN[attributes["skin"]]
        assert says(text, [f"{skin}{noun}" for skin in skins for noun in (" skin", " complexion", "-skinned")]), text
        hairs = [
            style.format(colour)
            for style in _HAIR_STYLE[attributes["hair_style"]]
            for colour in _HAIR_COLOUR[attributes["hair_colour"]]
        ]
        assert says(text, [hair.removeprefix("a ") for hair in hairs]), text


@pytest.mark.parametrize(("name", "words"), [("facial_hair", _FACIAL_HAIR), ("glasses", _GLASSES)])
def test_most_captions_name_what_is_there(described, name, words):
    concerned = [(attributes[name], text) for attributes, text in described if attributes[name] != "none"]
    assert sum(says(text, words[value]) for value, text in concerned) > 0.8 * len(concerned)


def test_mouths_are_named_in_most_captions_but_never_under_a_moustache(described):
    any_mouth = [phrase for words in (_MOUTH_DOING, _MOUTH_THING) for phrases in words.values() for phrase in phrases]
    seen = [says(text, any_mouth) for attributes, text in described if attributes["mouth"] != "hidden"]
    hidden = [says(text, any_mouth) for attributes, text in described if attributes["mouth"] == "hidden"]
    assert sum(seen) > 0.7 * len(seen)
    assert hidden
    assert not any(hidden)


def test_no_caption_says_what_is_not_so(described):
    for attributes, text in described:
        if attributes["glasses"] == "none":
            assert "glasses" not in text.replace("no glasses", ""), text
        if attributes["facial_hair"] == "none":
            assert "beard" not in text.replace("no beard", ""), text


def test_articles_are_right(described):
    for _, text in described:
        words = text.split()
        for word, following in pairwise(words):
            if word in ("a", "an"):
                assert (word == "an") == (following[0] in "aeiou"), text
