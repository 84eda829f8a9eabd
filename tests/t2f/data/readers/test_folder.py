import os

import pytest

from t2f.data.readers import Example, read_source
from t2f.errors import DataError


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
