import hashlib
import json
import os
import shutil

import pytest

from t2f.data import content
from t2f.data.content import differences, read_content
from t2f.data.images import CropOptions
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.splits import split_of
from t2f.errors import DataError
from tests.t2f.data.layouts import picture_bytes, write_webdataset
from tests.t2f.data.sources import write_pictures, write_source


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source")


@pytest.fixture
def folder(tmp_path):
    return write_pictures(tmp_path / "further", "a/x.png", "b/y.png", "z.png")


def read(source, folder=None, *, crop=None, known=None, **options):
    uncaptioned = None if folder is None else Uncaptioned(folder=folder, crop=crop)
    plain = PrepareOptions(max_resolution=8, **options).plain("imagefolder")
    return read_content(source, format="imagefolder", options=plain, uncaptioned=uncaptioned, known=known)


def ids(found):
    return [example.image_id for example in found.uncaptioned.examples]


def test_the_key_of_data_without_uncaptioned_pictures_stays_what_it_was(tmp_path):
    (tmp_path / "one.png").write_bytes(b"1")
    entry = {"file_name": "one.png", "text": "a man", "split": "train", "attributes": {"hair": "red"}}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(entry))
    # Computed by the program of before there were any.
    assert read(tmp_path).key == "9f594e73dc165eb7ad5dd8d1cd77898fbdff3c3675341374bdbbba6d534ca433"


def test_the_key_covers_every_uncaptioned_picture_and_its_crop(source, folder, tmp_path):
    keys = [read(source).key, read(source, folder).key]
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert read(source, tmp_path / "elsewhere").key == keys[1], "where they lie does not matter"
    assert read(source, folder, crop=CropOptions.parse("square")).key == keys[1], "that is the source's crop anyway"
    keys.append(read(source, folder, crop=CropOptions.parse("fraction:0.5")).key)
    write_pictures(folder, "new.png", seed=2)
    keys.append(read(source, folder).key)
    write_pictures(folder, "new.png", seed=3)
    keys.append(read(source, folder).key)
    (folder / "new.png").rename(folder / "newer.png")
    keys.append(read(source, folder).key)
    assert len(set(keys)) == len(keys) == 6
    (folder / "newer.png").unlink()
    assert read(source, folder).key == keys[1]


def test_pictures_of_the_source_are_left_out_by_content_whatever_their_name(source, folder):
    shutil.copy(source / "faces" / "3.png", folder / "held-out.png")
    found = read(source, folder)
    assert ids(found) == ["uncaptioned:a/x.png", "uncaptioned:b/y.png", "uncaptioned:z.png"]
    assert found.counts == {"found": 4, "same_content": 1, "same_name": 0}


def test_pictures_of_the_source_are_left_out_by_name_whatever_their_content(tmp_path):
    source = write_source(tmp_path / "source", 2)
    metadata = source / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("faces/1.png", "faces/Ann_0001.png"))
    (source / "faces" / "1.png").rename(source / "faces" / "Ann_0001.png")
    folder = write_pictures(tmp_path / "further", "Ann/ann_0001.PNG", "Ann/Ann_0002.png")
    found = read(source, folder)
    assert ids(found) == ["uncaptioned:Ann/Ann_0002.png"]
    assert found.counts == {"found": 2, "same_content": 0, "same_name": 1}


def test_a_picture_that_is_left_out_may_change_without_changing_the_key(source, folder):
    key = read(source, folder).key
    write_pictures(folder, "3.png")
    assert read(source, folder).key == key


def test_missing_pictures_are_not_taken_for_one_another(source, folder):
    (source / "faces" / "3.png").unlink()
    (folder / "z.png").unlink()
    (folder / "z.png").symlink_to("nowhere.png")
    assert read(source, folder).counts["same_content"] == 0


def test_a_folder_of_nothing_new_is_refused(source):
    with pytest.raises(DataError, match=r"all 12 pictures in .*faces are in .*source too \(12 with the same"):
        read(source, source / "faces")


