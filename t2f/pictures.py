"""Pictures of many faces: walls for the pages, captioned sheets for people.

N faces, R resolution in px
"""

import io
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from t2f.errors import SpecError

TILE = 192  # px: as large as faces of a sheet are about, unless somebody wishes otherwise
MAX_PIXELS = 2**27  # of a sheet
CAPTION_LINES = 5  # what is longer ends in an ellipsis
LINE = 18
GAP = 12
FONT_SIZE = 14


def wall(images_N3RR: np.ndarray, *, columns: int) -> Image.Image:
    """Images side by side, row by row, one pixel each as one pixel."""
    count, _, resolution, _ = images_N3RR.shape
    rows = -(-count // columns)
    sheet = np.full((rows * resolution, columns * resolution, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images_N3RR):
        row, column = divmod(index, columns)
        top, left = row * resolution, column * resolution
        sheet[top : top + resolution, left : left + resolution] = image.transpose(1, 2, 0)
    return Image.fromarray(sheet)


def enlarged(image_3RR: np.ndarray, factor: int) -> Image.Image:
    """One face, each side so many times as long."""
    face = Image.fromarray(image_3RR.transpose(1, 2, 0))
    size = factor * image_3RR.shape[-1]
    return face if factor == 1 else face.resize((size, size), Image.Resampling.BICUBIC)


def viewing_factor(resolution: int) -> int:
    """By how much faces are enlarged for people where nobody says: to about TILE px."""
    return max(1, TILE // resolution)


def captioned_sheet(
    images_N3RR: np.ndarray, captions: Sequence[str], *, columns: int = 4, enlarge: int | None = None
) -> Image.Image:
    """Every image with its caption, wrapped, under it. enlarge: px for each px; None: as is best to look at."""
    return contact_sheet(images_N3RR, captions, faces_each=1, columns=columns, enlarge=enlarge)


def contact_sheet(
    images_N3RR: np.ndarray,
    captions: Sequence[str],
    *,
    faces_each: int,
    columns: int,
    enlarge: int | None = None,
    heading: str = "",
) -> Image.Image:
    """The images, `faces_each` for every caption in turn; the caption stands under its faces.

    With one face each the captions go side by side, `columns` a row; with several each has rows of its own.
    heading: one line above everything, shortened to fit.
    """
    assert len(images_N3RR) == len(captions) * faces_each
    resolution = images_N3RR.shape[-1]
    enlarge = enlarge or viewing_factor(resolution)
    tile, columns = enlarge * resolution, min(columns, len(images_N3RR) if faces_each == 1 else faces_each)
    blocks = _blocks(len(captions), faces_each, columns)
    width = columns * (tile + GAP) + GAP
    text_width = tile if faces_each == 1 else width - 2 * GAP
    font, lines = wrapped_captions(captions, text_width)
    text_height = LINE * max(map(len, lines)) + 6
    row_height = tile + GAP
    heights = [-(-len(faces) // columns) * row_height + text_height for faces, _ in blocks]
    top = GAP + (LINE if heading else 0)
    height = top + sum(heights)
    if width * height > MAX_PIXELS:
        raise SpecError(f"a sheet of {width} x {height} px is too large; ask for fewer faces, or a smaller --enlarge")
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    heading_font, (heading_lines,) = wrapped_captions([heading], width - 2 * GAP)
    draw.text((GAP, GAP // 2), shortened(heading_lines, 1)[0], fill="black", font=heading_font)
    for (faces, first_caption), height in zip(blocks, heights, strict=True):
        for place, index in enumerate(faces):
            row, column = divmod(place, columns)
            left = GAP + column * (tile + GAP)
            sheet.paste(enlarged(images_N3RR[index], enlarge), (left, top + row * row_height))
            caption = first_caption + place if faces_each == 1 else first_caption
            if faces_each > 1 and place > 0:
                continue
            text_top = top + (height - text_height) - GAP + 4
            for number, text in enumerate(lines[caption]):
                draw.text((left, text_top + number * LINE), text, fill="black", font=font)
        top += height
    return sheet


def _blocks(captions: int, faces_each: int, columns: int) -> list[tuple[range, int]]:
    """The faces that stand over one line of text, and the first of its captions."""
    step = columns if faces_each == 1 else 1
    return [
        (range(first * faces_each, min(first + step, captions) * faces_each), first)
        for first in range(0, captions, step)
    ]


# Captions


def wrapped_captions(captions: Sequence[str], width: int) -> tuple[ImageFont.FreeTypeFont, list[list[str]]]:
    """A font that has the captions' letters, and each caption in lines of that many px."""
    texts = [visible_text(caption) for caption in captions]
    font = font_for("".join(texts))
    return font, [shortened(wrap(drawable(text, font), font, width), CAPTION_LINES) for text in texts]


def visible_text(text: str) -> str:
    """The text in composed form without what has no shape of its own: controls, marks of direction, joiners."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


@cache
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    """Pillow's own font, and DejaVu Sans, which knows many scripts, where the system has it."""
    own = ImageFont.load_default(size=FONT_SIZE)
    try:
        return own, ImageFont.truetype("DejaVuSans.ttf", size=FONT_SIZE)
    except OSError:
        return (own,)


def font_for(text: str) -> ImageFont.FreeTypeFont:
    """The font that lacks the fewest of the text's characters; Pillow's own where it lacks none."""
    return min(_fonts(), key=lambda font: sum(not has_glyph(font, c) for c in set(text)))


@cache
def has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether the font draws it as something else than a code point that no font has."""
    found, missing = font.getmask(character), font.getmask("\U0010ffff")
    return character.isspace() or (found.size, bytes(found)) != (missing.size, bytes(missing))


def drawable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """The text with what the font lacks replaced: a letter by the one without its marks, all else by "?"."""
    return "".join(c if has_glyph(font, c) else _plain(c, font) for c in text)


def _plain(character: str, font: ImageFont.FreeTypeFont) -> str:
    if unicodedata.category(character).startswith("M"):
        return ""
    base = unicodedata.normalize("NFKD", character)[:1]
    return base if base != character and has_glyph(font, base) else "?"


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines that are at most `width` px long; a word that is longer is broken."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and font.getlength(word) > width:
            cut = _fitting(word, font, width)
            lines.append(word[:cut])
            word = word[cut:]
        lines.append(word)
        if len(lines) > CAPTION_LINES:
            break  # nobody draws more
    return lines or [""]


def _fitting(word: str, font: ImageFont.FreeTypeFont, width: int) -> int:
    """How many of the word's characters fit into a line, at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(word[:middle]) <= width else (low, middle - 1)
    return low


def shortened(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][:-1].rstrip()}..."]


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
