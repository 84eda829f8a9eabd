from collections import Counter
from pathlib import Path

from t2f.data.options import PrepareOptions
from t2f.data.readers import Example
from t2f.data.splits import split_of, with_validation, without_leaks

OPTIONS = PrepareOptions(validation_fraction=0.2, test_fraction=0.2)


def example(name, split=None):
    return Example(image_id=name, path=Path(name), captions=("x",), split=split)


def test_pictures_of_one_content_are_in_one_split():
    examples = [example(f"{number}.png") for number in range(400)]
    contents = {one.image_id: str(number // 4) for number, one in enumerate(examples)}
    assert len({split_of(one, OPTIONS) for one in examples[:40]}) > 1
    together = without_leaks(examples, lambda one: contents[one.image_id], OPTIONS)
    assert [one.image_id for one in together] == [one.image_id for one in examples]
    splits = {}
    for one in together:
        splits.setdefault(contents[one.image_id], set()).add(split_of(one, OPTIONS))
    assert {len(found) for found in splits.values()} == {1}
    assert {found for group in splits.values() for found in group} == {"train", "validation", "test"}


def test_pictures_without_twins_keep_their_splits():
    examples = [example(f"{number}.png") for number in range(50)]
    assert without_leaks(examples, lambda one: one.image_id, OPTIONS) == examples
    assert without_leaks(examples, lambda one: None, OPTIONS) == examples, "missing pictures are not one picture"


def test_the_sources_own_splits_are_kept_and_leaks_left_out(caplog):
    examples = [example("a", "train"), example("b", "test"), example("c", "train"), example("d", "validation")]
    contents = {"a": "1", "b": "1", "c": "2", "d": "2"}
    kept = without_leaks(examples, lambda one: contents[one.image_id], OPTIONS)
    assert [(one.image_id, one.split) for one in kept] == [("b", "test"), ("d", "validation")]
    assert "2 pictures are in another, held-out split too, by content, and were left out, such as a" in caplog.text
    same_split = [example("a", "train"), example("b", "train")]
    assert without_leaks(same_split, lambda one: "1", OPTIONS) == same_split


def test_validation_comes_out_of_training_where_a_source_names_none():
    examples = [example(f"{number}", "test" if number % 5 == 0 else "train") for number in range(1000)]
    found = with_validation(examples, OPTIONS)
    counts = Counter(one.split for one in found)
    assert counts["test"] == 200
    assert abs(counts["validation"] - 0.2 * 800) < 40
    for before, after in zip(examples, found, strict=True):
        assert before.split == after.split or (before.split, after.split) == ("train", "validation")
    fewer = with_validation(examples[:500], OPTIONS)
    assert fewer == found[:500], "it stays when other images come"


def test_validation_is_left_alone_where_there_is_one_or_none_is_wanted():
    for examples in ([example("a"), example("b")], [example("a", "train"), example("b", "validation")]):
        assert with_validation(examples, OPTIONS) == examples
    none = PrepareOptions(validation_fraction=0)
    examples = [example(f"{number}", "train") for number in range(50)]
    assert with_validation(examples, none) == examples
