"""CLIP's tokenizer: words, byte pairs, and what its files must hold."""

import json

import pytest

from t2f.bytepairs import END, START, read_byte_pairs, words_of
from t2f.errors import CheckpointError
from tests.t2f.clip_folder import PIECES, tiny_clip


@pytest.fixture
def folder(tmp_path):
    return tiny_clip(tmp_path / "clip")


def pieces(folder, sentence: str, *, max_tokens: int = 24) -> list[str]:
    tokenizer = read_byte_pairs(folder, vocabulary_size=len(PIECES), max_tokens=max_tokens)
    return [PIECES[token] for token in tokenizer.encode(sentence)]


def test_words_are_letters_single_digits_and_other_signs():
    assert words_of("A Man's 42\n hats, don't!?") == ["a", "man", "'s", "4", "2", "hats", ",", "don", "'t", "!?"]
    assert words_of("e\u0301t\u00c9") == ["été"], "accents are joined, capitals go"
    assert words_of("x²_") == ["x", "²", "_"]
    assert words_of(" \t\n") == []


def test_pairs_are_joined_in_the_order_in_which_they_were_learned(folder):
    assert pieces(folder, "Long hair man") == [START, "long</w>", "hair</w>", "man</w>", END]
    assert pieces(folder, "harm") == [START, "ha", "r", "m</w>", END]
    assert pieces(folder, "lolong") == [START, "lo", "long</w>", END]
    assert pieces(folder, "é") == [START, "Ã", "©</w>", END]


def test_a_sentence_is_cut_and_cannot_say_special_tokens(folder):
    assert pieces(folder, "man " * 30) == [START, *["man</w>"] * 22, END]
    said = pieces(folder, f"man {END} man", max_tokens=60)
    assert said.count(END) == 1
    assert said[-2] == "man</w>"
    assert pieces(folder, "\ud800")[0] == START, "half a character is a question mark"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("vocab.json", "[]", "holds a list; a dict is needed"),
        ("vocab.json", json.dumps({piece: place for place, piece in enumerate(PIECES[1:])}), "has no piece 'Ā'"),
        ("vocab.json", json.dumps(dict.fromkeys(PIECES, 1.5)), "the number 1.5; its config.json allows 0 to"),
        ("merges.txt", "a b c\n", "line 1: 'a b c' is no pair of pieces of vocab.json"),
        ("merges.txt", "#version: 0.2\nq q\n", "line 2: 'q q' is no pair"),
    ],
)
def test_files_that_do_not_fit_together_are_named(folder, name, content, reason):
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="vocab|merges") as raised:
        read_byte_pairs(folder, vocabulary_size=len(PIECES), max_tokens=24)
    assert reason in str(raised.value)
