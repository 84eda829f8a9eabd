import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from t2f.data import images
from t2f.data.images import COLOUR_RULES, CropOptions, crop_square, downscale, open_image, size_and_mode
from t2f.errors import DataError

RED = (255, 0, 0)


def save(path, image, format, **options):
    image.save(path, format, **options)
    return path


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_content_counts_and_not_the_name(tmp_path, format):
    image = open_image(save(tmp_path / "a.bmp", Image.new("RGB", (8, 6), RED), format, quality=100))
    assert (image.mode, image.size) == ("RGB", (8, 6))
    np.testing.assert_allclose(np.asarray(image)[2, 2], RED, atol=4)


def test_exif_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture = Image.new("RGB", (16, 8), RED)
    assert open_image(save(tmp_path / "a.jpg", picture, "JPEG", exif=exif)).size == (8, 16)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), RED),
        ("I;16", 0x8000, (128, 128, 128)),
    ],
)
def test_every_mode_has_one_rule(tmp_path, mode, colour, expected):
    path = save(tmp_path / "a.png", Image.new(mode, (4, 4), colour), "PNG")
    assert open_image(path).getpixel((1, 1)) == expected


def test_palette_with_a_transparent_colour_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 0)
    opened = open_image(save(tmp_path / "a.png", image, "PNG", transparency=0))
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 1))) == ((255, 255, 255), RED)


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(open_image(path).getpixel((8, 8)), RED, atol=6)


def jpeg_bytes():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that says it has this size, and has no pixels."""
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + data
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\x09IDAT"
    )


def saved_bytes(format, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), RED).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>404 not found</html>", "HTML"),
        (b"\n  <?xml version='1.0'?><svg/>", "XML"),
        (b"not a picture", "no JPEG, PNG or WebP"),
        (saved_bytes("GIF"), "no JPEG, PNG or WebP"),
        (saved_bytes("BMP"), "no JPEG, PNG or WebP"),
        (saved_bytes("TIFF"), "no JPEG, PNG or WebP"),
        (jpeg_bytes()[:900], "damaged"),
        (saved_bytes("PNG")[:50], "damaged"),
        (saved_bytes("WEBP")[:30], "damaged|no JPEG"),
        (png_header(9_000, 9_000), "too large"),
        (png_header(11_000, 11_000), "too large"),
        (png_header(60_000, 60_000), "too large"),
        (
            saved_bytes("PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), (0, 255, 0))]),
            r"animated \(2 frames\)",
        ),
        (
            saved_bytes("WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), (0, 255, 0))]),
            r"animated \(2 frames\)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_bad_files_are_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "face.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        open_image(path)
    assert str(path) in str(caught.value)


def test_missing_files_folders_and_long_files(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="does not exist"):
        open_image(tmp_path / "no.png")
    with pytest.raises(DataError, match="cannot be read"):
        open_image(tmp_path)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="too large"):
        open_image(save(tmp_path / "a.png", Image.new("RGB", (8, 8)), "PNG"))


@pytest.mark.parametrize("place", range(10, 900, 71))
def test_a_jpeg_with_any_byte_damaged_is_read_or_refused(tmp_path, place):
    content = bytearray(jpeg_bytes())
    content[place] ^= 0xFF
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    said = ""
    try:
        image = open_image(path)
    except DataError as error:
        said = str(error)
    assert str(path) in said if said else image.mode == "RGB"


@pytest.mark.parametrize("text", ["square", "centre:128", "fraction:0.8"])
def test_crop_options_are_what_they_are_written(text):
    assert str(CropOptions.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "square:3", "middle:3", "centre", "centre:x", "centre:0", "centre:12.5", "centre:-4", "centre:inf"),
        *("fraction:", "fraction:0", "fraction:1.1", "fraction:nan"),
    ],
)
def test_wrong_crops_say_what_is_allowed(text):
    with pytest.raises(DataError, match="crop"):
        CropOptions.parse(text)


@pytest.mark.parametrize(("crop", "side"), [("square", 10), ("centre:6", 6), ("fraction:0.5", 5)])
def test_crops_are_central_squares(crop, side):
    image = Image.new("RGB", (30, 10))
    image.paste(RED, (10, 0, 20, 10))
    cropped = crop_square(image, CropOptions.parse(crop))
    assert cropped.size == (side, side)
    assert cropped.getcolors() == [(side * side, RED)]


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(DataError, match="30 x 10 pixels"):
        crop_square(Image.new("RGB", (30, 10)), CropOptions.parse("centre:12"))


def test_halvings_are_averages_of_blocks():
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    small = downscale(Image.fromarray(pixels), 4)
    averages = pixels.reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
    assert (small.dtype, small.shape) == (np.uint8, (4, 4, 3))
    np.testing.assert_allclose(small, averages, atol=0.51)
    np.testing.assert_array_equal(downscale(Image.fromarray(pixels), 16), pixels)


def test_other_sizes_are_antialiased():
    stripes = np.zeros((90, 90, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = downscale(Image.fromarray(stripes), 32).astype(int)
    assert small.shape == (32, 32, 3)
    assert np.abs(small[:, 2:-2] - 127).max() < 40


def test_pictures_are_not_enlarged():
    with pytest.raises(DataError, match="fewer than the 16"):
        downscale(Image.new("RGB", (8, 8)), 16)


def test_a_picture_inside_a_larger_file_is_read_by_its_span(tmp_path):
    before, picture = b"x" * 100, saved_bytes("PNG")
    path = tmp_path / "shard.tar"
    path.write_bytes(before + picture + b"y" * 50)
    assert open_image(path, (100, len(picture))).getpixel((1, 1)) == RED
    with pytest.raises(DataError, match="no JPEG, PNG or WebP"):
        open_image(path, (0, len(picture)))
    path.write_bytes(before + picture[:-10])
    with pytest.raises(DataError, match=r"shard\.tar ends in the middle of the picture"):
        open_image(path, (100, len(picture)))
    with pytest.raises(DataError, match="0 bytes"):
        open_image(path, (5, 0))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB", "YCbCr"])
def test_size_and_mode_are_the_headers(tmp_path, mode):
    path = save(tmp_path / "a.jpg", Image.new(mode, (20, 10)), "JPEG")
    assert size_and_mode(path.read_bytes(), path) == (20, 10, "RGB" if mode == "YCbCr" else mode)


def test_16_bit_colour_keeps_the_upper_bits(tmp_path):
    """Pillow writes no such PNG: one pixel of red 0x80FF, green 0x0100, blue 0x00FF by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = struct.pack(">BHHH", 0, 0x80FF, 0x0100, 0x00FF)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixel)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (0x80, 0x01, 0x00)


def test_a_text_that_unpacks_to_very_much_is_refused(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 80_000_000, zip=True)
    path = save(tmp_path / "a.png", Image.new("RGB", (8, 8), RED), "PNG", pnginfo=info)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"a\.png is damaged"):
        open_image(path)


def test_the_crop_of_lfw_has_a_name():
    assert str(CropOptions.parse("lfw")) == "centre:128"
    assert crop_square(Image.new("RGB", (250, 250)), CropOptions.parse("lfw")).size == (128, 128)


def test_the_rules_name_every_kind_of_picture():
    assert set(COLOUR_RULES) >= {"orientation", "alpha", "palette", "grey", "16 bit", "CMYK", "colour profile"}
