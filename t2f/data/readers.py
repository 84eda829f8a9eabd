"""Readers: a source folder, in one of the formats that people have, to a list of examples.

A further format is a function with the entry point group `t2f.datasets`; what it returns is checked like the others.
"""

import difflib
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from typing import Any

from t2f.errors import DataError

SPLITS = ("train", "validation", "test")
MAX_CAPTION_CHARACTERS = 10_000  # the longest of Face2Text has 514; more is a mistake, such as a whole file
ENTRY_POINT_GROUP = "t2f.datasets"
_SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_SPLIT_NAMES |= {"dev": "validation", "training": "train", "testing": "test"}
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture and what is said of it."""

    image_id: str  # unique in its source, independent of where the source lies
    path: Path
    captions: tuple[str, ...]  # none in a source without captions
    split: str | None = None  # the source's own: "train", "validation" or "test"
    attributes: Mapping[str, str] = field(default_factory=dict)


Reader = Callable[[Path], list[Example]]


def read_source(format: str, root: Path) -> list[Example]:
    """The examples of the source in the order of its files; DataError, naming file and line, where something is wrong.

    Pictures are not opened here: one that is missing or damaged is found when it is decoded.
    """
    reader = find_reader(format)
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"the source {root} is no folder; give the folder that holds the data in format {format!r}")
    examples = reader(root)
    if not examples:
        raise DataError(f"{root} holds no images in format {format!r}; check that this is the right folder")
    _check_together(examples, root)
    return examples


def find_reader(format: str) -> Reader:
    if format in READERS:
        return READERS[format]
    others = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if format in others:
        try:
            return others[format].load()
        except (ImportError, AttributeError) as error:
            raise DataError(f"the reader {format!r} ({others[format].value}) cannot be loaded: {error}") from error
    known = sorted({*READERS, *others})
    near = difflib.get_close_matches(format, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise DataError(f"format {format!r} is not known{hint} Known formats: {', '.join(known)}")


# What every reader needs


def checked_caption(text: object, where: str) -> str:
    """The caption with single spaces; DataError where it cannot be one."""
    if not isinstance(text, str):
        raise DataError(f"{where}: the caption is {_short(text)}; it must be a text")
    if len(text) > MAX_CAPTION_CHARACTERS:
        raise DataError(f"{where}: the caption has {len(text)} characters; {MAX_CAPTION_CHARACTERS} are allowed")
    text = " ".join(text.split())
    if not text:
        raise DataError(f"{where}: the caption is empty; write one, or remove the entry")
    for character in text:
        if unicodedata.category(character) in ("Cs", "Cc"):
            kind = "half of a surrogate pair" if unicodedata.category(character) == "Cs" else "a control character"
            raise DataError(f"{where}: the caption holds U+{ord(character):04X}, {kind}; write it as plain UTF-8 text")
    return text


def checked_name(name: object, where: str) -> str:
    """The image's path below the source folder, with forward slashes; DataError where it leads out of it."""
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: the image's name is {_short(name)}; it must be a path below the source folder")
    path = PurePosixPath(name)
    bad = "\\" in name or ":" in name.split("/")[0] or any(unicodedata.category(c) in ("Cs", "Cc") for c in name)
    if bad or path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
        raise DataError(
            f"{where}: the image's name is {_short(name)}; it must be a path below the source folder, with forward "
            "slashes and without '..'"
        )
    return str(path)


def _check_together(examples: Sequence[Example], root: Path) -> None:
    """What readers of others may get wrong too, and what concerns all examples of a source together."""
    repeated = [image_id for image_id, times in Counter(example.image_id for example in examples).items() if times > 1]
    if repeated:
        raise DataError(f"{root}: image {repeated[0]!r} is there twice; every image needs its own name")
    has_captions = any(example.captions for example in examples)
    for example in examples:
        # Held-out images are there to be described: only pictures for training may come without, from another folder.
        if has_captions and not example.captions:
            raise DataError(
                f"{root}: image {example.image_id!r} has no caption, but others have; write one, or move the image to "
                "a folder of its own and give that with --uncaptioned"
            )
        for caption in example.captions:
            checked_caption(caption, f"{root}, image {example.image_id!r}")
        if example.split is not None and example.split not in SPLITS:
            raise DataError(
                f"{root}: image {example.image_id!r} has split {example.split!r}; allowed: {', '.join(SPLITS)}"
            )
        if (example.split is None) != (examples[0].split is None):
            raise DataError(
                f"{root}: images {examples[0].image_id!r} and {example.image_id!r}: only one of them names a split; "
                "name it for every image or for none"
            )
        if set(example.attributes) != set(examples[0].attributes):
            differing = sorted(set(example.attributes) ^ set(examples[0].attributes))
            raise DataError(
                f"{root}: images {examples[0].image_id!r} and {example.image_id!r} differ in the attributes "
                f"{', '.join(differing)}; every image needs the same ones, or none"
            )


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _read_utf8(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02X} is not UTF-8 (perhaps Latin-1); "
            "save the file as UTF-8"
        ) from None


