"""The imagefolder convention: pictures, and a metadata.jsonl that describes them."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from t2f.data.readers.example import (
    EntryError,
    Example,
    Found,
    checked_caption,
    checked_name,
    checked_split,
    entry,
    merged,
    short,
    without_repeats,
)
from t2f.data.readers.files import PictureFinder
from t2f.data.readers.texts import lines_of, parse_json
from t2f.errors import DataError

METADATA = "metadata.jsonl"
_KEYS = {"file_name", "text", "caption", "texts", "captions", "split", "attributes"}

logger = logging.getLogger(__name__)


def recognise_imagefolder(root: Path) -> str | None:
    return f"it holds {METADATA}" if (root / METADATA).is_file() else None


def read_imagefolder(root: Path) -> Iterator[Found]:
    """Lines of "file_name", one of "text", "caption", "texts", "captions", and maybe "split" and "attributes"."""
    source = root / METADATA
    if not source.is_file():
        raise DataError(
            f"{root} holds no {METADATA}; give the folder that holds it, or use --format folder for pictures "
            "without captions"
        )
    ignored: Counter[str] = Counter()
    finder = PictureFinder(root)

    def found() -> Iterator[tuple[str, Found]]:
        for number, line in lines_of(source):
            where = f"{source}, line {number}"
            yield where, entry(one, line, number, where)

    def one(line: str, number: int, where: str) -> Example:
        try:
            given = parse_json(line, source, number)
        except DataError as error:
            raise EntryError("line that is not JSON", str(error)) from None
        if not isinstance(given, dict):
            raise EntryError(
                "entry of a wrong type", f'{where}: {short(given)} is no object with "file_name" and "text"'
            )
        ignored.update(set(given) - _KEYS)
        name = checked_name(given.get("file_name"), f"{where}, file_name")
        return Example(
            image_id=name,
            path=finder.find(name),
            captions=captions_of(given, f"{where}: {name}", where),
            split=checked_split(given.get("split"), f"{where}, split"),
            attributes=attributes_of(given.get("attributes"), where),
        )

    yield from merged(found())
    for key, times in sorted(ignored.items()):
        logger.warning("%s: the key %s of %d lines is not known and was ignored", source, short(key), times)


def captions_of(given: Mapping[str, Any], what: str, where: str) -> tuple[str, ...]:
    """The captions of an object with exactly one of "text", "caption" (a text), "texts", "captions" (a list)."""
    keys = [key for key in ("text", "caption", "texts", "captions") if key in given]
    if len(keys) != 1:
        has = f"both {keys[0]!r} and {keys[1]!r}" if keys else "no caption"
        raise EntryError(
            "no caption" if not keys else "contradicting entries",
            f"{what} has {has}; give exactly one of 'text', 'caption' (a text) or 'texts', 'captions' (a list)",
        )
    key = keys[0]
    texts = given[key]
    if key in ("text", "caption"):
        texts = [texts]
    if not isinstance(texts, list) or not texts:
        raise EntryError(
            "no caption", f"{where}, {key}: {short(texts)} is not allowed; it must be a list of at least one caption"
        )
    return without_repeats([checked_caption(text, f"{where}, {key}") for text in texts])


def attributes_of(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EntryError(
            "attributes of a wrong type", f"{where}, attributes: {short(value)} must be an object of names and values"
        )
    attributes = {}
    for name, given in value.items():
        usable = isinstance(given, str | bool | int) and str(given).strip()
        if not usable or not (str(given) + name).isprintable() or len(str(given) + name) > 200:
            raise EntryError(
                "attributes of a wrong type",
                f"{where}, attributes, {short(name)}: {short(given)} must be a short text",
            )
        attributes[name] = str(given)
    return attributes
