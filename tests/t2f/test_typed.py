"""Sentences as people type them."""

import pytest

from t2f.errors import SpecError
from t2f.typed import MAX_CHARACTERS, edited, read_captions, tidy_sentence


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("  long\n pink\thair ", "long pink hair"),
        ("cafe\u0301", "caf\u00e9"),
        ("", ""),
        ("שלום", "שלום"),
        ("x" * MAX_CHARACTERS, "x" * MAX_CHARACTERS),
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_sentences_are_tidied(typed, taken):
    assert tidy_sentence(typed) == taken


@pytest.mark.parametrize(
    ("typed", "said"),
    [("a\0b", r"U\+0000 as character 2"), ("\x1b[2J", r"U\+001B"), ("a\ud800", r"U\+D800"), ("x" * 10_001, "10,001")],
    ids=["NUL", "escape", "surrogate", "long"],
)
def test_what_is_no_text_is_refused(typed, said):
    with pytest.raises(SpecError, match=said):
        tidy_sentence(typed)


def test_captions_are_read_a_line_each(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufefflong hair\r\n\n  grey   beard \nžluté vlasy".encode())
    assert read_captions(path) == ["long hair", "grey beard", "žluté vlasy"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no caption"),
        (b"\n \n", "holds no caption"),
        (b"hair\n\xff\xfe\n", "line 2 is not UTF-8"),
        (b"hair\n\nb\0d\n", "line 3: .*U\\+0000"),
        (b"x" * (2**22 + 1), "larger than 4 MiB"),
        (b"x" * 10_001, "line 1: .*10,001"),
    ],
    ids=["empty", "blank", "latin-1", "NUL", "large", "long"],
)
def test_files_of_other_things_are_refused(tmp_path, content, said):
    path = tmp_path / "captions.txt"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=said):
        read_captions(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_captions(tmp_path / "nothing.txt")


def test_words_are_exchanged_alone_and_then_together():
    sentence = "A woman with Short grey hair"
    assert edited(sentence, ["short=long", "grey=red"]) == [
        sentence,
        "A woman with long grey hair",
        "A woman with Short red hair",
        "A woman with long red hair",
    ]
    assert edited(sentence, ["short="]) == [sentence, "A woman with grey hair"]
    assert edited("a.b", [r"a=\1"]) == ["a.b", r"\1.b"]


@pytest.mark.parametrize("edit", ["short", "=long", "shor=long", "", "bald=hairy"])
def test_edits_of_what_is_not_there_are_refused(edit):
    with pytest.raises(SpecError, match="--edit"):
        edited("short hair", [edit])
