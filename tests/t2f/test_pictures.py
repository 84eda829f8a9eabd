"""Sheets: every face where it belongs, every caption inside its place, no letter without a shape."""

import numpy as np
import pytest
from PIL import ImageFont

from t2f import pictures
from t2f.errors import SpecError
from t2f.pictures import (
    GAP,
    captioned_sheet,
    contact_sheet,
    drawable,
    enlarged,
    font_for,
    has_glyph,
    shortened,
    viewing_factor,
    visible_text,
    wall,
    wrap,
)

OWN = ImageFont.load_default(size=14)


def faces(count: int, resolution: int = 8) -> np.ndarray:
    """Faces of one grey each: 10, 20, 30, ..."""
    return np.stack([np.full((3, resolution, resolution), 10 * (n + 1), dtype=np.uint8) for n in range(count)])


def test_a_wall_holds_the_pixels_row_by_row():
    picture = np.asarray(wall(faces(3), columns=2))
    assert picture.shape == (16, 16, 3)
    assert [picture[0, 0, 0], picture[0, 8, 0], picture[8, 0, 0], picture[8, 8, 0]] == [10, 20, 30, 255]


def test_a_captioned_sheet_has_captions_side_by_side():
    picture = np.asarray(captioned_sheet(faces(5), ["a", "b", "c", "d", "e f g"], columns=4, enlarge=4))
    step = 32 + GAP
    assert picture.shape[1] == 4 * step + GAP
    assert [picture[GAP + 5, GAP + 5 + n * step, 0] for n in range(4)] == [10, 20, 30, 40]
    assert picture[-40:-20, GAP : GAP + 32, 0].min() < 255, "text under the last face"


def test_several_faces_of_a_caption_share_rows_and_one_line():
    picture = np.asarray(contact_sheet(faces(6), ["a", "b"], faces_each=3, columns=2, enlarge=4))
    step = 32 + GAP
    assert picture.shape[1] == 2 * step + GAP
    assert [picture[GAP + 5, GAP + 5, 0], picture[GAP + 5, GAP + 5 + step, 0], picture[GAP + 5 + step, GAP + 5, 0]] == [
        10,
        20,
        30,
    ]
    assert picture[GAP + 5 + step, GAP + 5 + step].tolist() == [255] * 3
    second = GAP + 2 * step + 24
    assert picture[second + 5, GAP + 5, 0] == 40


def test_sheets_that_are_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 10_000)
    with pytest.raises(SpecError, match="too large"):
        captioned_sheet(faces(4), list("abcd"), enlarge=16)


def test_faces_are_enlarged_by_whole_factors():
    assert enlarged(faces(1)[0], 3).size == (24, 24)
    assert np.array_equal(np.asarray(enlarged(faces(1)[0], 1)), faces(1)[0].transpose(1, 2, 0))
    assert [viewing_factor(resolution) for resolution in (4, 32, 64, 1024)] == [48, 6, 3, 1]


def test_words_are_wrapped_and_long_ones_broken():
    lines = wrap("a smiling woman with " + "verylong" * 20, OWN, 100)
    assert all(OWN.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "").startswith("asmilingwomanwithverylong")
    assert wrap("", OWN, 100) == [""]
    assert wrap("WW", OWN, 1) == ["W", "W"]
    assert shortened(["a", "b", "c d", "e"], 3) == ["a", "b", "c..."]


@pytest.mark.parametrize(
    "text",
    ["žluté vlasy", "короткие волосы", "短い髪", "שלום ورد", "a\u0301\u0302b", "\N{GRINNING FACE}", "\u202eevil\u202c"],
    ids=ascii,
)
def test_every_letter_that_is_drawn_has_a_shape(text):
    shown = visible_text(text)
    font = font_for(shown)
    assert all(has_glyph(font, character) for character in drawable(shown, font))
    picture = captioned_sheet(faces(1), [text])
    assert np.asarray(picture).min() < 5, "something black is written"


def test_a_font_that_lacks_letters_gets_others():
    assert drawable("Ẃé漢", OWN) == "We?"
    assert visible_text("a\0b\u200d\u202ec\nd\ud800") == "abc d"