def _parse_json(text: str, source: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{source}, line {line}: not JSON ({error.msg}, column {error.colno})") from None
    # ValueError: a number of thousands of digits; RecursionError: brackets nested by the thousand.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}, line {first_line}: not usable JSON ({error})") from None


# Face2Text v0.1


def read_face2text(root: Path) -> list[Example]:
    """Face2Text v0.1: clean.json (or else raw.json) beside the folder lfw/ with LFW's pictures, .jpg or .png."""
    for name in ("clean.json", "raw.json"):
        if (root / name).is_file():
            source = root / name
            break
    else:
        raise DataError(
            f"{root} holds neither clean.json nor raw.json; give the folder that holds one, and lfw/ beside it"
        )
    entries = _parse_json(_read_utf8(source), source, 1)
    if not isinstance(entries, list):
        raise DataError(f"{source} must be a list of images, but it is {_short(entries)}")
    examples: dict[str, Example] = {}
    for number, entry in enumerate(entries, start=1):
        example = _face2text_example(entry, root, f"{source}, entry {number}")
        known = examples.get(example.image_id)
        if known is not None:
            example = replace(known, captions=_without_repeats(known.captions + example.captions))
        examples[example.image_id] = example
    return list(examples.values())


def _face2text_example(entry: object, root: Path, where: str) -> Example:
    if not isinstance(entry, dict) or not isinstance(entry.get("descriptions"), list):
        raise DataError(f'{where}: {_short(entry)} is no object with "image" and a list "descriptions"')
    name = PurePosixPath(checked_name(entry.get("image"), f"{where}, image"))
    captions = []
    for number, description in enumerate(entry["descriptions"], start=1):
        text = description.get("text") if isinstance(description, dict) else description
        captions.append(checked_caption(text, f"{where} ({name}), description {number}"))
    if not captions:
        raise DataError(f"{where}: {name} has no description; write one, or remove the entry")
    image_id = str(name.with_suffix(""))
    return Example(image_id=image_id, path=_lfw_picture(root / "lfw", name), captions=_without_repeats(captions))


def _lfw_picture(folder: Path, name: PurePosixPath) -> Path:
    """The file on disk: the list says .bmp where LFW has .jpg."""
    for suffix in _PICTURE_SUFFIXES:
        path = folder / name.with_suffix(suffix)
        if path.is_file():
            return path
    return folder / name.with_suffix(".jpg")


def _without_repeats(captions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(captions))


# The imagefolder convention


def read_imagefolder(root: Path) -> list[Example]:
    """metadata.jsonl: lines of "file_name", one of "text", "caption", "texts", and maybe "split" and "attributes"."""
    source = root / "metadata.jsonl"
    if not source.is_file():
        raise DataError(
            f"{root} holds no metadata.jsonl; give the folder that holds it, or use --format folder for pictures "
            "without captions"
        )
    examples: dict[str, Example] = {}
    lines_of: dict[str, int] = {}
    ignored: Counter[str] = Counter()
    for number, line in _lines(source):
        where = f"{source}, line {number}"
        example = _imagefolder_example(_parse_json(line, source, number), root, where, ignored)
        known = examples.get(example.image_id)
        if known is not None:
            if (known.split, known.attributes) != (example.split, example.attributes):
                raise DataError(
                    f"{where}: {example.image_id} is in line {lines_of[example.image_id]} too, with another split or "
                    "other attributes; give both lines the same ones, or remove one line"
                )
            example = replace(known, captions=_without_repeats(known.captions + example.captions))
        examples[example.image_id] = example
        lines_of.setdefault(example.image_id, number)
    for key, times in sorted(ignored.items()):
        logger.warning("%s: the key %s of %d lines is not known and was ignored", source, _short(key), times)
    return list(examples.values())


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    # Not splitlines(), which also breaks at U+2028 and others that JSON allows inside a text.
    for number, line in enumerate(_read_utf8(source).split("\n"), start=1):
        if line.strip():
            yield number, line


def _imagefolder_example(entry: object, root: Path, where: str, ignored: Counter[str]) -> Example:
    if not isinstance(entry, dict):
        raise DataError(f'{where}: {_short(entry)} is no object with "file_name" and "text"')
    ignored.update(set(entry) - {"file_name", "text", "caption", "texts", "split", "attributes"})
    name = checked_name(entry.get("file_name"), f"{where}, file_name")
    given = [key for key in ("text", "caption", "texts") if key in entry]
    if len(given) != 1:
        what = f"both {given[0]!r} and {given[1]!r}" if given else "no caption"
        raise DataError(
            f"{where}: {name} has {what}; give exactly one of 'text', 'caption' (a text) or 'texts' (a list)"
        )
    texts = entry[given[0]]
    if given[0] != "texts":
        texts = [texts]
    if not isinstance(texts, list) or not texts:
        raise DataError(f"{where}, texts: {_short(texts)} is not allowed; it must be a list of at least one caption")
    return Example(
        image_id=name,
        path=root / name,
        captions=_without_repeats([checked_caption(text, f"{where}, {given[0]}") for text in texts]),
        split=_split(entry.get("split"), where),
        attributes=_attributes(entry.get("attributes"), where),
    )


def _split(value: object, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in _SPLIT_NAMES:
        raise DataError(f"{where}, split: {_short(value)} is not allowed; allowed: {', '.join(SPLITS)}")
    return _SPLIT_NAMES[value]


def _attributes(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{where}, attributes: {_short(value)} must be an object of names and values")
    attributes = {}
    for name, given in value.items():
        usable = isinstance(given, str | bool | int) and str(given).strip()
        if not usable or not (str(given) + name).isprintable() or len(str(given) + name) > 200:
            raise DataError(f"{where}, attributes, {_short(name)}: {_short(given)} must be a short text")
        attributes[name] = str(given)
    return attributes


# A folder of pictures without captions


def read_folder(root: Path) -> list[Example]:
    """All pictures of a folder and of the folders in it, by their names' endings; no captions.

    Hidden files and folders are passed over, other files are counted and reported.
    """
    home = Path(os.path.realpath(root))
    names, others = [], []
    for path in sorted(_files_below(home)):
        name = path.relative_to(home).as_posix()
        # A pipe or device that is named like a picture would keep its reader waiting forever.
        is_picture = path.suffix.lower() in _PICTURE_SUFFIXES and (os.path.isfile(path) or not os.path.exists(path))
        (names if is_picture else others).append(name)
    if others:
        logger.warning(
            "%s: files that are no .jpg, .jpeg, .png or .webp were ignored: %d, such as %s",
            root,
            len(others),
            _short(others[0]),
        )
    if not names:
        raise DataError(
            f"{root} holds no pictures (.jpg, .jpeg, .png or .webp), neither itself nor in its folders; "
            "give the folder that holds them"
        )
    spellings: dict[str, str] = {}
    for name in names:
        if any(unicodedata.category(character) in ("Cs", "Cc") for character in name):
            raise DataError(
                f"{root}: the file name {_short(name)} holds a control character or bytes that are not UTF-8; rename it"
            )
        other = spellings.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise DataError(
                f"{root}: the file names {_short(other)} and {_short(name)} are the same but for upper and lower case, "
                "which many disks do not tell apart; rename one"
            )
    return [Example(image_id=name, path=Path(root) / name, captions=()) for name in names]


def _files_below(home: Path) -> Iterator[Path]:
    """Every file that is not hidden; DataError for a link that leads out of `home` and a folder that cannot be read."""
    folders = [home]
    while folders:
        folder = folders.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}; mend its permissions or remove it") from None
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink():
                target = Path(os.path.realpath(path))
                if not target.is_relative_to(home):
                    raise DataError(
                        f"{path} is a link that leads out of {home}, to {target}; copy the file to its place, or "
                        "remove the link"
                    )
                if os.path.isdir(target):
                    continue  # what it leads to is found where it is, and once
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path


READERS: dict[str, Reader] = {"face2text": read_face2text, "folder": read_folder, "imagefolder": read_imagefolder}
