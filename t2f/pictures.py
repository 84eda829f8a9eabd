"""Pictures of many faces: walls for the pages, captioned sheets for people."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


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


def captioned_sheet(
    images_N3RR: np.ndarray, captions: Sequence[str], *, columns: int = 4, tile: int = 192
) -> Image.Image:
    """Each image enlarged to `tile` px with its caption, wrapped, under it."""
    font = ImageFont.load_default(size=14)
    wrapped = [wrap(caption, font, tile) for caption in captions]
    line = 18
    text_height = line * max(len(lines) for lines in wrapped) + 6
    gap = 12
    rows = -(-len(captions) // columns)
    columns = min(columns, len(captions))
    size = (columns * (tile + gap) + gap, rows * (tile + text_height + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, lines) in enumerate(zip(images_N3RR, wrapped, strict=True)):
        row, column = divmod(index, columns)
        left, top = gap + column * (tile + gap), gap + row * (tile + text_height + gap)
        face = Image.fromarray(image.transpose(1, 2, 0)).resize((tile, tile), Image.Resampling.BICUBIC)
        sheet.paste(face, (left, top))
        for number, text in enumerate(lines):
            draw.text((left, top + tile + 4 + number * line), text, fill="black", font=font)
    return sheet


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines that are at most `width` px long; a single longer word keeps its own line."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