@pytest.mark.parametrize("name", ["nowhere", "metadata.jsonl"])
def test_what_is_no_folder_is_named(source, name):
    with pytest.raises(DataError, match=f"--uncaptioned .*{name} is no folder; give a folder that holds pictures"):
        read(source, source / name)


def test_only_files_that_changed_are_read_again(source, folder, monkeypatch):
    known = read(source, folder).recorded()
    seen = []
    real = content.sha256_of_file
    monkeypatch.setattr(content, "sha256_of_file", lambda path, span: seen.append(path.name) or real(path, span))
    key = read(source, folder, known=known).key
    assert seen == []
    os.utime(folder / "z.png", ns=(1, 1))
    os.utime(source / "faces" / "2.png", ns=(1, 1))
    assert read(source, folder, known=known).key == key
    assert sorted(seen) == ["2.png", "z.png"]


@pytest.mark.parametrize(
    "known", [None, [], {"root": 1}, {"hashes": []}, {"hashes": {"faces/1.png": 7}, "uncaptioned": []}], ids=str
)
def test_what_cannot_be_known_again_is_read(source, folder, known):
    if known and "hashes" in known:
        known = {"root": str(source), **known}
    assert read(source, folder, known=known).key == read(source, folder).key


def test_parts_of_a_tar_have_hashes_of_their_own(tmp_path):
    write_webdataset(tmp_path)
    plain = PrepareOptions(max_resolution=8).plain("webdataset")
    first = read_content(tmp_path, format="webdataset", options=plain, uncaptioned=None, known=None)
    hashes = {first.source.sha256(example) for example in first.source.examples}
    assert len(hashes) == 8
    assert hashlib.sha256(picture_bytes(3)).hexdigest() in hashes
    assert first.source.changed_files() == []
    os.utime(tmp_path / "faces-val-0000.tar", ns=(1, 1))
    assert first.source.changed_files() == ["faces-val-0000.tar"]
    again = read_content(tmp_path, format="webdataset", options=plain, uncaptioned=None, known=first.recorded())
    assert again.key == first.key


def test_what_changed_is_said(source, folder):
    before = read(source, folder)

    def said():
        return differences(before.recorded(), read(source, folder))

    metadata = source / "metadata.jsonl"
    text = metadata.read_text()
    metadata.write_text(text.replace("red hair.", "red hair!", 1))
    assert said() == "its pictures are the same, but captions, splits or attributes are not"
    metadata.write_text(text)
    write_pictures(source, "faces/1.png", "faces/2.png", seed=9)
    (source / "faces" / "3.png").unlink()
    write_pictures(folder, "new.png", seed=2)
    assert said() == (
        "2 pictures are changed, such as faces/1.png; 1 picture is gone, such as faces/3.png; "
        "1 picture is new, such as uncaptioned:new.png"
    )


def test_twins_are_kept_together_and_the_key_says_so(tmp_path):
    source = write_source(tmp_path / "source", 40, splits=False)
    key = read(source).key
    for number in range(1, 40, 2):
        shutil.copy(source / "faces" / f"{number - 1}.png", source / "faces" / f"{number}.png")
    found = read(source)
    options = PrepareOptions()
    splits = {example.image_id: split_of(example, options) for example in found.source.examples}
    for number in range(1, 40, 2):
        assert splits[f"faces/{number}.png"] == splits[f"faces/{number - 1}.png"]
    assert found.key != key


def test_pictures_that_the_source_holds_out_and_trains_on_are_left_out(tmp_path):
    source = write_source(tmp_path / "source", 12)
    shutil.copy(source / "faces" / "3.png", source / "faces" / "4.png")  # test and train
    found = read(source)
    assert "faces/4.png" not in {example.image_id for example in found.source.examples}
    assert len(found.source.examples) == 11
