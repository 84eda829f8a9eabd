"""Word pieces: the reference tokenizer's, written down as a table."""

import pytest

from t2f.errors import CheckpointError
from t2f.wordpiece import WordPiece, read_word_pieces, split_words
from tests.t2f.bert_folder import PIECES

IDS = {piece: place for place, piece in enumerate(PIECES)}


# What the tokenizers library (0.23) gives for its BertNormalizer and BertPreTokenizer.
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Man", ["a", "man"]),
        (" \t\n\r ", []),
        ("don't $5+3=8 ~^`|", ["don", "'", "t", "$", "5", "+", "3", "=", "8", "~", "^", "`", "|"]),
        ("“quotes” — dash… ¿qué?", ["“", "quotes", "”", "—", "dash", "…", "¿", "que", "?"]),
        ("Café e\u0301\u0301 ÀÉ ñ", ["cafe", "e", "ae", "n"]),
        ("İ ß ẞ ﬁ", ["i", "ß", "ß", "ﬁ"]),
        ("ΟΔΟΣ", ["οδοσ"]),
        ("中a文", ["中", "a", "文"]),
        ("a\u00a0b\u2003c\u2028d\u3000e", ["a", "b", "c", "d", "e"]),
        ("a\u0000b\u200bc\u00add\ufeffe\ufffdf", ["abcdef"]),
        ("👩🏽\u200d🦰 woman", ["👩🏽🦰", "woman"]),
        ("नमस्ते", ["नमसत"]),
        ("[SEP]", ["[", "sep", "]"]),
    ],
)
def test_words_of_a_text(text, words):
    assert split_words(text, lower=True) == words


def test_cased_text_keeps_capitals_and_accents():
    assert split_words("A Café.", lower=False) == ["A", "Café", "."]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("A bearded man.", ["a", "beard", "##ed", "man", "."]),
        ("beards, Cafés", ["beard", "##s", ",", "cafe", "##s"]),
        ("beardless man", ["[UNK]", "man"]),  # a word of which a part is unknown is unknown as a whole
        ("🧔 man 人人", ["[UNK]", "man", "人", "人"]),
        ("a" + "s" * 99, ["a", *["##s"] * 99]),
        ("a" + "s" * 100, ["[UNK]"]),
    ],
)
def test_pieces_of_a_text(text, pieces):
    found = WordPiece(IDS, lower=True, max_tokens=128).encode(text)
    assert [PIECES[piece] for piece in found] == ["[CLS]", *pieces, "[SEP]"]


def test_a_long_text_is_cut_and_still_ended():
    found = WordPiece(IDS, lower=True, max_tokens=5).encode("a man with brown hair")
    assert [PIECES[piece] for piece in found] == ["[CLS]", "a", "man", "with", "[SEP]"]


def test_the_word_list_is_its_lines(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[CLS]", "[SEP]", "[UNK]", "a", "\u2028"]) + "\n", encoding="utf-8")
    assert read_word_pieces(path, max_size=5) == {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3, "\u2028": 4}
    with pytest.raises(CheckpointError, match=r"has 5 lines; config.json allows vocab_size = 4"):
        read_word_pieces(path, max_size=4)


@pytest.mark.parametrize(
    ("content", "message"), [(b"a\nman\n", r"has no \[CLS\], \[SEP\], \[UNK\]"), (b"\xff\xfe", "in UTF-8")]
)
def test_another_word_list_is_refused(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_word_pieces(path, max_size=100)
