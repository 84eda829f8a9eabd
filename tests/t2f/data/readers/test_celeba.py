import json

import pytest

from t2f.data.readers import read_all, read_source
from t2f.data.readers.celeba import read_list
from t2f.errors import DataError
from tests.t2f.data.layouts import (
    CELEBA_NAMES,
    celeba_values,
    write_celeba,
    write_celeba_dialog,
    write_celeba_of_kaggle,
    write_face2text_21,
    write_text,
)


def test_attributes_splits_and_identities_of_celeba(tmp_path):
    write_celeba(tmp_path)
    first, *_, last = read_source("celeba", tmp_path)
    assert (first.image_id, first.split, last.split) == ("000001.jpg", "train", "test")
    assert (first.identity, last.identity) == ("2000", "2007")
    truth = {name: "yes" if value == 1 else "no" for name, value in zip(CELEBA_NAMES, celeba_values(0), strict=True)}
    assert first.attributes == truth


def test_the_twins_of_kaggle_say_the_same(tmp_path):
    write_celeba(tmp_path / "txt")
    write_celeba_of_kaggle(tmp_path / "csv")
    for one, other in zip(
        read_source("celeba", tmp_path / "txt"), read_source("celeba", tmp_path / "csv"), strict=True
    ):
        assert (one.image_id, one.captions, one.split) == (other.image_id, other.captions, other.split)
        assert one.attributes == other.attributes


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (
            "Anno/list_attr_celeba.txt",
            lambda text: text.replace("8\n", "9\n", 1),
            "line 1 says 9 pictures, but 8 follow",
        ),
        ("Anno/list_attr_celeba.txt", lambda text: text[: len(text) // 2], r"line 5: \d+ values where"),
        ("Anno/list_attr_celeba.txt", lambda text: text.replace("000003", "000002"), "000002.jpg is in line 4 too"),
        (
            "Anno/list_attr_celeba.txt",
            lambda text: text.replace(" 1", " 2", 1),
            "000001.jpg|is '2'; it must be 1 or -1",
        ),
        ("Eval/list_eval_partition.txt", lambda text: text.replace(".jpg 2", ".jpg 3"), "partition '3' is not allowed"),
        ("Eval/list_eval_partition.txt", lambda text: "", "holds no row"),
        ("Anno/identity_CelebA.txt", lambda text: text.replace("2003", "2003 4"), "line 4: 2 values"),
    ],
    ids=str,
)
def test_bad_lists_are_named(tmp_path, file, change, reason):
    write_celeba(tmp_path)
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(change(text))
    with pytest.raises(DataError, match=reason):
        read_source("celeba", tmp_path)


def test_a_name_that_leads_out_is_refused(tmp_path):
    write_celeba_of_kaggle(tmp_path)
    (tmp_path / "list_eval_partition.csv").unlink()
    source = tmp_path / "list_attr_celeba.csv"
    source.write_text(source.read_text().replace("000003.jpg", "../3.jpg"))
    with pytest.raises(DataError, match=r"line 4: the image's name is '\.\./3\.jpg'; it must be"):
        read_source("celeba", tmp_path)


def test_pictures_in_no_partition_are_left_out_and_counted(tmp_path, caplog):
    write_celeba(tmp_path)
    partition = tmp_path / "Eval" / "list_eval_partition.txt"
    partition.write_text("".join(partition.read_text().splitlines(keepends=True)[:6]))
    assert len(read_source("celeba", tmp_path)) == 6
    assert "2 pictures are in no split" in caplog.text


def test_a_list_without_names_needs_as_many_values_in_every_row(tmp_path):
    write_text(tmp_path / "list.txt", "a.jpg 1 2\nb.jpg 3 4\n")
    assert read_list(tmp_path / "list.txt") == ([], [(1, "a.jpg", ["1", "2"]), (2, "b.jpg", ["3", "4"])])
    write_text(tmp_path / "list.txt", "a.jpg 1 2\nb.jpg 3\n")
    with pytest.raises(DataError, match="line 2: 1 values where a picture's file name and 2 values must be"):
        read_list(tmp_path / "list.txt")


# Face2Text 2.1


def test_face2text_21_puts_the_responses_of_a_picture_together(tmp_path):
    write_face2text_21(tmp_path)
    examples = read_source("face2text-2.1", tmp_path)
    assert examples[0].captions == ("face 0, response 0", "face 0, response 1")
    assert [example.split for example in examples].count("validation") == 2
    (tmp_path / "clean_dev_2.1.json").unlink()
    with pytest.raises(DataError, match=r"lacks clean_dev_2\.1\.json"):
        read_source("face2text-2.1", tmp_path)


def test_face2text_21_raw_has_no_splits(tmp_path):
    write_face2text_21(tmp_path)
    (tmp_path / "clean_train_2.1.json").rename(tmp_path / "raw_2.1.json")
    for name in ("dev", "test"):
        (tmp_path / f"clean_{name}_2.1.json").unlink()
    assert {example.split for example in read_source("face2text-2.1", tmp_path)} == {None}


def test_a_picture_in_two_splits_of_face2text_21_is_named_with_both_files(tmp_path):
    write_face2text_21(tmp_path)
    for name in ("dev", "test"):
        (tmp_path / f"clean_{name}_2.1.json").write_text((tmp_path / "clean_train_2.1.json").read_text())
    with pytest.raises(
        DataError, match=r"clean_dev_2\.1\.json, entry 1: 000000.jpg is in .*clean_train_2\.1\.json, ent"
    ):
        read_source("face2text-2.1", tmp_path)


# CelebA-Dialog


def test_celeba_dialog_has_captions_and_grades(tmp_path):
    write_celeba_dialog(tmp_path)
    examples = read_source("celeba-dialog", tmp_path)
    assert examples[3].captions == ("Face 3 smiles.",)
    assert examples[3].attributes == {"Bangs": "3", "Eyeglasses": "0", "Beard": "1", "Smiling": "2", "Age": "3"}
    assert "5380.jpg" not in {example.image_id for example in examples}


def test_captions_that_are_texts_or_wrong(tmp_path):
    write_celeba_dialog(tmp_path)
    source = tmp_path / "text" / "captions_hq.json"
    captions = json.loads(source.read_text())
    captions |= {"0.jpg": "a plain text", "1.jpg": {"overall_caption": None}, "2.jpg": {}}
    source.write_text(json.dumps(captions))
    reading = read_all("celeba-dialog", tmp_path)
    assert reading.examples[0].captions == ("a plain text",)
    assert [problem.kind for problem in reading.problems] == ["caption of a wrong type"] * 2
    del captions["7.jpg"]
    captions["8.jpg"] = "no grades"
    source.write_text(json.dumps(captions))
    with pytest.raises(DataError, match=r"'8\.jpg' has a caption, but no row in combined_annotation"):
        read_source("celeba-dialog", tmp_path)
