import hashlib
import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from t2f.data import cache, content, files
from t2f.data.cleaning import Cleaning, load_rules
from t2f.data.images import CropOptions
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepare import check_source, is_prepared_from, planned_content, prepare
from t2f.data.prepared import NOT_KNOWN, PreparedData
from t2f.data.readers import Example
from t2f.data.splits import split_of
from t2f.errors import DataError
from tests.t2f.data.sources import write_pictures, write_source

SMALL = PrepareOptions(max_resolution=8, min_count=1)


def prepare_small(source, out, options=SMALL, **more):
    return prepare(source, format="imagefolder", out=out, options=options, **more)


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "prepared"


def test_pictures_are_kept_at_every_resolution(source, out):
    data = prepare_small(source, out)
    assert data.resolutions == (4, 8)
    train = data.split("train")
    assert train.image_ids == tuple(f"faces/{n}.png" for n in (0, 1, 4, 5, 8, 9))
    with Image.open(source / train.image_ids[2]) as image:
        pixels = np.asarray(image).reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(train.images(8)[2], pixels, atol=0.51)
    quarters = train.images(8).reshape(6, 3, 4, 2, 4, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(train.images(4), quarters, atol=0.51)
    assert isinstance(train.images(4), np.memmap)
    assert train.images(4).flags.c_contiguous


def test_progress_tells_how_many_were_decoded(source, out, monkeypatch):
    monkeypatch.setattr(cache, "_BATCH", 5)
    seen = []
    prepare_small(source, out, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_the_same_source_gives_the_same_key_and_files_wherever_it_lies(tmp_path):
    first = prepare_small(write_source(tmp_path / "a"), tmp_path / "one")
    second = prepare_small(write_source(tmp_path / "b" / "c"), tmp_path / "two", threads=1)
    assert first.key == second.key
    assert first.manifest == second.manifest
    assert (first.name, second.name) == ("one", "two")


def test_every_option_caption_and_pixel_is_in_the_key(source, tmp_path):
    keys = {prepare_small(source, tmp_path / "first").key}
    changes = [
        {"max_resolution": 4},
        {"crop": CropOptions.parse("fraction:0.5")},
        {"max_tokens": 3},
        {"min_count": 2},
        {"split_seed": 1},
    ]
    for number, change in enumerate(changes):
        options = PrepareOptions(**({"max_resolution": 8, "min_count": 1} | change))
        keys.add(prepare_small(source, tmp_path / f"{number}", options).key)
    metadata = source / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("red hair.", "red hair!", 1))
    keys.add(prepare_small(source, tmp_path / "caption").key)
    Image.new("RGB", (32, 32)).save(source / "faces" / "1.png")
    keys.add(prepare_small(source, tmp_path / "pixels").key)
    assert len(keys) == len(changes) + 3


def test_the_same_data_is_reused_and_other_data_refused_or_replaced(source, out, monkeypatch):
    key = prepare_small(source, out).key
    made = (out / "manifest.json").stat().st_mtime_ns
    assert prepare_small(source, out).key == key
    other = PrepareOptions(max_resolution=4, min_count=1)
    with pytest.raises(DataError, match="--replace"):
        prepare_small(source, out, other)
    assert (out / "manifest.json").stat().st_mtime_ns == made
    assert prepare_small(source, out, other, replace=True).resolutions == (4,)
    assert not (out / "train_8.npy").exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["prepared", "source"]


def test_a_folder_of_others_is_never_replaced(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for replace in (False, True):
        with pytest.raises(DataError, match="no prepared data set"):
            prepare_small(source, tmp_path / "mine", replace=replace)
    with pytest.raises(DataError, match="is a file"):
        prepare_small(source, tmp_path / "mine" / "thesis.txt")


def damage(source, *numbers):
    for number in numbers:
        path = source / "faces" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:200])


def test_bad_images_are_all_counted_and_nothing_is_written(source, out):
    damage(source, 3, 7)
    (source / "faces" / "5.png").unlink()
    with pytest.raises(DataError, match="3 of 12 images cannot be used") as caught:
        prepare_small(source, out)
    for name in ("3.png is damaged", "5.png does not exist", "7.png is damaged"):
        assert name in str(caught.value)
    assert [path.name for path in out.parent.iterdir()] == ["source"]


