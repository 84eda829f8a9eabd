import os
import unicodedata

import pytest

from t2f.data.readers import read_source
from t2f.data.readers.example import EntryError, Example, merged, split_in_name
from t2f.data.readers.files import PictureFinder, file_in, folder_in
from t2f.errors import DataError
from tests.t2f.data.layouts import write_imagefolder, write_picture, write_text


def test_folders_and_files_are_found_in_any_case(tmp_path):
    (tmp_path / "TEXT" / "Celeba-Caption").mkdir(parents=True)
    (tmp_path / "TEXT" / "List.TXT").touch()
    assert folder_in(tmp_path, "none", "text/celeba-caption") == tmp_path / "TEXT" / "Celeba-Caption"
    assert file_in([None, tmp_path / "TEXT"], "list.txt") == tmp_path / "TEXT" / "List.TXT"
    assert folder_in(tmp_path, "text/list.txt") is None


def test_pictures_are_found_in_another_normal_form_and_case(tmp_path):
    decomposed = unicodedata.normalize("NFD", "José")
    write_picture(tmp_path / decomposed / f"{decomposed}.JPG", 1)
    write_picture(tmp_path / "b.png", 2)
    finder = PictureFinder(tmp_path)
    assert finder.find("José/José.jpg") == tmp_path / decomposed / f"{decomposed}.JPG"
    assert finder.find("b.PNG") == tmp_path / "b.png"
    assert finder.find("b.bmp", any_suffix=True) == tmp_path / "b.png"
    assert finder.find("b.jpg") == tmp_path / "b.jpg"  # missing, and no other picture in its place
    assert finder.find("none/c.bmp", any_suffix=True) == tmp_path / "none" / "c.jpg"


def test_captions_are_read_in_one_normal_form(tmp_path):
    write_picture(tmp_path / "a.png", 1)
    write_text(tmp_path / "a.txt", unicodedata.normalize("NFD", "José, naïve"))
    assert read_source("sidecar", tmp_path)[0].captions == ("José, naïve",)


@pytest.mark.parametrize("place", ["3.png", "sub/x.png"])
def test_a_picture_behind_a_link_that_leads_out_is_refused(tmp_path, place):
    root = tmp_path / "source"
    write_imagefolder(root)
    write_picture(tmp_path / "secret" / "x.png", 1)
    if place == "3.png":
        (root / "3.png").unlink()
        (root / "3.png").symlink_to(tmp_path / "secret" / "x.png")
    else:
        (root / "deep").mkdir()
        (root / "deep" / "sub").symlink_to(tmp_path / "secret")
        with (root / "metadata.jsonl").open("a") as file:
            file.write('{"file_name": "deep/sub/x.png", "text": "a face", "split": "train"}\n')
    with pytest.raises(DataError, match=r"\.png is a link that leads out of .*, to .*secret.*x\.png; copy the file"):
        read_source("imagefolder", root)


def test_a_folder_linked_into_the_top_of_a_source_is_part_of_it(tmp_path):
    root = tmp_path / "source"
    write_text(root / "metadata.jsonl", '{"file_name": "faces/x.png", "text": "a face"}\n')
    write_picture(tmp_path / "elsewhere" / "x.png", 1)
    (root / "faces").symlink_to(tmp_path / "elsewhere")
    assert read_source("imagefolder", root)[0].path == root / "faces" / "x.png"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_val2017.json", "validation"),
        ("faces-TRAIN-0001.tar", "train"),
        ("training.tar", "train"),
        ("test_of_train.tar", None),
        ("latest.tar", None),
    ],
)
def test_splits_in_names(name, split):
    assert split_in_name(name) == split


def test_entries_of_one_image_are_merged_in_order(tmp_path):
    def example(name, caption, **more):
        return Example(image_id=name, path=tmp_path, captions=(caption,), **more)

    bad = EntryError("kind", "words")
    found = [
        ("x.json, entry 1", example("a", "one")),
        ("x.json, entry 2", bad),
        ("x.json, entry 3", example("b", "two")),
        ("x.json, entry 4", example("a", "three")),
        ("x.json, entry 5", example("a", "one")),
        ("y.json, entry 1", example("b", "four", split="test")),
    ]
    first, second, *examples = merged(found)
    assert first is bad
    assert str(second).startswith("y.json, entry 1: b is in x.json, entry 3 too, with another split")
    assert [(one.image_id, one.captions) for one in examples] == [("a", ("one", "three")), ("b", ("two",))]


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    lines = ['{"file_name": "a.png"}'] * 25 + ["{"]
    write_text(tmp_path / "metadata.jsonl", "\n".join(lines))
    with pytest.raises(DataError, match="26 entries of .* cannot be used; mend or remove them") as caught:
        read_source("imagefolder", tmp_path)
    assert str(caught.value).count("has no caption") == 20
    assert "and 6 more" in str(caught.value)


def test_a_folder_that_is_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "metadata.jsonl")
    with pytest.raises(DataError, match=r"holds no metadata\.jsonl"):
        read_source("imagefolder", tmp_path)
