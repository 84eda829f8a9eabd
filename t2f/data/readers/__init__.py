"""Readers: a source folder, in one of the formats that people have, to a list of examples.

`formats` knows them all; a file for each family reads it; `example`, `texts` and `files` hold what they share. A
further format comes by the entry point group `t2f.datasets`: a function of a folder, or a `Format`; what it gives is
checked like the others.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2f.data.readers.example import SPLITS, EntryError, Example, checked_caption, short
from t2f.data.readers.files import links_that_lead_out
from t2f.data.readers.formats import (
    FORMATS,
    Format,
    find_format,
    recognise,
    recognised,
    require_folder,
)
from t2f.errors import DataError

__all__ = [
    "FORMATS",
    "NAMED_PROBLEMS",
    "SPLITS",
    "EntryError",
    "Example",
    "Format",
    "Reading",
    "find_format",
    "listed",
    "read_all",
    "read_source",
    "recognise",
    "recognised",
]

NAMED_PROBLEMS = 20  # of many things that are wrong, so many are named and the rest is counted


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a source holds: examples in the order of its files, and what is wrong with the entries that are none."""

    examples: list[Example]
    problems: list[EntryError]


def read_source(format: str, root: Path) -> list[Example]:
    """The examples of the source in the order of its files; DataError, naming file and line, where something is wrong.

    Pictures are not opened here: one that is missing or damaged is found when it is decoded.
    """
    reading = read_all(format, root)
    if len(reading.problems) == 1:
        raise reading.problems[0]
    if reading.problems:
        raise DataError(
            f"{len(reading.problems)} entries of {root} cannot be used; mend or remove them:\n"
            + listed([str(problem) for problem in reading.problems])
        )
    return reading.examples


def read_all(format: str, root: Path) -> Reading:
    """Examples and problems of a source; DataError only where the source as a whole cannot be read."""
    reader = find_format(format).read
    root = Path(root)
    require_folder(root)
    examples: list[Example] = []
    problems: list[EntryError] = []
    try:
        for found in reader(root):
            if isinstance(found, EntryError):
                problems.append(found)
            elif isinstance(found, Example):
                examples.append(found)
            else:
                raise DataError(f"the reader of format {format!r} gave {short(found)}, which is no Example")
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}") from None
    if not examples and not problems:
        raise DataError(f"{root} holds no images in format {format!r}; check that this is the right folder")
    problems += _problems_together(examples, root)
    problems += links_that_lead_out(examples, root)
    return Reading(examples=examples, problems=problems)


def _problems_together(examples: Sequence[Example], root: Path) -> Iterator[EntryError]:
    """What readers of others may get wrong too, and what concerns all examples of a source together."""
    times = Counter(example.image_id for example in examples)
    for image_id in (image_id for image_id, number in times.items() if number > 1):
        yield EntryError("duplicate id", f"{root}: image {image_id!r} is there twice; every image needs its own name")
    has_captions = any(example.captions for example in examples)
    for example in examples:
        # Held-out images are there to be described: only pictures for training may come without, from another folder.
        if has_captions and not example.captions:
            yield EntryError(
                "no caption",
                f"{root}: image {example.image_id!r} has no caption, but others have; write one, or move the image to "
                "a folder of its own and give that with --uncaptioned",
            )
        if example.split is not None and example.split not in SPLITS:
            yield EntryError(
                "unknown split",
                f"{root}: image {example.image_id!r} has split {example.split!r}; allowed: {', '.join(SPLITS)}",
            )
        for caption in example.captions:
            try:
                checked_caption(caption, f"{root}, image {example.image_id!r}")
            except EntryError as error:
                yield error
    yield from _unlike(examples, root)


def _unlike(examples: Sequence[Example], root: Path) -> Iterator[EntryError]:
    """One error for the first image that names a split where the first does not, and one likewise for attributes."""
    first = examples[0] if examples else None
    other = next((example for example in examples if (example.split is None) != (first.split is None)), None)
    if other is not None:
        yield EntryError(
            "contradicting entries",
            f"{root}: images {first.image_id!r} and {other.image_id!r}: only one of them names a split; "
            "name it for every image or for none",
        )
    other = next((example for example in examples if set(example.attributes) != set(first.attributes)), None)
    if other is not None:
        differing = sorted(set(other.attributes) ^ set(first.attributes))
        yield EntryError(
            "contradicting entries",
            f"{root}: images {first.image_id!r} and {other.image_id!r} differ in the attributes "
            f"{', '.join(differing)}; every image needs the same ones, or none",
        )


def listed(reasons: Sequence[str]) -> str:
    """The first twenty, a line each, and how many more there are."""
    more = len(reasons) - NAMED_PROBLEMS
    lines = [f"  {reason}" for reason in reasons[:NAMED_PROBLEMS]]
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)