def test_only_the_first_bad_images_are_named(tmp_path, out):
    source = write_source(tmp_path / "source", 30)
    damage(source, *range(25))
    with pytest.raises(DataError, match="25 of 30 images") as caught:
        prepare_small(source, out)
    assert "and 5 more" in str(caught.value)
    assert str(caught.value).count("is damaged") == 20


def test_bad_images_can_be_skipped(source, out, caplog):
    damage(source, 4)
    data = prepare_small(source, out, PrepareOptions(max_resolution=8, min_count=1, on_bad_image="skip"))
    assert data.split("train").image_ids == tuple(f"faces/{n}.png" for n in (0, 1, 5, 8, 9))
    assert data.split("train").images(8).shape == (5, 3, 8, 8)
    assert data.manifest["skipped"] == ["faces/4.png"]
    assert "4.png is damaged" in caplog.text


def test_pictures_smaller_than_the_resolution_or_crop_are_named(source, out):
    for options in (PrepareOptions(max_resolution=64), PrepareOptions(crop=CropOptions.parse("centre:40"))):
        with pytest.raises(DataError, match=r"0\.png: the picture has 32 x 32 pixels"):
            prepare_small(source, out, options)


def test_face2text_is_cropped_to_its_faces(tmp_path, out):
    picture = Image.new("RGB", (250, 250))
    picture.paste((255, 0, 0), (61, 61, 189, 189))
    folder = tmp_path / "lfw" / "A"
    folder.mkdir(parents=True)
    entries = []
    for number in range(8):
        picture.putpixel((0, 0), (number, 0, 0))  # pictures of one content would be in one split
        picture.save(folder / f"A_{number}.jpg", quality=100, subsampling=0)
        entries.append({"image": f"A/A_{number}.bmp", "descriptions": [{"text": f"a man of {number} years"}]})
    (tmp_path / "clean.json").write_text(json.dumps(entries))
    data = prepare(tmp_path, format="face2text", out=out, options=SMALL)
    assert data.manifest["options"]["crop"] == "centre:128"
    images = data.split("train").images(8)
    assert images[:, 0].min() > 245
    assert images[:, 1:].max() < 12


def test_splits_by_hash_stay_when_images_come_and_follow_the_fractions():
    examples = [Example(image_id=f"{n}.png", path=None, captions=("x",)) for n in range(2000)]
    options = PrepareOptions(validation_fraction=0.2, test_fraction=0.1)
    sizes = Counter(split_of(example, options) for example in examples)
    assert abs(sizes["validation"] - 400) < 60
    assert abs(sizes["test"] - 200) < 45
    other = PrepareOptions(validation_fraction=0.2, test_fraction=0.1, split_seed=1)
    assert [split_of(e, options) for e in examples[:50]] != [split_of(e, other) for e in examples[:50]]


def test_a_source_without_training_images_is_refused(source, out):
    metadata = source / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"train"', '"test"'))
    with pytest.raises(DataError, match="none of the 12 usable images is for training"):
        prepare_small(source, out)


def test_check_source_reads_only_what_changed(source, out, tmp_path, monkeypatch):
    prepare_small(source, out)
    read = []
    real = content.sha256_of_file
    monkeypatch.setattr(content, "sha256_of_file", lambda path, span: read.append(path.name) or real(path, span))
    check_source(out)
    assert read == []
    os.utime(source / "faces" / "2.png", ns=(1, 1))
    check_source(out)
    assert read == ["2.png"]
    damage(source, 6)
    (source / "faces" / "1.png").unlink()
    reason = r"has changed since .*: 1 picture is changed, such as faces/6\.png; 1 picture is gone, such as faces/1"
    with pytest.raises(DataError, match=reason):
        check_source(out)


def test_check_source_of_a_moved_source(source, out, tmp_path):
    prepare_small(source, out)
    source.rename(tmp_path / "moved")
    check_source(out, source=tmp_path / "moved")
    with pytest.raises(DataError, match="is no folder"):
        check_source(out)
    check_source(out, missing_ok=True)


