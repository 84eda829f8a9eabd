"""Opening, cropping and shrinking pictures: any JPEG, PNG or WebP to uint8 [R, R, 3].

H height, W width, R resolution (pixels on one side)
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from t2f.errors import DataError

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000  # about 7,000 x 7,000: decoded 150 MB, which two threads can hold
_FORMATS = ("JPEG", "PNG", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
# What the decoders of Pillow raise for damaged files, beside OSError and ValueError.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


# One rule for each kind of picture, as the manifest of prepared data records them.
COLOUR_RULES = {
    "orientation": "turned upright by EXIF",
    "alpha": "laid on white",
    "palette": "its colours; a transparent one is laid on white",
    "grey": "the same value in red, green and blue",
    "16 bit": "the upper 8 bits",
    "CMYK": "Pillow's plain conversion",
    "colour profile": "not applied",
    "animation": "refused; of a JPEG with several pictures (MPO) the first",
}


def open_image(path: Path, span: tuple[int, int] | None = None) -> Image.Image:
    """The picture as RGB, upright by its EXIF; DataError, naming the file, for all that is no single picture.

    JPEG, PNG and WebP by content, whatever the name says; each kind of picture by its rule in COLOUR_RULES.
    span: (offset, size) of the picture's bytes in the file; None: the whole file.
    """
    return decode_image(read_image(path, span), path)


def decode_image(data: bytes, path: Path) -> Image.Image:
    """`open_image` for bytes that were read already; path is for messages."""
    with _opened(data, path) as image:
        return _to_rgb(ImageOps.exif_transpose(image))


def size_and_mode(data: bytes, path: Path) -> tuple[int, int, str]:
    """Width, height and mode that the picture's header names, not yet turned; DataError as `open_image` gives it."""
    with _opened(data, path) as image:
        return image.width, image.height, image.mode


@contextmanager
def _opened(data: bytes, path: Path) -> Iterator[Image.Image]:
    """The picture opened and not decoded; what its decoding raises inside becomes a DataError too."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(_too_large(path, f"{image.width} x {image.height} pixels"))
            # Cameras write a second, small picture after the first of a JPEG ("MPO"): the first is the photograph.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise DataError(f"{path} is animated ({image.n_frames} frames); give a single picture")
            yield image
    except DataError:
        raise
    # Pillow warns where a picture is large and raises where it is twice that; a caller may turn warnings into errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(_too_large(path, "far more pixels")) from None
    except Image.UnidentifiedImageError:
        if data.startswith(_SIGNATURES):
            raise DataError(f"{path} is damaged (its beginning is not readable); replace it or remove it") from None
        raise DataError(f"{path} is no JPEG, PNG or WebP ({_what_it_is(data)}); convert it or remove it") from None
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged ({error}); replace it or remove it") from None


def read_image(path: Path, span: tuple[int, int] | None = None) -> bytes:
    """The bytes of one picture; DataError where there are none, too few or far too many."""
    try:
        offset, size = span or (0, path.stat().st_size)
        if size > MAX_FILE_BYTES:
            raise DataError(_too_large(path, f"{size} bytes"))
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data and not size:
        raise DataError(f"{path} is empty (0 bytes); replace it or remove it")
    if len(data) < size:
        raise DataError(f"{path} ends in the middle of the picture; get it again")
    return data


def _too_large(path: Path, size: str) -> str:
    return (
        f"{path} is too large ({size}); up to {MAX_PIXELS // 1_000_000} million pixels and "
        f"{MAX_FILE_BYTES // 2**20} MiB are read, make it smaller"
    )


def _what_it_is(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<svg")):
        return "it holds HTML or XML, perhaps an error page that was saved as a picture"
    return f"it starts with {data[:8]!r}"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would cut 16-bit grey at 255 and so make it white. 16-bit colour it reads as the upper 8 bits itself.
        grey_HW = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(grey_HW, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, with_alpha)
    return image.convert("RGB")


_NAMED_CROPS = {"lfw": "centre:128"}  # LFW's pictures have 250 px, the face in the middle


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Which square of a picture is used; written "square", "centre:128", "fraction:0.8", or "lfw" for centre:128."""

    kind: str = "square"  # square: the largest central one; centre: `size` pixels; fraction: `size` of the largest
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("square", "centre", "fraction"):
            raise DataError(f'crop {self.kind!r} is not known; allowed are "square", "centre:128" and "fraction:0.8"')
        if self.kind == "centre" and not (float(self.size).is_integer() and 4 <= self.size <= 8192):
            raise DataError(f'crop "centre:{self.size:g}" is not allowed; it must be 4 to 8192 whole pixels')
        if self.kind == "fraction" and not 0 < self.size <= 1:
            raise DataError(f'crop "fraction:{self.size:g}" is not allowed; it must be above 0 and at most 1')

    @classmethod
    def parse(cls, text: str) -> "CropOptions":
        text = _NAMED_CROPS.get(text.strip(), text)
        kind, colon, number = text.strip().partition(":")
        try:
            size = float(number) if colon else 1.0
        except ValueError:
            size = math.nan
        if not math.isfinite(size) or (kind == "square") == bool(colon):
            raise DataError(
                f'crop {text!r} is not allowed; write "square", "lfw", "centre:128" (pixels) or "fraction:0.8"'
            )
        return cls(kind=kind, size=size)

    def __str__(self) -> str:
        return self.kind if self.kind == "square" else f"{self.kind}:{self.size:g}"


def crop_square(image: Image.Image, crop: CropOptions) -> Image.Image:
    """The central square that `crop` asks for; DataError where the picture is smaller than that."""
    shorter = min(image.size)
    side = int(crop.size) if crop.kind == "centre" else max(1, round(shorter * crop.size))
    if crop.kind == "square":
        side = shorter
    if side > shorter:
        raise DataError(
            f'the picture has {image.width} x {image.height} pixels, but crop "{crop}" takes {side} x {side}; '
            'use crop "square", or leave the picture out'
        )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def downscale(image: Image.Image, resolution: int) -> np.ndarray:
    """The square picture at `resolution`, antialiased: uint8 [R, R, 3].

    Halvings are averages of 2 x 2, 4 x 4 ... pixels: exact, without ringing, and what the discriminator's pooling does
    when a stage fades in, so that a small real image is the pooled large one. All other sizes use Lanczos.
    """
    side = image.width
    if side < resolution:
        raise DataError(
            f"the picture has {side} x {side} pixels after cropping, fewer than the {resolution} asked for; "
            "prepare a smaller resolution, or leave the picture out"
        )
    factor = side // resolution
    if factor * resolution == side and factor & (factor - 1) == 0:
        image = image.reduce(factor) if factor > 1 else image
    else:
        # The gap lets Pillow shrink by whole factors first, which is faster and at 3 not visibly different.
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(image)
