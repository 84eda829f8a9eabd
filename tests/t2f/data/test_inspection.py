import json
import logging

import numpy as np
import pytest
from PIL import Image

from t2f.data.inspection import SHEET_RESOLUTION, Spread, inspect
from t2f.errors import DataError
from tests.t2f.data.layouts import LAYOUTS, picture_bytes, write_celeba, write_picture, write_text
from tests.t2f.data.sources import write_source


def problems(found):
    return {problem.kind: problem.count for problem in found.problems}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_good_source_of_every_format_has_no_problems(tmp_path, name):
    format, write, captions = LAYOUTS[name]
    write(tmp_path)
    found = inspect(tmp_path)
    assert (found.format, found.images, found.captions) == (format, 8, 8 * captions)
    assert problems(found) == {}
    assert found.modes == {"RGB": 8}
    assert sum(found.splits.values()) == 8
    json.dumps(found.to_json())


def test_what_is_counted(tmp_path):
    found = inspect(write_source(tmp_path / "source", 12))
    assert found.why == "it holds metadata.jsonl"
    assert found.captions_per_image == Spread(lowest=2, median=2.0, highest=2)
    # "red hair." has three tokens, "a person with red hair" five.
    assert (found.caption_words.lowest, found.caption_words.median, found.caption_words.highest) == (3, 4.0, 5)
    assert found.vocabulary.common[0] == ("hair", 24)
    assert (found.vocabulary.words, found.vocabulary.once, found.vocabulary.tokens) == (8, 0, 96)
    assert found.splits == {"train": 6, "validation": 3, "test": 3}
    assert found.official_splits
    assert (found.attributes, found.identities) == (2, 0)
    assert found.widths == found.heights == Spread(lowest=32, median=32.0, highest=32)


def test_the_sheet_shows_pictures_from_all_over(tmp_path):
    for number in range(64):
        write_picture(tmp_path / f"{number:02d}.png", number)
    write_picture(tmp_path / "64.png", 64, side=300)
    found = inspect(tmp_path)
    assert len(found.sheet) == 32
    names = [name for _, name in found.sheet]
    assert names == sorted(names)
    assert int(names[-1][:2]) > 60
    for tile, _ in found.sheet:
        assert (tile.shape, tile.dtype) == ((3, SHEET_RESOLUTION, SHEET_RESOLUTION), np.uint8)


def test_everything_that_is_wrong_is_told_apart(tmp_path):
    lines = [json.dumps({"file_name": f"{number}.png", "text": f"face {number}"}) for number in range(30)]
    for number in range(30):
        write_picture(tmp_path / f"{number}.png", number)
    lines += ['{"file_name": "x.png", "text": ""}', '{"file_name": "y.png", "text": "%s"}' % ("a" * 20_000)]
    lines += ['{"file_name": "z.png", "text": "\\u0007"}', "not json"]
    write_text(tmp_path / "metadata.jsonl", "\n".join(lines))
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes(picture_bytes(1, "PNG")[:100])
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(b"<html></html>")
    (tmp_path / "4.png").write_bytes((tmp_path / "5.png").read_bytes())
    found = inspect(tmp_path)
    assert problems(found) == {
        "empty caption": 1,
        "caption too long": 1,
        "caption that is no plain text": 1,
        "line that is not JSON": 1,
        "missing picture": 1,
        "picture that does not open": 3,
        "same picture several times": 1,
    }
    named = {problem.kind: problem.examples for problem in found.problems}
    assert "line 31" in named["empty caption"][0]
    assert named["same picture several times"] == ("4.png, 5.png",)
    assert found.images == 30


def test_twins_in_several_splits_and_people_in_several_splits(tmp_path, caplog):
    write_celeba(tmp_path)
    pictures = tmp_path / "Img" / "img_align_celeba"
    (pictures / "000001.jpg").write_bytes((pictures / "000008.jpg").read_bytes())
    identities = tmp_path / "Anno" / "identity_CelebA.txt"
    identities.write_text(identities.read_text().replace("2007", "2001").replace("2003", "2002"))
    with caplog.at_level(logging.ERROR):
        found = inspect(tmp_path)
    assert problems(found) == {"same picture in several splits": 1, "person in several splits": 1}
    assert found.problems[1].examples == ("2001: test, train",)
    assert found.identities == 6
    assert found.splits == {"train": 3, "validation": 2, "test": 2}


def test_a_caption_of_very_many_images_is_named(tmp_path):
    lines = []
    for number in range(40):
        write_picture(tmp_path / f"{number}.png", number)
        lines.append(json.dumps({"file_name": f"{number}.png", "text": "a photo" if number % 2 else f"face {number}"}))
    write_text(tmp_path / "metadata.jsonl", "\n".join(lines))
    (problem,) = inspect(tmp_path).problems
    assert (problem.kind, problem.examples) == ("caption of many images", ("20 images: a photo",))


def test_modes_and_sizes_are_those_of_the_files(tmp_path):
    Image.new("CMYK", (20, 30)).save(tmp_path / "a.jpg")
    Image.new("P", (40, 50)).save(tmp_path / "b.png")
    Image.new("RGBA", (60, 20)).save(tmp_path / "c.png")
    found = inspect(tmp_path)
    assert found.modes == {"CMYK": 1, "P": 1, "RGBA": 1}
    assert (found.widths.lowest, found.heights.highest) == (20, 50)


def test_a_format_may_be_said_and_a_source_of_none_is_refused(tmp_path):
    write_source(tmp_path / "source", 4)
    found = inspect(tmp_path / "source", format="folder")
    assert (found.format, found.why, found.captions, found.vocabulary) == ("folder", "as you said", 0, None)
    with pytest.raises(DataError, match="is no folder"):
        inspect(tmp_path / "nowhere")
