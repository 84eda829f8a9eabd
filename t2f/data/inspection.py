"""What a source holds and what is wrong with it, before anything is prepared: for `t2f data inspect`.

Everything is read and every picture is decoded; nothing is written, and a problem never ends it.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from t2f.data.images import CropOptions, crop_square, decode_image, downscale, read_image, size_and_mode
from t2f.data.options import PrepareOptions
from t2f.data.readers import SPLITS, Example, find_format, read_all, recognise
from t2f.data.splits import split_of, with_validation, without_leaks
from t2f.data.words import split_words
from t2f.errors import DataError

SHEET_IMAGES = 32
SHEET_RESOLUTION = 128  # pixels of a picture on the contact sheet
_COMMON_WORDS = 20
_BATCH = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How many of something there are in each of many."""

    lowest: int
    median: float
    highest: int

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread | None":
        return cls(lowest=min(values), median=float(median(values)), highest=max(values)) if values else None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One kind of thing that is wrong, how often, and the first of them."""

    kind: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words of all captions, as the models split them."""

    words: int  # different ones, punctuation and numbers counted
    once: int  # of those that begin with a letter, how many occur once
    tokens: int
    common: tuple[tuple[str, int], ...]
    rare: tuple[str, ...]  # some of those that occur once


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A source, described."""

    format: str
    why: str
    images: int
    captions: int
    captions_per_image: Spread | None
    caption_words: Spread | None
    long_captions: int  # that would be cut after PrepareOptions.max_tokens
    vocabulary: Vocabulary | None
    splits: dict[str, int]
    official_splits: bool
    identities: int  # people, where the source knows them
    attributes: int
    widths: Spread | None
    heights: Spread | None
    modes: dict[str, int]
    problems: tuple[Problem, ...]
    sheet: tuple[tuple[np.ndarray, str], ...]  # (uint8 [3, 128, 128], first caption) of pictures from all over

    def to_json(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name != "sheet"}
        for name in ("captions_per_image", "caption_words", "vocabulary", "widths", "heights"):
            plain[name] = None if plain[name] is None else vars(plain[name])
        return plain | {"problems": [vars(problem) for problem in self.problems]}


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """What one picture turned out to be."""

    sha256: str | None = None
    width: int = 0
    height: int = 0
    mode: str = ""
    wrong: str | None = None
    kind: str = ""
    tile: np.ndarray | None = None


def inspect(
    source: Path,
    *,
    format: str | None = None,
    options: PrepareOptions | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Reads a source and decodes all its pictures; DataError only where it is of no format or cannot be read at all.

    format: None finds it. options: how it would be prepared; splits and crops are shown by it.
    """
    source, options = Path(source), options or PrepareOptions()
    chosen, why = recognise(source) if format is None else (find_format(format), "as you said")
    reading = read_all(chosen.name, source)
    examples = reading.examples
    crop = options.crop or CropOptions.parse(chosen.crop)
    pictures = _look_at(examples, crop, threads or os.cpu_count() or 1, progress)
    captions = [caption for example in examples for caption in example.captions]
    lengths = [len(split_words(caption)) for caption in captions]
    splits = Counter(split_of(example, options) for example in _as_prepared(examples, pictures, options))
    good = [picture for picture in pictures if picture.wrong is None]
    problems = [
        *_counted((problem.kind, str(problem)) for problem in reading.problems),
        *_counted((picture.kind, picture.wrong) for picture in pictures if picture.wrong is not None),
        *_duplicates(examples, pictures, options),
        *_shared_identities(examples, options),
        *_repeated_captions(examples),
    ]
    return Inspection(
        format=chosen.name,
        why=why,
        images=len(examples),
        captions=len(captions),
        captions_per_image=Spread.of([len(example.captions) for example in examples]) if captions else None,
        caption_words=Spread.of(lengths),
        long_captions=sum(length > options.max_tokens for length in lengths),
        vocabulary=_vocabulary(captions),
        splits={split: splits[split] for split in SPLITS},
        official_splits=any(example.split is not None for example in examples),
        identities=len({example.identity for example in examples} - {None}),
        attributes=len(examples[0].attributes) if examples else 0,
        widths=Spread.of([picture.width for picture in good]),
        heights=Spread.of([picture.height for picture in good]),
        modes=dict(Counter(picture.mode for picture in good).most_common()),
        problems=tuple(problems),
        sheet=tuple(
            (picture.tile, example.captions[0] if example.captions else example.image_id)
            for example, picture in zip(examples, pictures, strict=True)
            if picture.tile is not None
        ),
    )


