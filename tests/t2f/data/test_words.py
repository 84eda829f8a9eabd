import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2f.data.words import PAD, UNKNOWN, Vocabulary, rarity, split_words
from t2f.errors import DataError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man, smiling.", ["a", "man", ",", "smiling", "."]),
        ("early 3 0 s", ["early", "30s"]),
        ("his late 5 0 ' s ,", ["his", "late", "50s", ","]),
        ("in his 30's", ["in", "his", "30s"]),
        ("in his 30’s", ["in", "his", "30s"]),
        ("2 5 years", ["25", "years"]),
        ("5 0 - 6 0 something", ["50", "-", "60", "something"]),
        ("1 9 7 6 .", ["1976", "."]),
        ("8 cm long", ["8", "cm", "long"]),
        ("a 4 0 ish man", ["a", "40", "ish", "man"]),
        ("white-haired", ["white", "-", "haired"]),
        ("ﬁne ＡＢ", ["fine", "ab"]),
        ("a_b", ["a", "_", "b"]),
        ("ÉCLAIR naïve", ["éclair", "naïve"]),
        (" \n\t", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


@given(st.text(max_size=80))
def test_splitting_never_fails_and_splits_its_own_words_no_further(text):
    words = split_words(text)
    assert all(word and not word.isspace() for word in words)


VOCABULARY = Vocabulary.build(["brown hair , brown eyes", "hair and eyes , red"], min_count=1)


def test_words_are_sorted_by_count_then_alphabet():
    assert VOCABULARY.words == ("<pad>", "<unknown>", ",", "brown", "eyes", "hair", "and", "red")
    assert len(Vocabulary.build(["brown hair", "brown eyes"], min_count=2)) == 3


def test_encode_marks_unknown_words_and_cuts():
    assert VOCABULARY.encode("Brown fur") == [3, UNKNOWN]
    assert VOCABULARY.encode("brown hair and eyes", 2) == [3, 5]
    assert VOCABULARY.encode("  ") == []


def test_encode_batch_pads():
    tokens_MT, lengths_M = VOCABULARY.encode_batch(["red", "red hair and eyes"], 3)
    np.testing.assert_array_equal(tokens_MT, [[7, PAD, PAD], [7, 5, 6]])
    assert (tokens_MT.dtype, lengths_M.dtype, lengths_M.tolist()) == (np.uint16, np.int64, [1, 3])
    assert VOCABULARY.encode_batch([], 3)[0].shape == (0, 1)


def test_json_round_trip_keeps_every_word():
    vocabulary = Vocabulary.build(['naïve "quoted" é 漢字'], min_count=1)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '["a", "b"]', '["<pad>", "<unknown>", "a", "a"]', "[" * 10**5])
def test_broken_json_is_refused(text):
    with pytest.raises(DataError, match="vocabulary must"):
        Vocabulary.from_json(text)


def test_too_many_words_say_what_to_do():
    with pytest.raises(DataError, match="raise min_count"):
        Vocabulary.build((f"w{number}" for number in range(2**16)), min_count=1)


def test_unknown_words_and_the_nearest_known_one():
    assert VOCABULARY.unknown_words("[brwn] hair / brwn zebra!") == ["brwn", "zebra"]
    assert VOCABULARY.nearest("brwn") == "brown"
    assert VOCABULARY.nearest("zzz") is None


def test_rarity_is_the_logarithm_of_captions_by_captions_with_the_word():
    vocabulary = Vocabulary.build(["a man", "a man with a beard", "a woman", "a beard"], min_count=2)
    tokens_MT, _ = vocabulary.encode_batch(["a man", "a man with a beard", "a woman", "a beard"])
    found = dict(zip(vocabulary.words, rarity(tokens_MT, len(vocabulary)), strict=True))
    expected = {"<pad>": 0, "<unknown>": np.log(4 / 2), "a": 0, "man": np.log(4 / 2), "beard": np.log(4 / 2)}
    assert found == pytest.approx(expected)
    assert rarity(np.zeros((0, 1), dtype=np.uint16), 3).tolist() == [0, 0, 0]  # no captions
