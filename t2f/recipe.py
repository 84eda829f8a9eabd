"""What a picture was drawn from, kept inside the PNG, so that it can be drawn again to the same bits. No torch in here.

The recipe is one iTXt chunk named t2f, in JSON; the captions also stand in the PNG standard's own Description chunk.
"""

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2f.errors import SpecError
from t2f.typed import tidy_sentence

CHUNK = "t2f"
RECIPE_VERSION = 1
MAX_PNG_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One picture of faces: every caption with every seed, in this order, drawn at once."""

    model_sha256: str  # of the weights
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    truncation: float
    columns: int  # faces beside each other; 0: the faces alone, in one row, without captions
    enlarge: int  # px for each of the model's px
    face: int | None = None  # the picture is this one face of them, counted from 0; None: all of them

    def to_json(self) -> dict[str, Any]:
        return {"recipe_version": RECIPE_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, stored: Any) -> "Recipe":
        """SpecError with what is wrong; what is drawn from it is checked where it is drawn."""
        if not isinstance(stored, dict) or stored.get("recipe_version") != RECIPE_VERSION:
            version = stored.get("recipe_version") if isinstance(stored, dict) else None
            raise SpecError(f"its recipe is of version {version!r:.40}; this program reads {RECIPE_VERSION}")
        given = {name: value for name, value in stored.items() if name != "recipe_version"}
        if given.keys() != {field.name for field in fields(cls)}:
            raise SpecError("its recipe lacks something, or holds something else")
        numbers = {"columns": (0, 64), "enlarge": (1, 64)} | ({} if given["face"] is None else {"face": (0, 2**20)})
        for name, (low, high) in numbers.items():
            if not _is_whole(given[name]) or not low <= given[name] <= high:
                raise SpecError(f"its recipe says {name} = {given[name]!r:.40}; it must be from {low} to {high}")
        if not isinstance(given["truncation"], int | float) or isinstance(given["truncation"], bool):
            raise SpecError("its recipe's truncation is no number")
        if not isinstance(given["model_sha256"], str):
            raise SpecError("its recipe names no model")
        if not _is_list_of(given["seeds"], int) or not _is_list_of(given["captions"], str):
            raise SpecError("its recipe's captions and seeds must be lists of sentences and of numbers")
        return cls(
            **{**given, "captions": tuple(map(tidy_sentence, given["captions"])), "seeds": tuple(given["seeds"])}
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def stamped_png(picture: Image.Image, recipe: Recipe) -> bytes:
    """The picture as a PNG that says what it was drawn from."""
    captions = recipe.captions if recipe.face is None else [recipe.captions[recipe.face // len(recipe.seeds)]]
    return png_with_texts(picture, {"Description": "\n".join(captions), CHUNK: json.dumps(recipe.to_json())})


def png_with_texts(picture: Image.Image, texts: Mapping[str, str]) -> bytes:
    """The picture as a PNG with iTXt chunks of these keywords."""
    chunks = PngInfo()
    for keyword, text in {**texts, "Software": "t2f"}.items():
        chunks.add_itxt(keyword, text)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_recipe(path: Path) -> Recipe:
    """The recipe in a PNG; SpecError where the file is no PNG, has none, or one that cannot be used."""
    chunks = _open(path)[0]
    if CHUNK not in chunks:
        raise SpecError(f"{path} does not say what it was drawn from; give a PNG that `t2f generate` wrote")
    try:
        return Recipe.from_json(json.loads(chunks[CHUNK]))
    except SpecError as error:
        raise SpecError(f"{path} cannot be drawn again: {error}") from error
    except (ValueError, RecursionError, TypeError) as error:
        raise SpecError(f"{path} cannot be drawn again: its recipe is no JSON") from error


def same_pixels(path: Path, picture: Image.Image) -> bool:
    """Whether the picture in a PNG is this one, pixel for pixel."""
    return _open(path, size=picture.size)[1] == picture.convert("RGB").tobytes()


def _open(path: Path, size: tuple[int, int] | None = None) -> tuple[Mapping[str, Any], bytes | None]:
    """The text chunks of a PNG, and its pixels where it has this size."""
    try:
        if path.stat().st_size > MAX_PNG_BYTES:
            raise SpecError(f"{path} is larger than {MAX_PNG_BYTES // 2**20} MiB; give a PNG that `t2f generate` wrote")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # pixels are decoded only at the right size
            with Image.open(path, formats=["PNG"]) as file:
                return file.info, file.convert("RGB").tobytes() if file.size == size else None
    except SpecError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SpecError(f"{path} cannot be read as a PNG: {error}; give one that `t2f generate` wrote") from error
