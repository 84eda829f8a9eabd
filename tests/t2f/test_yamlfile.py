"""YAML is read strictly, and every refusal says where and why."""

import pytest

from t2f.errors import SpecError
from t2f.yamlfile import MAX_BYTES, parse_value, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "a list at its root"),
        ("just text", "a single value at its root"),
        ("a: 1\n---\nb: 2\n", "2 documents"),
        ("a: 1\na: 2\n", "line 2: the key 'a' is given twice"),
        ("a: {b: 1, b: 2}\n", "the key 'b' is given twice"),
        ("a: &x [1]\nb: *x\n", "line 2: an alias"),
        ("a: &x {k: 1}\nb: {<<: *x}\n", "line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("a: !custom 1\n", "not valid YAML"),
        ("a: !!bool x\n", "line 1: not valid YAML: 'x' cannot be read as !!bool; write a plain word"),
        ("a: 1\nb: !!timestamp soon\n", "line 2: not valid YAML: 'soon' cannot be read as !!timestamp"),
        ("a: !!int ''\n", "'' cannot be read as !!int"),
        ("!!float '-': x\n", "'-' cannot be read as !!float"),
        ("? !!seq a\n: x\n", "line 1: a key must be a word or a number, not 'a' with a tag"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a:\n\tb: 1\n", "not valid YAML"),
        ("a: .nan\n", "nan is not allowed"),
        ("a: [1, -.inf]\n", "inf is not allowed"),
        ("a: 1e999\n", "inf is not allowed"),
        ("a: " + "9" * 400, "beyond 9223372036854775807"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ('a: "\\ud800"\n', "half a character"),
        ("? [1, 2]\n: x\n", "a key must be"),
        ("1.5: x\n", "keys are words"),
        ("a: 2020-01-01\n", "put text in quotes"),
        ("a: " + "[" * 30 + "]" * 30, "nested deeper than 20"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper than 20"),
        ("a: 1\nb: \x07b\n", "line 2: not valid YAML: the character '\\x07' is not allowed"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_strange_files_are_refused_in_one_sentence(text, message):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, source="x.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.yaml")


def test_an_alias_bomb_costs_nothing():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    with pytest.raises(SpecError, match="an alias"):
        parse_yaml("\n".join(lines), source="bomb")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1e3),
        ("-2e-3", -2e-3),
        (".5", 0.5),
        ("1.", 1.0),
        ("3", 3),
        ("0.25", 0.25),
        ("1e-4x", "1e-4x"),
        ("true", True),
        ("False", False),
        ("off", "off"),
        ("on", "on"),
        ("no", "no"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("-7", -7),
    ],
)
def test_numbers_are_what_people_mean(text, value):
    found = parse_yaml(f"a: {text}", source="x")["a"]
    assert found == value
    assert type(found) is type(value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(SpecError, match="nope.yaml cannot be read"):
        read_yaml(tmp_path / "nope.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Zoé".encode("latin-1"))
    with pytest.raises(SpecError, match="byte 8: not UTF-8"):
        read_yaml(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match="at most 1,048,576 are read"):
        read_yaml(large)


def test_mappings_know_their_lines():
    text = "# a comment\na: 1\nb:\n  c: {d: 2,\n    e: 3}\n  f:\n  - g: 4\n\n    h: 5\n"
    found = parse_yaml(text, source="x")
    assert found == {"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": [{"g": 4, "h": 5}]}}
    assert (found.line, found.lines) == (2, {"a": 2, "b": 3})
    inner = found["b"]
    assert (inner.line, inner.lines) == (4, {"c": 4, "f": 6})
    assert (inner["c"].line, inner["c"].lines) == (4, {"d": 4, "e": 5})
    entry = inner["f"][0]
    assert (entry.line, entry.lines) == (7, {"g": 7, "h": 9})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: .nan\n", "x.yaml, line 2: b: nan is"),
        ("a:\n  b:\n    c: 2020-01-01\n", "x.yaml, line 3: a: b: c: "),
        ("a:\n- b: 1\n- b: .inf\n", "x.yaml, line 3: a: b: inf is"),
        ("a: 1\n\n1.5: 2\n", "x.yaml, line 1: the key 1.5"),
    ],
)
def test_strange_values_are_refused_with_their_line(text, place):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, source="x.yaml")
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (".nan", "--set x: nan is not allowed"),
        ("{a: [1, .inf]}", "--set x: a: inf is not allowed"),
        ("99999999999999999999", "--set x: a whole number beyond"),
        ("*x", "--set x: an alias"),
        ("[1", "--set x: not valid YAML: "),
    ],
)
def test_what_stands_in_no_file_is_refused_without_a_line(value, said):
    with pytest.raises(SpecError) as caught:
        parse_value(value, source="--set x")
    assert str(caught.value).startswith(said)
    assert "line" not in str(caught.value)
