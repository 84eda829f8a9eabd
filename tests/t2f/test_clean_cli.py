"""Cleaning as a user types it."""

import json

import pytest

from tests.t2f.data.sources import write_source


@pytest.fixture
def source(tmp_path):
    source = write_source(tmp_path / "faces", 4, attributes=False)
    metadata = source / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("a person with red", "probably an ugly [x] man with red", 1))
    return source


def test_clean_says_what_goes_and_changes_nothing(t2f, source, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = t2f("data", "clean", source)
    assert "captions cleaned (strict, rules built-in" in said
    assert "1 of 8 changed, 4 rejected" in said
    assert "probably an ugly [x] man with red hair" in said
    assert "(rejected: too short)" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_clean_prints_json_and_nothing_else(t2f, source):
    found = json.loads(t2f("data", "clean", source, "--json", "--mode", "light"))
    assert (found["mode"], found["captions"], found["removed"]) == ("light", 8, {"abuse": 1})


def test_clean_writes_the_review(t2f, source, tmp_path):
    page = tmp_path / "new" / "review.html"
    assert "5 captions before and after" in t2f("data", "clean", source, "--review", page)
    assert '<del class="abuse" title="abuse">ugly</del>' in page.read_text()


def test_clean_goes_by_own_rules(t2f, source, tmp_path):
    (tmp_path / "mine.yaml").write_text("without: {remove: {abuse: {word: [ugly]}}}")
    found = json.loads(t2f("data", "clean", source, "--rules", tmp_path / "mine.yaml", "--json"))
    assert "abuse" not in found["removed"]
    assert found["rules"] == "mine.yaml"


def test_prepare_cleans(t2f, source):
    said = t2f("data", "prepare", source, "--clean", "strict", "--resolution", "8", "--judge-steps", "5")
    assert "1 of 8 changed, 4 rejected" in said


def test_what_cannot_be_is_refused(t2f, source, tmp_path):
    assert "'harsh' is not known; allowed: off, light, strict" in t2f(
        "data", "clean", source, "--mode", "harsh", code=2
    )
    assert "give a file that ends in .html" in t2f("data", "clean", source, "--review", "page.txt", code=2)
    assert "cannot be written" in t2f("data", "clean", source, "--review", source / "metadata.jsonl" / "x.html", code=2)
    assert "cannot be read" in t2f("data", "clean", source, "--rules", tmp_path / "none.yaml", code=2)
    assert "without --clean" in t2f("data", "prepare", source, "--clean-rules", tmp_path / "mine.yaml", code=2)
    assert "'hard' is not known" in t2f("data", "prepare", source, "--clean", "hard", code=2)
    assert "holds no captions" in t2f("data", "clean", source / "faces", "--format", "folder", code=2)
