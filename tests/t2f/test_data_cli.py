"""The commands about data as a user types them."""

import json
import os
import re
import shutil

import pytest
from PIL import Image

from tests.t2f.data.layouts import LAYOUTS, write_celeba, write_imagefolder, write_sidecar, write_text


@pytest.fixture
def source(tmp_path):
    write_imagefolder(tmp_path / "faces")
    return tmp_path / "faces"


def test_inspect_says_format_counts_words_and_problems(t2f, source):
    said = t2f("data", "inspect", source)
    assert "format imagefolder, because it holds metadata.jsonl" in said
    assert "8, 8 captions, 1 each" in said
    assert "4 train, 2 validation, 2 test (the source names them)" in said
    assert "width 16, height 16 px; 8 RGB" in said
    assert "none found" in said
    (source / "3.png").unlink()
    said = t2f("data", "inspect", source)
    assert "missing picture: 1" in said
    assert f"{source / '3.png'} does not exist" in said


def test_names_that_look_like_markup_are_printed_as_they_are(t2f, tmp_path):
    source = tmp_path / "[red]faces"
    write_imagefolder(source)
    with (source / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "[/b] :cat:.png", "text": "a face", "split": "train"}\n')
    said = t2f("data", "inspect", source)
    assert f"{source}: format imagefolder" in said
    assert f"{source / '[/b] :cat:.png'} does not exist" in said


def test_a_source_of_which_no_picture_opens_has_no_sizes(t2f, tmp_path):
    write_text(tmp_path / "faces" / "0.png", "<html>")
    write_text(tmp_path / "faces" / "0.txt", "a face")
    said = t2f("data", "inspect", tmp_path / "faces")
    assert "pictures   none opens" in said
    assert "it holds HTML or XML" in said


def test_a_name_that_is_not_utf_8_is_named(t2f, source, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(source / "0.png", os.fsencode(folder) + b"/caf\xe9.png")
    said = t2f("data", "prepare", folder, code=2)
    assert "bytes that are not UTF-8; rename it" in said


def test_a_render_that_cannot_be_is_refused_dry_too(t2f, source, tmp_path):
    assert "count = -5" in t2f("data", "render-demo", tmp_path / "new", "--count", -5, "--dry-run", code=2)
    assert "holds no earlier demo render" in t2f("data", "render-demo", source, "--dry-run", code=2)


def test_inspect_prints_json_and_nothing_else(t2f, source):
    found = json.loads(t2f("data", "inspect", source, "--json"))
    assert (found["format"], found["images"], found["captions_per_image"]) == (
        "imagefolder",
        8,
        {"lowest": 1, "median": 1.0, "highest": 1},
    )
    assert found["problems"] == []
    assert "sheet" not in found


def test_inspect_writes_the_contact_sheet_and_nothing_else(t2f, source, tmp_path):
    before = sorted(source.iterdir())
    assert "8 pictures" in t2f("data", "inspect", source, "--sheet", tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width == 8 * 140 + 12
        assert sheet.height > 140
    assert sorted(source.iterdir()) == before
    assert not (tmp_path / "home").exists()
    assert "give a file that ends in .png" in t2f("data", "inspect", source, "--sheet", "x.gif", code=2)
    blocked = source / "0.png" / "sheet.png"
    assert "cannot be written" in t2f("data", "inspect", source, "--sheet", blocked, code=2)


def test_a_source_that_fits_twice_is_refused_until_a_format_is_said(t2f, tmp_path):
    write_sidecar(tmp_path / "both")
    write_text(tmp_path / "both" / "metadata.jsonl", '{"file_name": "a/0.png", "text": "a face"}\n')
    for command in ("inspect", "prepare"):
        said = t2f("data", command, tmp_path / "both", code=2)
        assert "fits 2 formats: imagefolder (it holds metadata.jsonl); sidecar (beside 0.png lies 0.txt)" in said
    assert "1, 1 captions" in t2f("data", "inspect", tmp_path / "both", "--format", "imagefolder")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_format_is_prepared_without_being_named(t2f, tmp_path, name):
    format, write, captions = LAYOUTS[name]
    write(tmp_path / "faces")
    said = t2f("data", "prepare", tmp_path / "faces", "--resolution", 4, "--dry-run")
    assert f"format {format}, because" in said
    assert f"would prepare 8 images with {8 * captions or 'no'} captions" in said
    assert not (tmp_path / "home").exists()


def test_prepare_then_check(t2f, source, tmp_path):
    said = t2f("data", "prepare", source, "--resolution", 4, "--judge-steps", 3)
    assert "4 train, 2 validation, 2 test images" in said
    assert "the source is what was prepared" in t2f("data", "check", "faces", "--verify")
    shutil.move(source, tmp_path / "moved")
    assert "is no folder" in t2f("data", "check", "faces", code=2)
    assert json.loads(t2f("data", "check", "faces", "--source", tmp_path / "moved", "--json"))["unchanged"]
    (tmp_path / "moved" / "0.png").unlink()
    said = t2f("data", "check", "faces", "--source", tmp_path / "moved", code=2)
    assert "1 picture is gone, such as 0.png" in said
    assert "is no prepared data set" in t2f("data", "check", "others", code=2)


def test_the_shares_of_the_splits(t2f, source):
    lines = [json.loads(line) for line in (source / "metadata.jsonl").read_text().splitlines()]
    (source / "metadata.jsonl").write_text("\n".join(json.dumps(line | {"split": None}) for line in lines))
    held_out = ("--validation", 0, "--test", 0.6, "--split-seed", 1)
    said = t2f("data", "prepare", source, "--resolution", 4, "--judge-steps", 3, *held_out)
    found = re.search(r"(\d+) train, (\d+) validation, (\d+) test", said)
    train, validation, test = map(int, found.groups())
    assert (train + test, validation) == (8, 0)
    assert test > 2
    said = t2f("data", "prepare", source, "--name", "x", "--validation", 0.5, "--test", 0.5, code=2)
    assert "validation and test = (0.5, 0.5) is not allowed" in said


def test_bad_pictures_fail_or_are_skipped_with_their_names(t2f, source):
    (source / "0.png").write_text("<html>")
    said = t2f("data", "prepare", source, "--resolution", 4, code=2)
    assert "1 of 8 images cannot be used (to leave it out: --on-bad-image skip)" in said
    assert "0.png is no JPEG, PNG or WebP (it holds HTML or XML" in said
    said = t2f("data", "prepare", source, "--resolution", 4, "--judge-steps", 3, "--on-bad-image", "skip")
    assert "skipped: 1 images that cannot be used" in said


def test_the_crop_of_lfw_by_name(t2f, tmp_path):
    write_celeba(tmp_path / "faces")
    said = t2f("data", "prepare", tmp_path / "faces", "--crop", "lfw", "--resolution", 4, code=2)
    assert 'the picture has 16 x 16 pixels, but crop "centre:128" takes 128 x 128' in said
