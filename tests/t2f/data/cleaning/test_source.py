from pathlib import Path

import pytest

from t2f.data.cleaning import Cleaning
from t2f.data.cleaning.source import clean_source
from t2f.data.readers import Example
from t2f.errors import SpecError


def example(name, *captions):
    return Example(image_id=name, path=Path(name), captions=captions)


def test_captions_are_cleaned_counted_and_logged():
    cleaned = clean_source(
        [
            example("a", "a pretty girl with freckles", "a girl with freckles", "a bald man"),
            example("b", "a politician", "some nurse"),
            example("c"),
        ],
        Cleaning(mode="strict"),
    )
    assert [one.captions for one in cleaned.examples] == [("a girl with freckles", "a bald man"), (), ()]
    assert cleaned.emptied == {"b"}
    assert cleaned.counts() == {
        "captions": 5,
        "changed": 1,
        "rejected": 2,
        "repeated": 1,
        "removed": {"occupation": 2, "attractiveness": 1},
        "reasons": {"occupation": 2},
        "images_without_captions_left": 1,
    }
    assert [change.plain()["after"] for change in cleaned.changes] == ["a girl with freckles", None, None]
    assert cleaned.changes[0].plain()["removals"] == [
        {"category": "attractiveness", "what": "pretty", "at": [2, 8], "instead": ""}
    ]


def test_the_hash_is_of_the_rules_and_the_mode_is_one_of_two():
    cleaning = Cleaning(mode="light")
    assert cleaning.plain() == {"mode": "light", "rules_sha256": cleaning.rules.sha256}
    with pytest.raises(SpecError, match="'harsh' is not known; allowed: off, light, strict"):
        Cleaning(mode="harsh")
