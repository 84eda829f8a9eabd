import pytest

from t2f.data.readers.texts import first_key, parse_json, read_table, read_utf8
from t2f.errors import DataError
from tests.t2f.data.layouts import write_text


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbffirst\nsecond")
    assert read_utf8(tmp_path / "a.txt") == "first\nsecond"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"one\ntwo \xe9", "line 2: byte 0xE9 is not UTF-8"),
        ("one".encode("utf-16"), "is UTF-16"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, reason):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_utf8(tmp_path / "a.txt")


def test_a_key_that_is_there_twice_is_refused():
    assert parse_json('{"a": [{"b": 1}, {"b": 2}]}', "x.json") == {"a": [{"b": 1}, {"b": 2}]}
    with pytest.raises(DataError, match=r"x\.json: the key 'b' is there twice"):
        parse_json('{"a": [{"b": 1, "c": 0, "b": 2}]}', "x.json")


@pytest.mark.parametrize(
    ("text", "key"), [('{"images": []}', "images"), ('\n {\n "0.jpg" : 1', "0.jpg"), ("[]", None), ("{}", None)]
)
def test_the_first_key_is_found_without_reading_all(tmp_path, text, key):
    write_text(tmp_path / "a.json", text, encoding="utf-8-sig")
    assert first_key(tmp_path / "a.json") == key
    assert first_key(tmp_path / "none.json") is None


def test_tables_keep_line_breaks_and_separators_in_quotes(tmp_path):
    write_text(tmp_path / "a.csv", 'a,b\n1,"x, ""y""\nz"\n\n2,w\n')
    header, rows = read_table(tmp_path / "a.csv", ",")
    assert header == ["a", "b"]
    assert list(rows) == [(3, ["1", 'x, "y"\nz']), (5, ["2", "w"])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the header is empty"),
        ("a,b,a\n", "the header names 'a' twice"),
        ("a,b\n1,2,3\n", "line 2: 3 cells where the header names 2"),
        ("a,b\n1," + "x" * 200_000 + "\n", "line 2: not a table"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, reason):
    write_text(tmp_path / "a.csv", text)
    with pytest.raises(DataError, match=reason):
        list(read_table(tmp_path / "a.csv", ",")[1])
