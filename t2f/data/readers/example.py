"""What a reader gives: examples, and what is wrong with each entry that cannot be one; checks that readers share."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from t2f.errors import DataError

SPLITS = ("train", "validation", "test")
MAX_CAPTION_CHARACTERS = 10_000  # the longest of Face2Text has 514; more is a mistake, such as a whole file
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # Unicode's categories Cc and Cs


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture and what is said of it."""

    image_id: str  # unique in its source, independent of where the source lies
    path: Path
    captions: tuple[str, ...]  # none in a source without captions
    split: str | None = None  # the source's own: "train", "validation" or "test"
    attributes: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None  # who is on it, where the source knows; not part of the data key
    span: tuple[int, int] | None = None  # (offset, size) of the picture's bytes in the file; None: the whole file


class EntryError(DataError):
    """One entry of a source cannot be used; the others may be fine."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind  # a few words to count by: "empty caption"


# What a reader yields. It raises DataError for what makes the whole source unreadable.
Found = Example | EntryError
Reader = Callable[[Path], Iterable[Found]]


def checked_caption(text: object, where: str) -> str:
    """The caption with single spaces, in Unicode's form NFC; EntryError where it cannot be one."""
    if not isinstance(text, str):
        raise EntryError("caption of a wrong type", f"{where}: the caption is {short(text)}; it must be a text")
    if len(text) > MAX_CAPTION_CHARACTERS:
        message = f"{where}: the caption has {len(text)} characters; {MAX_CAPTION_CHARACTERS} are allowed"
        raise EntryError("caption too long", message)
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if not text:
        raise EntryError("empty caption", f"{where}: the caption is empty; write one, or remove the entry")
    found = _NOT_TEXT.search(text)
    if found is not None:
        kind = "half of a surrogate pair" if "\ud800" <= found[0] <= "\udfff" else "a control character"
        raise EntryError(
            "caption that is no plain text",
            f"{where}: the caption holds U+{ord(found[0]):04X}, {kind}; write it as plain UTF-8 text",
        )
    return text


def checked_captions(texts: Iterable[object], where: str) -> tuple[str, ...]:
    """The captions, each once; EntryError where one cannot be used or there is none."""
    captions = [checked_caption(text, f"{where}, caption {place}") for place, text in enumerate(texts, start=1)]
    if not captions:
        raise no_caption(where)
    return without_repeats(captions)


def no_caption(where: str) -> EntryError:
    return EntryError("no caption", f"{where}: there is no caption; write one, or remove the entry")


def checked_name(name: object, where: str) -> str:
    """The image's path below the source folder, with forward slashes; EntryError where it leads out of it."""
    if not isinstance(name, str) or not name.strip():
        raise EntryError(
            "bad file name", f"{where}: the image's name is {short(name)}; it must be a path below the source folder"
        )
    path = PurePosixPath(name)
    bad = "\\" in name or ":" in name.split("/")[0] or _NOT_TEXT.search(name) is not None
    if bad or path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
        raise EntryError(
            "bad file name",
            f"{where}: the image's name is {short(name)}; it must be a path below the source folder, with forward "
            "slashes and without '..'",
        )
    return str(path)


def checked_split(value: object, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in SPLIT_NAMES:
        raise EntryError("unknown split", f"{where}: {short(value)} is not allowed; allowed: {', '.join(SPLITS)}")
    return SPLIT_NAMES[value.lower()]


def split_in_name(name: str) -> str | None:
    """The split that a word of a file's name says, such as validation of "captions_val2017.json"."""
    words = "".join(character if character.isalpha() else " " for character in name.lower()).split()
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def without_repeats(captions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(captions))


def entry(make: Callable[..., Example], *given: Any) -> Found:
    """The example that make(*given) is, or why it is none."""
    try:
        return make(*given)
    except EntryError as error:
        return error


def merged(found: Iterable[tuple[str, Found]]) -> Iterator[Found]:
    """(where, entry) pairs with the captions of one image put together, in the order of their first entries.

    Entries of one image that differ in more than their captions are an error.
    """
    examples: dict[str, Example] = {}
    places: dict[str, str] = {}
    for where, one in found:
        if isinstance(one, EntryError):
            yield one
            continue
        known = examples.get(one.image_id)
        if known is None:
            examples[one.image_id], places[one.image_id] = one, where
        elif (known.split, known.attributes) != (one.split, one.attributes):
            file = where.rpartition(", ")[0] + ", "
            yield EntryError(
                "contradicting entries",
                f"{where}: {one.image_id} is in {places[one.image_id].removeprefix(file)} too, with another split or "
                "other attributes; give both the same ones, or remove one",
            )
        else:
            examples[one.image_id] = replace(known, captions=without_repeats(known.captions + one.captions))
    yield from examples.values()


def short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
