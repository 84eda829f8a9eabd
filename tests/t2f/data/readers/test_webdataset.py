import io
import json
import tarfile

import pytest

from t2f.data.images import open_image
from t2f.data.readers import read_all, read_source
from t2f.errors import DataError
from tests.t2f.data.layouts import picture_bytes, tar_of, write_webdataset

PICTURE = picture_bytes(0)


def kinds(root):
    return [problem.kind for problem in read_all("webdataset", root).problems]


def test_a_picture_is_read_where_it_lies_in_the_tar(tmp_path):
    write_webdataset(tmp_path)
    for example in read_source("webdataset", tmp_path):
        number = int(example.image_id.rpartition("/")[2])
        offset, size = example.span
        assert example.path.read_bytes()[offset : offset + size] == picture_bytes(number)
        assert open_image(example.path, example.span).size == (16, 16)
        assert example.captions == (f"face {number}",)


def test_samples_go_by_the_name_up_to_the_first_dot(tmp_path):
    meta = json.dumps({"captions": ["one", "two"], "split": "test", "attributes": {"hair": "red"}, "width": 3})
    tar_of(
        tmp_path / "a" / "shard.tar",
        [("x/1.b.jpg", b"no"), ("x/1.JPEG", PICTURE), ("x/1.json", meta.encode()), ("x/1.cls", b"0")],
    )
    problems = read_all("webdataset", tmp_path).problems
    assert [problem.kind for problem in problems] == []
    (example,) = read_source("webdataset", tmp_path)
    assert example.image_id == "a/shard/x/1"
    assert (example.captions, example.split, example.attributes) == (("one", "two"), "test", {"hair": "red"})


def test_one_picture_may_be_in_two_shards(tmp_path):
    for name in ("a", "b"):
        tar_of(tmp_path / f"{name}.tar", [("0.jpg", PICTURE), ("0.txt", b"a face")])
    assert [example.image_id for example in read_source("webdataset", tmp_path)] == ["a/0", "b/0"]


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ([("../0.jpg", PICTURE)], "bad file name"),
        ([("/0.jpg", PICTURE)], "bad file name"),
        ([("0.jpg", PICTURE), ("0.jpg", PICTURE), ("0.txt", b"a")], "duplicate id"),
        ([("0.jpg", PICTURE), ("0.png", PICTURE), ("0.txt", b"a")], "two pictures of one name"),
        ([("0.txt", b"a face")], "caption without a picture"),
        ([("0.jpg", PICTURE), ("0.txt", b"na\xefve")], "caption that is not UTF-8"),
        ([("0.jpg", PICTURE), ("0.txt", b"\n")], "no caption"),
        ([("0.jpg", PICTURE), ("0.txt", b"a" * 2**21)], "caption too long"),
        ([("0.jpg", PICTURE), ("0.json", b"{")], "line that is not JSON"),
        ([("0.jpg", PICTURE), ("0.json", b"[]")], "entry of a wrong type"),
        ([("0.jpg", PICTURE), ("0.json", b'{"width": 1}')], "no caption"),
        ([("0.jpg", PICTURE), ("0.json", b'{"text": 5}')], "caption of a wrong type"),
    ],
)
def test_bad_members_are_told_apart(tmp_path, members, kind):
    tar_of(tmp_path / "shard.tar", [("good.jpg", PICTURE), ("good.txt", b"a face"), *members])
    assert kinds(tmp_path) == [kind]


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files_are_refused(tmp_path, type):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        info = tarfile.TarInfo("0.jpg")
        info.type, info.linkname = type, "/etc/passwd"
        tar.addfile(info)
    assert kinds(tmp_path) == ["member that is no file"]


def test_nothing_is_unpacked(tmp_path):
    tar_of(tmp_path / "in" / "shard.tar", [("../../out.jpg", PICTURE), ("0.jpg", PICTURE), ("0.txt", b"a")])
    read_all("webdataset", tmp_path / "in")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "shard.tar"]


@pytest.mark.parametrize("keep", [300, 700, 1500])
def test_a_tar_that_ends_early_is_named(tmp_path, keep):
    write_webdataset(tmp_path)
    shard = tmp_path / "faces-train-0000.tar"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"faces-train-0000\.tar"):
        [open_image(example.path, example.span) for example in read_source("webdataset", tmp_path)]


def test_other_files_named_tar_and_compressed_ones_are_named(tmp_path):
    (tmp_path / "a.tar").write_text("hello")
    with pytest.raises(DataError, match="is damaged or no tar"):
        read_source("webdataset", tmp_path)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("0.jpg")
        info.size = len(PICTURE)
        tar.addfile(info, io.BytesIO(PICTURE))
    with pytest.raises(DataError, match=r"b\.tar\.gz is compressed.*gunzip"):
        read_source("webdataset", tmp_path)
