import json

import pytest

from t2f.data.readers import read_all, read_source
from t2f.errors import DataError
from tests.t2f.data.layouts import write_coco, write_picture, write_text

TRAIN = "annotations/captions_train2017.json"


def changed(root, change):
    content = json.loads((root / TRAIN).read_text())
    change(content)
    (root / TRAIN).write_text(json.dumps(content))


def test_pictures_lie_in_the_folder_of_their_annotations(tmp_path):
    write_coco(tmp_path)
    examples = read_source("coco", tmp_path)
    assert examples[0].image_id == "train2017/000000000000.jpg"
    assert examples[0].captions == ("face 0 0", "face 0 1")
    assert [example.split for example in examples] == ["train"] * 6 + ["validation"] * 2


def test_one_file_beside_its_pictures_names_no_split(tmp_path):
    images = [{"id": "a", "file_name": "x.jpg"}]
    annotations = [{"id": 1, "image_id": "a", "caption": "a face"}]
    write_text(tmp_path / "captions.json", json.dumps({"images": images, "annotations": annotations}))
    write_picture(tmp_path / "x.jpg", 1)
    (example,) = read_source("coco", tmp_path)
    assert (example.image_id, example.path, example.split) == ("x.jpg", tmp_path / "x.jpg", None)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda c: c["images"].append(c["images"][0]), "duplicate id"),
        (lambda c: c["images"].append({"id": 9, "file_name": "000000000000.jpg"}), "no caption"),
        (lambda c: c["images"].append({"id": True, "file_name": "x.jpg"}), "entry of a wrong type"),
        (lambda c: c["images"].append(7), "entry of a wrong type"),
        (lambda c: c["images"][0].update(file_name="../x.jpg"), "bad file name"),
        (lambda c: c["images"][0].update(file_name=5), "bad file name"),
        (lambda c: c["annotations"].append({"image_id": 77, "caption": "a face"}), "caption without a picture"),
        (lambda c: c["annotations"].append({"caption": "a face"}), "entry of a wrong type"),
        (lambda c: c["annotations"].append([]), "entry of a wrong type"),
        (lambda c: c["annotations"][0].update(caption=" "), "empty caption"),
        (lambda c: c["annotations"][0].update(caption=["a"]), "caption of a wrong type"),
        (lambda c: c["annotations"][0].update(caption="x" * 20_000), "caption too long"),
        (lambda c: c["annotations"][0].update(caption="\ud800"), "caption that is no plain text"),
    ],
)
def test_bad_entries_are_told_apart(tmp_path, change, kind):
    write_coco(tmp_path)
    changed(tmp_path, change)
    reading = read_all("coco", tmp_path)
    assert [problem.kind for problem in reading.problems] == [kind]
    assert "captions_train2017.json" in str(reading.problems[0])


@pytest.mark.parametrize("content", ['{"info": {}}', '{"images": {}, "annotations": []}'])
def test_a_file_without_the_two_lists_is_named(tmp_path, content):
    write_text(tmp_path / TRAIN, content)
    with pytest.raises(DataError, match='must be an object with the lists "images" and "annotations"'):
        read_source("coco", tmp_path)