def test_check_source_of_options_that_are_not_ours(source, out):
    manifest = prepare_small(source, out).manifest
    for options in ({}, manifest["options"] | {"colour": 1}, manifest["options"] | {"crop": 7}):
        (out / "manifest.json").write_text(json.dumps(manifest | {"options": options}))
        with pytest.raises(DataError, match="are not those of this program"):
            check_source(out)


def test_a_disk_error_leaves_nothing(source, out, monkeypatch):
    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(DataError, match="No space left on device"):
        prepare_small(source, out)
    assert [path.name for path in out.parent.iterdir()] == ["source"]


def test_the_manifest_names_every_file(source, out):
    data = prepare_small(source, out)
    on_disk = {path.name for path in out.iterdir()} - {"manifest.json", "source.json"}
    assert set(data.manifest["files"]) == on_disk
    wanted = data.manifest["files"]["train_8.npy"]
    assert wanted["sha256"] == hashlib.sha256((out / "train_8.npy").read_bytes()).hexdigest()
    assert data.manifest["splits"]["train"] == {"images": 6, "captions": 12}
    assert isinstance(PreparedData.open(out), PreparedData)


# Pictures without captions


@pytest.fixture
def further(tmp_path):
    return Uncaptioned(folder=write_pictures(tmp_path / "further", "a/x.png", "b/y.png", "z.png"))


def test_uncaptioned_pictures_are_all_for_training_and_come_last(source, out, further):
    plain = prepare_small(source, out.parent / "plain")
    data = prepare_small(source, out, uncaptioned=further)
    train = data.split("train")
    assert train.image_ids[6:] == ("uncaptioned:a/x.png", "uncaptioned:b/y.png", "uncaptioned:z.png")
    assert train.captioned_N.tolist() == [0, 1, 2, 3, 4, 5]
    assert train.uncaptioned_N.tolist() == [6, 7, 8]
    assert train.caption_offsets.tolist() == [0, 2, 4, 6, 8, 10, 12, 12, 12, 12]
    assert train.attributes_NA[6:].tolist() == [[NOT_KNOWN, NOT_KNOWN]] * 3
    with Image.open(further.folder / "z.png") as image:
        pixels = np.asarray(image).reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(train.images(8)[8], pixels, atol=0.51)
    # Everything that is said, and everything that is held out, is as it would be without them.
    assert data.vocabulary == plain.vocabulary
    assert data.attribute_values == plain.attribute_values
    for name in ("train", "validation", "test"):
        with_them, without = data.split(name), plain.split(name)
        assert with_them.captions == without.captions
        np.testing.assert_array_equal(with_them.images(8)[: without.size], without.images(8))
        np.testing.assert_array_equal(with_them.caption_image_M, without.caption_image_M)
        if name != "train":
            assert with_them.image_ids == without.image_ids
    counts = {"used": 3, "found": 3, "same_content": 0, "same_name": 0}
    assert data.manifest["uncaptioned"] == {"crop": "square", **counts}
    assert data.manifest["splits"]["train"] == {"images": 9, "captions": 12}
    assert "uncaptioned" not in plain.manifest


def test_uncaptioned_pictures_have_a_crop_of_their_own(source, out, further, tmp_path):
    options = PrepareOptions(max_resolution=8, min_count=1, crop=CropOptions.parse("centre:16"))
    same = prepare_small(source, out, options, uncaptioned=further)
    assert same.manifest["uncaptioned"]["crop"] == "centre:16"
    own_crop = Uncaptioned(folder=further.folder, crop=CropOptions.parse("centre:8"))
    own = prepare_small(source, tmp_path / "own", options, uncaptioned=own_crop)
    assert own.manifest["uncaptioned"]["crop"] == "centre:8"
    with Image.open(further.folder / "z.png") as image:
        pixels = np.asarray(image.crop((12, 12, 20, 20))).transpose(2, 0, 1)
    np.testing.assert_array_equal(own.split("train").images(8)[8], pixels)
    np.testing.assert_array_equal(own.split("train").images(8)[:6], same.split("train").images(8)[:6])


