import json

import pytest

from t2f.data.readers import Example, read_source
from t2f.data.readers.example import MAX_CAPTION_CHARACTERS
from t2f.errors import DataError


def write_lines(root, *entries):
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_imagefolder_takes_text_caption_or_texts(tmp_path):
    write_lines(
        tmp_path,
        {"file_name": "a/1.jpg", "text": "  a  man\n", "split": "train", "attributes": {"hair": "red", "hat": True}},
        "",
        {"file_name": "2.png", "caption": "naïve\u2028woman", "split": "dev", "attributes": {"hair": "grey", "hat": 0}},
        {
            "file_name": "./3.png",
            "texts": ["one", "two", "one"],
            "split": "test",
            "attributes": {"hair": "b", "hat": "c"},
        },
    )
    first, second, third = read_source("imagefolder", tmp_path)
    assert first == Example(
        image_id="a/1.jpg",
        path=tmp_path / "a/1.jpg",
        captions=("a man",),
        split="train",
        attributes={"hair": "red", "hat": "True"},
    )
    assert (second.captions, second.split) == (("naïve woman",), "validation")
    assert (third.image_id, third.captions) == ("3.png", ("one", "two"))


def test_lines_of_one_image_are_put_together(tmp_path):
    write_lines(tmp_path, {"file_name": "a.png", "text": "one"}, {"file_name": "a.png", "text": "two"})
    assert [example.captions for example in read_source("imagefolder", tmp_path)] == [("one", "two")]
    write_lines(tmp_path, {"file_name": "a.png", "text": "b"}, {"file_name": "a.png", "text": "c", "split": "test"})
    with pytest.raises(DataError, match=r"line 2: a\.png is in line 1 too"):
        read_source("imagefolder", tmp_path)


def test_unknown_keys_are_counted_and_reported(tmp_path, caplog):
    write_lines(tmp_path, *({"file_name": f"{n}.png", "text": "a man", "colour": 1} for n in range(3)))
    assert len(read_source("imagefolder", tmp_path)) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'metadata.jsonl'}: the key 'colour' of 3 lines is not known and was ignored"
    ]


GOOD = {"file_name": "a.png", "text": "a man"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"file_name": ', "line 2: not JSON"),
        ("[1]", "is no object"),
        ("[" * 100_000, "line 2: not usable JSON"),
        (
            '{"file_name": "b.png", "text": "\\ud800 man"}',
            r"line 2, text: the caption holds U\+D800, half of a surrogate",
        ),
        ({"file_name": "b.png", "text": "a \x00man"}, r"U\+0000, a control character"),
        ({"file_name": "b.png", "text": ""}, "line 2, text: the caption is empty"),
        ({"file_name": "b.png", "text": " \n "}, "caption is empty"),
        ({"file_name": "b.png", "text": "a" * 2**20}, "has 1048576 characters; 10000 are allowed"),
        ({"file_name": "b.png", "text": 7}, "the caption is 7; it must be a text"),
        ({"file_name": "b.png"}, "line 2: b.png has no caption"),
        ({"file_name": "b.png", "text": "a", "caption": "b"}, "both 'text' and 'caption'"),
        ({"file_name": "b.png", "texts": []}, "line 2, texts"),
        ({"file_name": "b.png", "texts": "a man"}, "line 2, texts"),
        ({"text": "a man"}, "line 2, file_name: the image's name is None"),
        ({"file_name": "../b.png", "text": "a"}, r"without '\.\.'"),
        ({"file_name": "a/../../b.png", "text": "a"}, r"without '\.\.'"),
        ({"file_name": "/etc/passwd", "text": "a"}, "path below the source folder"),
        ({"file_name": "a\\b.png", "text": "a"}, "path below"),
        ({"file_name": "C:/b.png", "text": "a"}, "path below"),
        ({"file_name": "b\x00.png", "text": "a"}, "path below"),
        ({"file_name": ".", "text": "a"}, "path below"),
        (
            {"file_name": "b.png", "text": "a", "split": "trial"},
            "line 2, split: 'trial' is not allowed; allowed: train",
        ),
        ({"file_name": "b.png", "text": "a", "split": "test"}, "only one of them names a split"),
        ({"file_name": "b.png", "text": "a", "attributes": []}, "line 2, attributes"),
        ({"file_name": "b.png", "text": "a", "attributes": {"hair": None}}, "line 2, attributes, 'hair': None"),
        ({"file_name": "b.png", "text": "a", "attributes": {"hair": "red"}}, "differ in the attributes hair"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_lines_are_named(tmp_path, entry, reason):
    write_lines(tmp_path, GOOD, entry)
    with pytest.raises(DataError, match=reason) as caught:
        read_source("imagefolder", tmp_path)
    assert len(str(caught.value)) < 600


def test_latin_1_is_named_with_its_line(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes(
        json.dumps(GOOD).encode() + b'\n{"file_name": "b.png", "text": "na\xefve"}'
    )
    with pytest.raises(DataError, match="line 2: byte 0xEF is not UTF-8"):
        read_source("imagefolder", tmp_path)


def test_the_longest_caption_is_allowed(tmp_path):
    write_lines(tmp_path, GOOD | {"text": "a" * MAX_CAPTION_CHARACTERS})
    assert len(read_source("imagefolder", tmp_path)[0].captions[0]) == MAX_CAPTION_CHARACTERS
