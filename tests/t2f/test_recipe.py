"""A PNG says what it was drawn from; what else it may say is refused."""

import io
import json
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2f.errors import SpecError
from t2f.recipe import CHUNK, Recipe, read_recipe, same_pixels, stamped_png

RECIPE = Recipe(
    model_sha256="a" * 64,
    captions=("long pink hair", "kurze Haare, שלום \N{GRINNING FACE}"),
    seeds=(0, 7),
    truncation=0.7,
    columns=4,
    enlarge=3,
)


def picture() -> Image.Image:
    return Image.linear_gradient("L").convert("RGB")


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "faces.png"
    path.write_bytes(stamped_png(picture(), RECIPE))
    return path


def test_the_recipe_comes_back(png):
    assert read_recipe(png) == RECIPE
    with Image.open(png) as file:
        assert file.info["Description"] == "\n".join(RECIPE.captions)
        assert json.loads(file.info[CHUNK])["seeds"] == [0, 7]


def test_one_face_is_described_by_its_own_caption(tmp_path):
    one = Recipe(**{**{name: getattr(RECIPE, name) for name in RECIPE.__dataclass_fields__}, "face": 2})
    path = tmp_path / "face.png"
    path.write_bytes(stamped_png(picture(), one))
    assert read_recipe(path) == one
    with Image.open(path) as file:
        assert file.info["Description"] == RECIPE.captions[1]


def test_pixels_are_compared(png):
    assert same_pixels(png, picture())
    other = picture()
    other.putpixel((3, 3), (9, 9, 9))
    assert not same_pixels(png, other)
    assert not same_pixels(png, picture().crop((0, 0, 100, 100)))


def chunked(text: str | None, *, compressed: bool = False) -> bytes:
    chunks = PngInfo()
    if text is not None:
        chunks.add_itxt(CHUNK, text, zip=compressed)
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def changed(**values: object) -> bytes:
    return chunked(json.dumps({**RECIPE.to_json(), **values}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a PNG"),
        (b"GIF89a", "cannot be read as a PNG"),
        (chunked(None), "does not say what it was drawn from"),
        (chunked(""), "no JSON"),
        (chunked("[" * 100_000), "no JSON"),
        (chunked("[]"), "version None"),
        (changed(recipe_version=2), "version 2"),
        (changed(more=1), "lacks something, or holds"),
        (changed(captions="hair"), "lists"),
        (changed(captions=[1]), "lists"),
        (changed(captions=["a\0"]), r"U\+0000"),
        (changed(seeds=[0.5]), "lists"),
        (changed(truncation="much"), "truncation"),
        (changed(enlarge=10**9), "enlarge = 1000000000"),
        (changed(enlarge=True), "enlarge = True"),
        (changed(columns=-1), "columns = -1"),
        (changed(face=-1), "face = -1"),
        (changed(model_sha256=None), "names no model"),
        # A bomb: a megabyte's worth of zeros in a kilobyte, and then a hundred of them.
        (chunked("0" * 200_000_000, compressed=True), "cannot be read as a PNG"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_recipe_is_refused(tmp_path, content, said):
    path = tmp_path / "faces.png"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=said):
        read_recipe(path)


def test_pictures_that_are_too_large_are_not_decoded(tmp_path):
    """The header asks for 100,000 x 100,000 px."""
    content = bytearray(chunked(json.dumps(RECIPE.to_json())))
    content[16:24] = (100_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path = tmp_path / "faces.png"
    path.write_bytes(content)
    with pytest.raises(SpecError, match="cannot be read as a PNG"):
        read_recipe(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_recipe(tmp_path / "nothing.png")
