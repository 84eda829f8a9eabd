"""Which split an image is in: the source's own, else one by the hash of its name; never one picture in two splits."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from t2f.data.options import PrepareOptions
from t2f.data.readers import Example

# A picture that several splits of a source hold stays in the last of these that has it.
_HELD_OUT_LAST = ("train", "validation", "test")

logger = logging.getLogger(__name__)


def split_of(example: Example, options: PrepareOptions) -> str:
    """The source's own split, else one by the hash of (seed, image_id): it stays when other images come or go."""
    if example.split is not None:
        return example.split
    place = _place(example.image_id, options)
    if place < options.test_fraction:
        return "test"
    return "validation" if place < options.test_fraction + options.validation_fraction else "train"


def _place(image_id: str, options: PrepareOptions) -> float:
    digest = hashlib.sha256(f"{options.split_seed}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def with_validation(examples: Sequence[Example], options: PrepareOptions) -> list[Example]:
    """The examples, a share of the training images put into validation where the source names all splits but that one.

    Choosing needs images that were neither trained on nor are the test's.
    """
    given = {example.split for example in examples}
    if None in given or "validation" in given or options.validation_fraction == 0:
        return list(examples)
    return [
        replace(example, split="validation")
        if example.split == "train" and _place(example.image_id, options) < options.validation_fraction
        else example
        for example in examples
    ]


def without_leaks(
    examples: Sequence[Example], content_of: Callable[[Example], str | None], options: PrepareOptions
) -> list[Example]:
    """The examples, so that no two splits share a picture of the same content.

    content_of: the hash of an example's picture; None where there is none. Without splits of the source, pictures of
    one content follow the one whose name comes first. The source's own splits are kept: of a picture in several, those
    that would be trained on (or chosen with) and are held out elsewhere are left out and counted.
    """
    together: dict[str, list[Example]] = {}
    for example in examples:
        content = content_of(example)
        if content is not None:
            together.setdefault(content, []).append(example)
    moved: dict[str, str | None] = {}
    for group in together.values():
        splits = {split_of(example, options) for example in group}
        if len(splits) > 1 and group[0].split is None:
            split = split_of(min(group, key=lambda example: example.image_id), options)
            moved |= {example.image_id: split for example in group}
        elif len(splits) > 1:
            kept = max(splits, key=_HELD_OUT_LAST.index)
            moved |= {example.image_id: None for example in group if example.split != kept}
    left_out = [image_id for image_id, split in moved.items() if split is None]
    if left_out:
        logger.warning(
            "%d pictures are in another, held-out split too, by content, and were left out, such as %s",
            len(left_out),
            left_out[0],
        )
    return [
        replace(example, split=moved.get(example.image_id, example.split))
        for example in examples
        if moved.get(example.image_id, "") is not None
    ]
