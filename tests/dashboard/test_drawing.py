"""The real drawing process with a real, tiny bundle."""

import io
from pathlib import Path

import pytest
from PIL import Image

from dashboard.generation import DrawRequest, Generator
from t2f.errors import UserError
from t2f.generate import open_bundle
from t2f.generate_cli import draw_recipe, picture_of
from t2f.recipe import read_recipe, same_pixels
from tests.dashboard.bundle import tiny_bundle


@pytest.fixture(scope="module")
def generator():
    made = Generator()
    yield made
    made.close()


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "bundle.safetensors"
    return path, tiny_bundle(path)


def draw(generator: Generator, bundle: tuple[Path, str], sentence: str, seeds: tuple[int, ...] = (0, 1, 2)):
    return generator.draw(DrawRequest(bundle=bundle[0], sha256=bundle[1], sentence=sentence, seeds=seeds))


def test_faces_come_in_one_row_and_are_the_same_again(generator: Generator, bundle: tuple[Path, str]) -> None:
    drawing = draw(generator, bundle, "a woman with long blond hair")
    assert (drawing.faces, drawing.resolution, drawing.unknown_words) == (3, 8, {})
    with Image.open(io.BytesIO(drawing.png)) as picture:
        assert picture.size == (24, 8)
    assert draw(generator, bundle, "a woman with long blond hair").png == drawing.png
    assert draw(generator, bundle, "a bald man").png != drawing.png


def test_the_picture_says_what_it_was_drawn_from(
    generator: Generator, bundle: tuple[Path, str], tmp_path: Path
) -> None:
    path = tmp_path / "row.png"
    path.write_bytes(draw(generator, bundle, "a bald man", seeds=(4, 5)).png)
    recipe = read_recipe(path)
    assert (recipe.captions, recipe.seeds, recipe.columns) == (("a bald man",), (4, 5), 0)
    opened = open_bundle(bundle[0])
    assert recipe.model_sha256 == opened.sha256
    assert same_pixels(path, picture_of(opened, recipe, draw_recipe(opened, recipe)))


def test_unknown_words_are_named_with_the_nearest(generator: Generator, bundle: tuple[Path, str]) -> None:
    drawing = draw(generator, bundle, "a womann with xylophones")
    assert drawing.unknown_words["womann"] == "woman"
    assert drawing.unknown_words["xylophones"] is None


def test_a_sentence_without_words_is_refused(generator: Generator, bundle: tuple[Path, str]) -> None:
    with pytest.raises(UserError, match="no words"):
        draw(generator, bundle, "...")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100])
def test_a_damaged_bundle_is_refused_and_the_next_request_works(
    generator: Generator, bundle: tuple[Path, str], tmp_path: Path, content: bytes
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(UserError):
        draw(generator, (damaged, "0" * 64), "a bald man")
    assert draw(generator, bundle, "a bald man").faces == 3


def test_another_model_is_loaded_where_the_hash_differs(
    generator: Generator, bundle: tuple[Path, str], tmp_path: Path
) -> None:
    before = draw(generator, bundle, "a bald man").png
    others = [tmp_path / f"{seed}.safetensors" for seed in (1, 2, 3)]
    pictures = {
        draw(generator, (path, tiny_bundle(path, seed=seed)), "a bald man").png
        for seed, path in enumerate(others, start=1)
    }
    assert len(pictures | {before}) == 4
    assert draw(generator, bundle, "a bald man").png == before
