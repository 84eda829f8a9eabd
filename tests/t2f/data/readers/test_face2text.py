import json

import pytest

from t2f.data.readers import read_source
from t2f.errors import DataError


def write_face2text(root, entries, name="clean.json"):
    (root / name).write_text(entries if isinstance(entries, str) else json.dumps(entries), encoding="utf-8")


def entry(image, *texts):
    return {"img_id": 1, "image": image, "descriptions": [{"desc_id": n, "text": text} for n, text in enumerate(texts)]}


def test_face2text_finds_the_picture_behind_the_bmp(tmp_path):
    for name in ("A_B/A_B_0001.jpg", "C/C_0001.png"):
        (tmp_path / "lfw" / name).parent.mkdir(parents=True)
        (tmp_path / "lfw" / name).touch()
    write_face2text(
        tmp_path,
        [
            entry("A_B/A_B_0001.bmp", "a man", "a  bald man"),
            entry("C/C_0001.bmp", "x"),
            entry("D/D.bmp", "y"),
            entry("A_B/A_B_0001.bmp", "an old man", "a man"),
        ],
    )
    first, second, third = read_source("face2text", tmp_path)
    assert (first.image_id, first.path) == ("A_B/A_B_0001", tmp_path / "lfw/A_B/A_B_0001.jpg")
    assert first.captions == ("a man", "a bald man", "an old man")
    assert second.path.name == "C_0001.png"
    assert third.path == tmp_path / "lfw/D/D.jpg"  # missing: found when it is decoded
    assert first.split is None


def test_raw_json_is_read_where_there_is_no_clean_one(tmp_path):
    write_face2text(tmp_path, [entry("A/A.bmp", "raw")], "raw.json")
    assert read_source("face2text", tmp_path)[0].captions == ("raw",)
    write_face2text(tmp_path, [entry("A/A.bmp", "clean")])
    assert read_source("face2text", tmp_path)[0].captions == ("clean",)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("", r"clean\.json, line 1: not JSON"),
        ("[\n{},\n]", r"clean\.json, line 3: not JSON"),
        ({"a": 1}, "must be a list of images"),
        ([], "holds no images"),
        ([entry("A/A.bmp", "x"), {"image": "B.bmp"}], "entry 2"),
        ([entry("A/A.bmp")], r"A/A\.bmp has no description"),
        ([entry("A/A.bmp", "x", "")], r"entry 1 \(A/A\.bmp\), description 2: the caption is empty"),
        ([entry("../A.bmp", "x")], "entry 1, image"),
        ([entry(None, "x")], "entry 1, image"),
    ],
)
def test_bad_face2text_is_named(tmp_path, entries, reason):
    write_face2text(tmp_path, entries)
    with pytest.raises(DataError, match=reason):
        read_source("face2text", tmp_path)
