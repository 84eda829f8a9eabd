import pytest

from t2f.data.readers import read_source
from t2f.errors import DataError
from tests.t2f.data.layouts import write_lfw, write_picture


def test_names_with_spaces_lead_to_their_folders(tmp_path):
    write_lfw(tmp_path)
    first, second, *_ = read_source("lfw", tmp_path)
    assert (first.image_id, first.identity) == ("Aaron_B_C/Aaron_B_C_0001", "Aaron_B_C")
    assert second.path == tmp_path / "lfw/Ann_Marie_1/Ann_Marie_1_0001.jpg"
    assert first.attributes["Male"] == "yes"
    assert second.attributes["Male"] == "no"


def test_without_attributes_there_are_no_captions(tmp_path):
    write_lfw(tmp_path)
    (tmp_path / "lfw_attributes.txt").unlink()
    examples = read_source("lfw", tmp_path / "lfw")
    assert [example.image_id for example in examples] == sorted(example.image_id for example in examples)
    assert {example.captions for example in examples} == {()}
    assert [example.image_id for example in read_source("lfw", tmp_path)] == [e.image_id for e in examples]


def test_pictures_without_attributes_are_left_out_and_counted(tmp_path, caplog):
    write_lfw(tmp_path)
    write_picture(tmp_path / "lfw" / "New_One" / "New_One_0001.jpg", 99, side=130)
    assert len(read_source("lfw", tmp_path)) == 8
    assert "1 pictures have no row there and were left out, such as 'New_One_0001.jpg'" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("#\tperson", "#person"), "no line '#<tab>person<tab>imagenum"),
        (lambda text: text.replace("\t1.25", "", 1), "line 3: 10 cells where 11 must be"),
        (lambda text: text.replace("1.25", "much", 1), "line 3: not a number"),
        (lambda text: text.replace("\t1\t", "\t-1\t", 1), "imagenum -1 is not allowed"),
        (lambda text: text.replace("Aaron B C", "../../x", 1), r"without '\.\.'"),
        (lambda text: text + text.splitlines()[-1] + "\n", "is there twice"),
    ],
    ids=["header", "cells", "number", "imagenum", "escape", "repeated"],
)
def test_bad_attributes_are_named(tmp_path, change, reason):
    write_lfw(tmp_path)
    source = tmp_path / "lfw_attributes.txt"
    source.write_text(change(source.read_text()))
    with pytest.raises(DataError, match=reason):
        read_source("lfw", tmp_path)


def test_other_folders_are_not_lfws(tmp_path):
    write_picture(tmp_path / "a" / "b_0001.jpg", 1)
    with pytest.raises(DataError, match="holds no folders of LFW's form"):
        read_source("lfw", tmp_path)