def test_bad_uncaptioned_pictures_follow_the_policy(source, out, further, caplog):
    (further.folder / "z.png").write_text("<!doctype html><title>404</title>")
    with pytest.raises(DataError, match=r"1 of 15 images cannot be used(?s:.*)z\.png is no JPEG.*it holds HTML"):
        prepare_small(source, out, uncaptioned=further)
    assert not out.exists()
    skip = PrepareOptions(max_resolution=8, min_count=1, on_bad_image="skip")
    data = prepare_small(source, out, skip, uncaptioned=further)
    assert data.manifest["skipped"] == ["uncaptioned:z.png"]
    assert (data.manifest["uncaptioned"]["used"], data.manifest["uncaptioned"]["found"]) == (2, 3)
    assert data.split("train").images(8).shape[0] == 8
    assert "z.png is no JPEG" in caplog.text


def test_a_folder_alone_follows_the_policy_too(out, tmp_path):
    faces = write_pictures(tmp_path / "faces", *(f"{number}.png" for number in range(20)))
    (faces / "7.png").write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"1 of 20 images cannot be used(?s:.*)7\.png is no JPEG"):
        prepare(faces, format="folder", out=out, options=SMALL)
    skip = PrepareOptions(max_resolution=8, on_bad_image="skip")
    data = prepare(faces, format="folder", out=out, options=skip)
    assert sum(data.split(name).size for name in ("train", "validation", "test")) == 19


def test_uncaptioned_pictures_do_not_stand_in_for_captioned_ones(source, out, further):
    damage(source, *range(12))
    skip = PrepareOptions(max_resolution=8, min_count=1, on_bad_image="skip")
    with pytest.raises(DataError, match="none of the 0 usable images with captions is for training"):
        prepare_small(source, out, skip, uncaptioned=further)
    assert not out.exists()


def test_the_same_data_with_uncaptioned_pictures_is_known_again(source, out, further, monkeypatch):
    key = prepare_small(source, out, uncaptioned=further).key
    monkeypatch.setattr(content, "sha256_of_file", None)
    assert prepare_small(source, out, uncaptioned=further).key == key
    planned = planned_content(source, format="imagefolder", out=out, options=SMALL, uncaptioned=further)
    assert is_prepared_from(out, planned)
    with pytest.raises(DataError, match="holds other prepared data"):
        prepare_small(source, out)


def test_planning_writes_nothing_and_refuses_what_preparing_would(source, out, further):
    planned = planned_content(source, format="imagefolder", out=out, options=SMALL, uncaptioned=further)
    assert not out.exists()
    assert not is_prepared_from(out, planned)
    assert len(planned.pictures) == 15
    assert prepare_small(source, out, uncaptioned=further).key == planned.key
    with pytest.raises(DataError, match="holds other prepared data"):
        planned_content(source, format="imagefolder", out=out, options=SMALL)
    planned_content(source, format="imagefolder", out=out, options=SMALL, replace=True)
    with pytest.raises(DataError, match="no prepared data set"):
        planned_content(source, format="imagefolder", out=source, options=SMALL)


def test_check_source_notices_changes_of_uncaptioned_pictures(source, out, further, tmp_path, monkeypatch):
    prepare_small(source, out, uncaptioned=further)
    read = []
    real = content.sha256_of_file
    monkeypatch.setattr(content, "sha256_of_file", lambda path, span: read.append(path.name) or real(path, span))
    check_source(out)
    assert read == []
    write_pictures(further.folder, "new.png", seed=2)
    with pytest.raises(DataError, match=r"source or .*further has changed since"):
        check_source(out)
    (further.folder / "new.png").unlink()
    check_source(out)
    further.folder.rename(tmp_path / "moved")
    check_source(out, uncaptioned=tmp_path / "moved")
    with pytest.raises(DataError, match=r"--uncaptioned .*further is no folder"):
        check_source(out)
    damage(source, 4)
    with pytest.raises(DataError, match="has changed since"):
        check_source(out, uncaptioned=tmp_path / "moved")


