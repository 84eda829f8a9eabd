import json
import os
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from t2f.data import readers
from t2f.data.readers import MAX_CAPTION_CHARACTERS, Example, read_source
from t2f.errors import DataError


def write_lines(root, *entries):
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_face2text(root, entries, name="clean.json"):
    (root / name).write_text(entries if isinstance(entries, str) else json.dumps(entries), encoding="utf-8")


# imagefolder


def test_imagefolder_takes_text_caption_or_texts(tmp_path):
    write_lines(
        tmp_path,
        {"file_name": "a/1.jpg", "text": "  a  man\n", "split": "train", "attributes": {"hair": "red", "hat": True}},
        "",
        {"file_name": "2.png", "caption": "naïve\u2028woman", "split": "dev", "attributes": {"hair": "grey", "hat": 0}},
        {
            "file_name": "./3.png",
            "texts": ["one", "two", "one"],
            "split": "test",
            "attributes": {"hair": "b", "hat": "c"},
        },
    )
    first, second, third = read_source("imagefolder", tmp_path)
    assert first == Example(
        image_id="a/1.jpg",
        path=tmp_path / "a/1.jpg",
        captions=("a man",),
        split="train",
        attributes={"hair": "red", "hat": "True"},
    )
    assert (second.captions, second.split) == (("naïve woman",), "validation")
    assert (third.image_id, third.captions) == ("3.png", ("one", "two"))


def test_lines_of_one_image_are_put_together(tmp_path):
    write_lines(tmp_path, {"file_name": "a.png", "text": "one"}, {"file_name": "a.png", "text": "two"})
    assert [example.captions for example in read_source("imagefolder", tmp_path)] == [("one", "two")]
    write_lines(tmp_path, {"file_name": "a.png", "text": "b"}, {"file_name": "a.png", "text": "c", "split": "test"})
    with pytest.raises(DataError, match=r"line 2: a\.png is in line 1 too"):
        read_source("imagefolder", tmp_path)


def test_unknown_keys_are_counted_and_reported(tmp_path, caplog):
    write_lines(tmp_path, *({"file_name": f"{n}.png", "text": "a man", "colour": 1} for n in range(3)))
    assert len(read_source("imagefolder", tmp_path)) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'metadata.jsonl'}: the key 'colour' of 3 lines is not known and was ignored"
    ]