def _as_prepared(examples: Sequence[Example], pictures: Sequence["_Picture"], options: PrepareOptions) -> list[Example]:
    contents = {example.image_id: picture.sha256 for example, picture in zip(examples, pictures, strict=True)}
    return without_leaks(with_validation(examples, options), lambda example: contents[example.image_id], options)


# Pictures


def _look_at(examples: Sequence[Example], crop: CropOptions, threads: int, progress: Progress | None) -> list[_Picture]:
    # Spread over the whole source, because its beginning is often one person or one kind.
    shown = {place * len(examples) // SHEET_IMAGES for place in range(SHEET_IMAGES)}
    pictures: list[_Picture] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            tiled = [start + place in shown for place in range(len(batch))]
            pictures += pool.map(_look, batch, tiled, [crop] * len(batch))
            if progress is not None:
                progress(start + len(batch), len(examples))
    return pictures


def _look(example: Example, tiled: bool, crop: CropOptions) -> _Picture:
    where = str(example.path) if example.span is None else f"{example.path} ({example.image_id})"
    if not example.path.exists():
        return _Picture(kind="missing picture", wrong=f"{where} does not exist")
    try:
        data = read_image(example.path, example.span)
        width, height, mode = size_and_mode(data, example.path)
        image = decode_image(data, example.path)
    except DataError as error:
        wrong = str(error) if example.span is None else f"{example.image_id}: {error}"
        return _Picture(kind="picture that does not open", wrong=wrong)
    return _Picture(
        sha256=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        mode=mode,
        tile=_tile(image, crop) if tiled else None,
    )


def _tile(image: Image.Image, crop: CropOptions) -> np.ndarray:
    """The picture as it would be cropped, uint8 [3, 128, 128]; small ones enlarged, and uncropped where too small."""
    try:
        image = crop_square(image, crop)
    except DataError:
        image = crop_square(image, CropOptions())
    if image.width < SHEET_RESOLUTION:
        image = image.resize((SHEET_RESOLUTION, SHEET_RESOLUTION), Image.Resampling.BICUBIC)
    return downscale(image, SHEET_RESOLUTION).transpose(2, 0, 1)


# Words


def _vocabulary(captions: Sequence[str]) -> Vocabulary | None:
    if not captions:
        return None
    counts = Counter(word for caption in captions for word in split_words(caption))
    once = sorted(word for word, count in counts.items() if count == 1 and word[0].isalpha())
    return Vocabulary(
        words=len(counts),
        once=len(once),
        tokens=counts.total(),
        common=tuple(pair for pair in counts.most_common() if pair[0][0].isalpha())[:_COMMON_WORDS],
        rare=tuple(once[:: max(1, len(once) // _COMMON_WORDS)][:_COMMON_WORDS]),
    )


# What is wrong with all of it together


def _counted(found: Any) -> list[Problem]:
    """(kind, message) pairs, put together by kind; the first twenty messages of each."""
    kinds: dict[str, list[str]] = {}
    for kind, message in found:
        kinds.setdefault(kind, []).append(message)
    return [Problem(kind=kind, count=len(messages), examples=tuple(messages[:20])) for kind, messages in kinds.items()]


def _duplicates(examples: Sequence[Example], pictures: Sequence[_Picture], options: PrepareOptions) -> list[Problem]:
    groups: dict[str, list[Example]] = {}
    for example, picture in zip(examples, pictures, strict=True):
        if picture.sha256 is not None:
            groups.setdefault(picture.sha256, []).append(example)
    found = []
    for group in groups.values():
        if len(group) > 1:
            across = len({example.split for example in group}) > 1
            kind = "same picture in several splits" if across else "same picture several times"
            found.append((kind, ", ".join(example.image_id for example in group[:5])))
    return _counted(found)


def _shared_identities(examples: Sequence[Example], options: PrepareOptions) -> list[Problem]:
    people: dict[str, set[str]] = {}
    for example in examples:
        if example.identity is not None:
            people.setdefault(example.identity, set()).add(split_of(example, options))
    shared = ((person, splits) for person, splits in people.items() if len(splits) > 1)
    return _counted(("person in several splits", f"{person}: {', '.join(sorted(splits))}") for person, splits in shared)


def _repeated_captions(examples: Sequence[Example]) -> list[Problem]:
    """Captions that very many images share tell the model nothing, and often come from a template or a mistake."""
    counts = Counter(caption for example in examples for caption in example.captions)
    limit = max(10, len(examples) // 20)
    return _counted(
        ("caption of many images", f"{count} images: {caption[:80]}")
        for caption, count in counts.most_common(20)
        if count > limit
    )