@pytest.mark.parametrize("damaged", ["[]", "{}", '{"format": "imagefolder", "root": "x", "uncaptioned": 1}'])
def test_check_source_of_a_damaged_record(source, out, damaged):
    prepare_small(source, out)
    (out / "source.json").write_text(damaged)
    with pytest.raises(DataError, match=r"source\.json is damaged"):
        check_source(out)


def with_captions(source, **captions):
    """The source's images of these numbers get these captions instead."""
    metadata = source / "metadata.jsonl"
    lines = [json.loads(line) for line in metadata.read_text().splitlines()]
    for number, texts in captions.items():
        lines[int(number[1:])]["texts"] = texts
    metadata.write_text("\n".join(map(json.dumps, lines)))
    return source


CLEANED = PrepareOptions(max_resolution=8, min_count=1, cleaning=Cleaning(mode="strict"))


def test_captions_are_cleaned_and_what_went_is_counted_and_logged(source, out):
    with_captions(source, n0=["probably an ugly man with red hair", "red hair."])
    data = prepare_small(source, out, CLEANED)
    assert data.split("train").captions[:2] == ("a man with red hair", "a person with blue hair")
    about = data.manifest["cleaning"]
    assert (about["mode"], about["rules"]) == ("strict", "built-in")
    assert about["rules_sha256"] == CLEANED.cleaning.rules.sha256
    # "red hair." has two words, so each image keeps one of its two captions.
    assert (about["captions"], about["changed"], about["rejected"]) == (24, 1, 12)
    assert about["removed"]["abuse"] == about["removed"]["hedge"] == 1
    lines = [json.loads(line) for line in (out / "cleaning.jsonl").read_text().splitlines()]
    assert lines[0]["image"] == "faces/0.png"
    assert (lines[0]["before"], lines[0]["after"]) == ("probably an ugly man with red hair", "a man with red hair")
    assert json.loads((out / "cleaning_rules.json").read_text()) == CLEANED.cleaning.rules.lists
    assert {"cleaning.jsonl", "cleaning_rules.json"} <= set(data.manifest["files"])
    data.verify()
    check_source(out)


def test_images_that_lose_all_captions_are_trained_on_without_or_left_out(source, out):
    # 0 and 1 are for training, 2 for validation, 3 for the test.
    with_captions(source, n1=["a politician"], n2=["some nurse"], n3=["an actor"])
    data = prepare_small(source, out, CLEANED)
    train = data.split("train")
    assert [train.image_ids[row] for row in train.uncaptioned_N] == ["faces/1.png"]
    assert data.split("validation").image_ids == ("faces/6.png", "faces/10.png")
    assert data.split("test").image_ids == ("faces/7.png", "faces/11.png")
    assert data.manifest["cleaning"]["images_without_captions_left"] == 3
    assert data.manifest["cleaning"]["images_left_out"] == 2
    assert data.manifest["skipped"] == []


def test_mode_and_rules_are_in_the_key_and_no_cleaning_is_not(source, tmp_path):
    (tmp_path / "mine.yaml").write_text("visible: [elfin]")
    own = load_rules(tmp_path / "mine.yaml")
    cleanings = [None, Cleaning(mode="light"), Cleaning(mode="strict"), Cleaning(mode="strict", rules=own)]
    options = [PrepareOptions(max_resolution=8, cleaning=cleaning) for cleaning in cleanings]
    keys = [planned_content(source, format="imagefolder", out=tmp_path / "x", options=one).key for one in options]
    assert len(set(keys)) == 4
    assert "cleaning" not in options[0].plain("imagefolder")
    data = prepare_small(source, tmp_path / "none", options[0])
    assert "cleaning" not in data.manifest
    assert not (tmp_path / "none" / "cleaning.jsonl").exists()


def test_a_source_whose_captions_are_all_rejected_is_refused(source, out):
    with_captions(source, **{f"n{n}": ["a politician"] for n in range(12)})
    with pytest.raises(DataError, match=r"cleaning \(strict\) rejects every caption of .*t2f data clean"):
        prepare_small(source, out, CLEANED)
    assert not out.exists()