GOOD = {"file_name": "a.png", "text": "a man"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"file_name": ', "line 2: not JSON"),
        ("[1]", "is no object"),
        ("[" * 100_000, "line 2: not usable JSON"),
        (
            '{"file_name": "b.png", "text": "\\ud800 man"}',
            r"line 2, text: the caption holds U\+D800, half of a surrogate",
        ),
        ({"file_name": "b.png", "text": "a \x00man"}, r"U\+0000, a control character"),
        ({"file_name": "b.png", "text": ""}, "line 2, text: the caption is empty"),
        ({"file_name": "b.png", "text": " \n "}, "caption is empty"),
        ({"file_name": "b.png", "text": "a" * 2**20}, "has 1048576 characters; 10000 are allowed"),
        ({"file_name": "b.png", "text": 7}, "the caption is 7; it must be a text"),
        ({"file_name": "b.png"}, "line 2: b.png has no caption"),
        ({"file_name": "b.png", "text": "a", "caption": "b"}, "both 'text' and 'caption'"),
        ({"file_name": "b.png", "texts": []}, "line 2, texts"),
        ({"file_name": "b.png", "texts": "a man"}, "line 2, texts"),
        ({"text": "a man"}, "line 2, file_name: the image's name is None"),
        ({"file_name": "../b.png", "text": "a"}, r"without '\.\.'"),
        ({"file_name": "a/../../b.png", "text": "a"}, r"without '\.\.'"),
        ({"file_name": "/etc/passwd", "text": "a"}, "path below the source folder"),
        ({"file_name": "a\\b.png", "text": "a"}, "path below"),
        ({"file_name": "C:/b.png", "text": "a"}, "path below"),
        ({"file_name": "b\x00.png", "text": "a"}, "path below"),
        ({"file_name": ".", "text": "a"}, "path below"),
        (
            {"file_name": "b.png", "text": "a", "split": "trial"},
            "line 2, split: 'trial' is not allowed; allowed: train",
        ),
        ({"file_name": "b.png", "text": "a", "split": "test"}, "only one of them names a split"),
        ({"file_name": "b.png", "text": "a", "attributes": []}, "line 2, attributes"),
        ({"file_name": "b.png", "text": "a", "attributes": {"hair": None}}, "line 2, attributes, 'hair': None"),
        ({"file_name": "b.png", "text": "a", "attributes": {"hair": "red"}}, "differ in the attributes hair"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_lines_are_named(tmp_path, entry, reason):
    write_lines(tmp_path, GOOD, entry)
    with pytest.raises(DataError, match=reason) as caught:
        read_source("imagefolder", tmp_path)
    assert len(str(caught.value)) < 600


def test_latin_1_is_named_with_its_line(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes(
        json.dumps(GOOD).encode() + b'\n{"file_name": "b.png", "text": "na\xefve"}'
    )
    with pytest.raises(DataError, match="line 2: byte 0xEF is not UTF-8"):
        read_source("imagefolder", tmp_path)


def test_the_longest_caption_is_allowed(tmp_path):
    write_lines(tmp_path, GOOD | {"text": "a" * MAX_CAPTION_CHARACTERS})
    assert len(read_source("imagefolder", tmp_path)[0].captions[0]) == MAX_CAPTION_CHARACTERS


# Face2Text


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


# A folder of pictures


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_is_read_with_all_folders_in_it(tmp_path, caplog):
    touch(tmp_path, "b.JPG", "a/c/deep.webp", "a/1.png", "z.jpeg", ".hidden.png", ".git/x.png", "a/._1.png")
    examples = read_source("folder", tmp_path)
    assert [example.image_id for example in examples] == ["a/1.png", "a/c/deep.webp", "b.JPG", "z.jpeg"]
    assert examples[1] == Example(image_id="a/c/deep.webp", path=tmp_path / "a/c/deep.webp", captions=())
    assert caplog.records == []


def test_files_that_are_no_pictures_are_counted_and_reported(tmp_path, caplog):
    touch(tmp_path, "a.png", "notes.txt", "old.bmp")
    os.mkfifo(tmp_path / "pipe.png")
    assert [example.image_id for example in read_source("folder", tmp_path)] == ["a.png"]
    (record,) = caplog.records
    assert "files that are no .jpg, .jpeg, .png or .webp were ignored: 3, such as 'notes.txt'" in record.getMessage()


@pytest.mark.parametrize("names", [(), ("notes.txt", ".hidden.png", "a/b/old.bmp")])
def test_a_folder_without_pictures_says_what_a_picture_is(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=r"holds no pictures \(\.jpg, \.jpeg, \.png or \.webp\)"):
        read_source("folder", tmp_path)


def test_links_inside_a_folder_are_read_once(tmp_path):
    faces = tmp_path / "faces"
    touch(faces, "a/1.png")
    (faces / "again").symlink_to(faces / "a")
    (faces / "a" / "round").symlink_to(faces)
    (faces / "a" / "2.png").symlink_to("1.png")
    (faces / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "link").symlink_to(faces)
    for root in (faces, tmp_path / "link"):
        examples = read_source("folder", root)
        # A link to nothing is a picture that is missing: found when it is decoded, like all of those.
        assert [example.image_id for example in examples] == ["a/1.png", "a/2.png", "a/gone.png"]
        assert examples[0].path == root / "a/1.png"


@pytest.mark.parametrize("target", ["secret.png", "more", "nowhere.png"])
def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path, target):
    touch(tmp_path, "in/1.png", "secret.png", "more/2.png")
    (tmp_path / "in" / "link.png").symlink_to(f"../{target}")
    with pytest.raises(DataError, match=r"link\.png is a link that leads out of .*in, to .*" + target):
        read_source("folder", tmp_path / "in")


def test_names_that_only_case_tells_apart_are_refused(tmp_path):
    touch(tmp_path, "faces/Ann.png", "faces/ann.PNG")
    if len(os.listdir(tmp_path / "faces")) == 1:
        pytest.skip("this disk does not tell upper from lower case itself")
    with pytest.raises(DataError, match=r"'faces/Ann\.png' and 'faces/ann\.PNG' are the same but for upper"):
        read_source("folder", tmp_path)


@pytest.mark.parametrize("name", [b"a\xff.png", b"a\n.png"])
def test_names_that_nobody_can_write_are_refused(tmp_path, name):
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(DataError, match="a control character or bytes that are not UTF-8; rename it"):
        read_source("folder", tmp_path)


# Formats


def test_unknown_formats_get_the_nearest_name(tmp_path):
    with pytest.raises(DataError, match=r"did you mean 'imagefolder'\? Known formats: face2text, folder, imagefolder"):
        read_source("image_folder", tmp_path)


@pytest.mark.parametrize("format", ["face2text", "folder", "imagefolder"])
def test_wrong_folders_are_named(tmp_path, format):
    with pytest.raises(DataError, match="give the folder that holds"):
        read_source(format, tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_source(format, tmp_path / "nowhere")


def read_twice(root):
    return [Example(image_id="a", path=root / "a.png", captions=("a man",))] * 2


def read_once(root):
    return read_twice(root)[:1]


def read_half_described(root):
    return [*read_once(root), Example(image_id="b", path=root / "b.png", captions=())]


REASONS = {
    "read_twice": "'a' is there twice",
    "read_half_described": "'b' has no caption, but others have; .*--uncaptioned",
    "no_such_function": "cannot be loaded",
}


@pytest.mark.parametrize("name", ["read_once", *REASONS])
def test_readers_of_others_come_by_entry_point_and_are_checked(tmp_path, monkeypatch, name):
    entries = [EntryPoint(name="mine", value=f"{__name__}:{name}", group="t2f.datasets")]
    monkeypatch.setattr(readers, "entry_points", lambda group: entries if group == "t2f.datasets" else [])
    if name == "read_once":
        assert read_source("mine", tmp_path)[0].path == Path(tmp_path / "a.png")
    else:
        with pytest.raises(DataError, match=REASONS[name]):
            read_source("mine", tmp_path)
