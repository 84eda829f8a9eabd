"""Preparing a source: every picture decoded once, shrunk to each resolution and kept as a memory-mapped array.

N images, M captions, A attributes, R resolution
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from t2f.data.content import Content, read_content
from t2f.data.files import new_folder, read_json, sha256_of_file, write_json
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepared import (
    MANIFEST,
    NOT_KNOWN,
    PREPARE_VERSION,
    PreparedData,
    images_name,
    is_prepared,
    read_manifest,
)
from t2f.data.readers import SPLITS, Example
from t2f.data.words import Vocabulary, split_words
from t2f.errors import DataError

# Where the data came from and the hashes of its files; not part of the manifest, for it may change.
SOURCE = "source.json"
_BATCH = 128
_NAMED_BAD_IMAGES = 20

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


def planned_content(
    source: Path,
    *,
    format: str,
    out: Path,
    options: PrepareOptions,
    uncaptioned: Uncaptioned | None = None,
    replace: bool = False,
    threads: int | None = None,
) -> Content:
    """What `prepare` would make of the same arguments; DataError where it would refuse the source or `out`.

    Nothing is written, and pictures are not decoded.
    """
    _refuse_foreign(out)
    known = read_json(out / SOURCE) if (out / SOURCE).is_file() else None
    content = read_content(
        source, format=format, options=options.plain(format), uncaptioned=uncaptioned, known=known, threads=threads
    )
    if is_prepared(out) and not replace and not is_prepared_from(out, content):
        raise DataError(
            f"{out} holds other prepared data (another source, changed files or other options); choose another "
            "folder, or replace it with --replace"
        )
    return content


def prepare(
    source: Path,
    *,
    format: str,
    out: Path,
    options: PrepareOptions,
    uncaptioned: Uncaptioned | None = None,
    replace: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """The source as prepared data in the folder `out`, which appears at the end and as a whole.

    An `out` that is the same prepared data already is reused; another one is refused, or replaced with replace=True.
    progress(images decoded, images) is called from time to time. threads: None takes one for each core.
    """
    content = planned_content(
        source, format=format, out=out, options=options, uncaptioned=uncaptioned, replace=replace, threads=threads
    )
    return prepare_content(content, out=out, options=options, threads=threads, progress=progress)


def prepare_content(
    content: Content,
    *,
    out: Path,
    options: PrepareOptions,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """`prepare` for what `planned_content` found with the same options; other prepared data in `out` is replaced."""
    out = Path(os.path.abspath(out))
    if is_prepared_from(out, content):
        return PreparedData.open(out)
    with new_folder(out) as folder, ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        kept = _write_images(folder, content.pictures, options, pool, progress)
        kept_ids = {example.image_id for example in kept}
        skipped = {example.image_id for example, _ in content.pictures} - kept_ids
        _check_training(kept, content, options)
        about = _write_texts(folder, kept, options)
        about |= {
            "prepare_version": PREPARE_VERSION,
            "key": content.key,
            "format": content.format,
            "skipped": sorted(skipped),
        }
        about |= {"options": content.options, "resolutions": options.resolutions}
        if content.uncaptioned is not None:
            used = sum(example.image_id in kept_ids for example in content.uncaptioned.examples)
            about["uncaptioned"] = {"crop": str(content.uncaptioned.crop), "used": used, **content.counts}
        files = {path.name: _size_and_hash(path) for path in sorted(folder.iterdir())}
        write_json(folder / SOURCE, content.recorded())
        write_json(folder / MANIFEST, about | {"max_tokens": options.max_tokens, "files": files})
    return PreparedData.open(out)


def is_prepared_from(out: Path, content: Content) -> bool:
    """Whether the folder holds this content, prepared."""
    manifest = read_json(out / MANIFEST) if is_prepared(out) else None
    return isinstance(manifest, dict) and manifest.get("key") == content.key


def check_source(path: Path, *, source: Path | None = None, uncaptioned: Path | None = None) -> None:
    """Raises DataError where the source is no longer what was prepared in the folder `path`.

    Quick: only files whose size or time changed are read. source, uncaptioned: where they lie now, None for where they
    were.
    """
    manifest = read_manifest(Path(path))
    recorded = read_json(Path(path) / SOURCE)
    try:
        format, roots = recorded["format"], [Path(source or recorded["root"])]
        further = None
        if "uncaptioned" in recorded:
            roots.append(Path(uncaptioned or recorded["uncaptioned"]["root"]))
            further = Uncaptioned(folder=roots[1], crop=CropOptions.parse(recorded["uncaptioned"]["crop"]))
    except (TypeError, KeyError, AttributeError):
        raise DataError(f"{Path(path) / SOURCE} is damaged; prepare the data again with --replace") from None
    content = read_content(roots[0], format=format, options=manifest["options"], uncaptioned=further, known=recorded)
    if content.key != manifest["key"]:
        raise DataError(
            f"{' or '.join(map(str, roots))} has changed since {path} was prepared from it; "
            "prepare it again with --replace, or into a new folder"
        )


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give a folder that is empty or does not exist yet")
    if out.is_dir() and any(out.iterdir()) and not is_prepared(out):
        raise DataError(
            f"{out} is not empty and no prepared data set ({MANIFEST} is missing); "
            "give a folder that is empty or does not exist yet"
        )


# Pictures


def split_of(example: Example, options: PrepareOptions) -> str:
    """The source's own split, else one by the hash of (seed, image_id): it stays when other images come or go."""
    if example.split is not None:
        return example.split
    digest = hashlib.sha256(f"{options.split_seed}/{example.image_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < options.test_fraction:
        return "test"
    return "validation" if place < options.test_fraction + options.validation_fraction else "train"


def _decode(path: Path, crop: CropOptions, resolutions: Sequence[int]) -> list[np.ndarray] | str:
    """The picture at each resolution, uint8 [3, R, R], or what is wrong with it."""
    try:
        largest_HWC = downscale(crop_square(open_image(path), crop), resolutions[-1])
    except DataError as error:
        return str(error) if str(path) in str(error) else f"{path}: {error}"
    # The smaller ones come from the largest and not from the file, so that each is the exact average of the next.
    largest = Image.fromarray(largest_HWC)
    pictures = [downscale(largest, resolution) for resolution in resolutions[:-1]]
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)) for picture in (*pictures, largest_HWC)]


class _RowFile:
    """A .npy file of uint8 pictures to which rows are added, its header written again once their number is known."""

    def __init__(self, path: Path, resolution: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._shape = (3, resolution, resolution)
        self._num_rows = 0
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the first axis to grow, so its length stays the same.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._num_rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, picture: np.ndarray) -> None:
        assert picture.shape == self._shape
        self._file.write(picture.data)
        self._num_rows += 1

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()

    def close(self) -> None:
        self._file.close()


def _write_images(
    folder: Path,
    pictures: Sequence[tuple[Example, CropOptions]],
    options: PrepareOptions,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> list[Example]:
    """Writes the pictures of each split at each resolution; the examples whose pictures are good, in order."""
    kept, bad = [], []
    with ExitStack() as stack:
        rows = {
            (split, resolution): _RowFile(folder / images_name(split, resolution), resolution)
            for split in SPLITS
            for resolution in options.resolutions
        }
        for file in rows.values():
            stack.callback(file.close)
        for example, decoded in _decoded(pictures, options.resolutions, pool, progress):
            if isinstance(decoded, str):
                bad.append(decoded)
                continue
            kept.append(example)
            for resolution, picture in zip(options.resolutions, decoded, strict=True):
                rows[split_of(example, options), resolution].append(picture)
        for file in rows.values():
            file.finish()
    if bad and options.on_bad_image == "fail":
        raise DataError(_about_bad_images(bad, len(pictures)))
    for reason in bad:
        logger.warning("skipped: %s", reason)
    return kept


def _decoded(
    pictures: Sequence[tuple[Example, CropOptions]],
    resolutions: Sequence[int],
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> Iterator[tuple[Example, list[np.ndarray] | str]]:
    # Batch by batch, so that the pictures of a large source are never all in memory.
    for start in range(0, len(pictures), _BATCH):
        examples, crops = zip(*pictures[start : start + _BATCH], strict=True)
        paths = [example.path for example in examples]
        yield from zip(examples, pool.map(_decode, paths, crops, repeat(resolutions)), strict=True)
        if progress is not None:
            progress(start + len(examples), len(pictures))


def _about_bad_images(bad: Sequence[str], total: int) -> str:
    if len(bad) == 1:
        return f"1 of {total} images cannot be used (to leave it out: --on-bad-image skip): {bad[0]}"
    named = "\n".join(f"  {reason}" for reason in bad[:_NAMED_BAD_IMAGES])
    more = f"\n  and {len(bad) - _NAMED_BAD_IMAGES} more" if len(bad) > _NAMED_BAD_IMAGES else ""
    return (
        f"{len(bad)} of {total} images cannot be used; mend or remove them, or leave them out with "
        f"--on-bad-image skip:\n{named}{more}"
    )


# Captions, tokens and attributes


def _check_training(kept: Sequence[Example], content: Content, options: PrepareOptions) -> None:
    """Refuses a training split without images, and one without captions where the source has some."""
    has_captions = any(example.captions for example in content.source.examples)
    usable = [example for example in kept if example.captions] if has_captions else kept
    if not any(split_of(example, options) == "train" for example in usable):
        what = "images with captions" if has_captions and content.uncaptioned is not None else "images"
        raise DataError(f"none of the {len(usable)} usable {what} is for training; add images or change the split")


def _write_texts(folder: Path, kept: Sequence[Example], options: PrepareOptions) -> dict[str, Any]:
    """Writes everything but the pictures; what the manifest says of it."""
    parts = {split: [example for example in kept if split_of(example, options) == split] for split in SPLITS}
    for example in kept:
        for caption in example.captions:
            if not split_words(caption):
                raise DataError(f"image {example.image_id!r}: the caption {caption!r} has no words; write one")
    captions = [caption for example in parts["train"] for caption in example.captions]
    vocabulary = Vocabulary.build(captions, min_count=options.min_count)
    (folder / "vocabulary.json").write_text(vocabulary.to_json() + "\n", encoding="utf-8")
    names = sorted(kept[0].attributes)
    described = [example for example in kept if example.attributes]
    values = {name: sorted({example.attributes[name] for example in described}) for name in names}
    for split, examples in parts.items():
        _write_split(folder, split, examples, vocabulary, values, options.max_tokens)
    sizes = {
        split: {"images": len(examples), "captions": sum(len(example.captions) for example in examples)}
        for split, examples in parts.items()
    }
    return {"splits": sizes, "attribute_values": values}


def _write_split(
    folder: Path,
    split: str,
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    values: Mapping[str, list[str]],
    max_tokens: int,
) -> None:
    captions = [caption for example in examples for caption in example.captions]
    texts = {"image_ids": [example.image_id for example in examples], "captions": captions}
    write_json(folder / f"{split}_texts.json", texts)
    tokens_MT, lengths_M = vocabulary.encode_batch(captions, max_tokens)
    groups: dict[tuple[str, ...], int] = {}
    group_M = [groups.setdefault(tuple(split_words(caption)), len(groups)) for caption in captions]
    places = {name: {value: place for place, value in enumerate(known)} for name, known in values.items()}
    rows = [[places[name].get(example.attributes.get(name), NOT_KNOWN) for name in values] for example in examples]
    arrays = {
        "offsets": np.cumsum([0, *(len(example.captions) for example in examples)], dtype=np.int64),
        "groups": np.array(group_M, dtype=np.int64),
        "tokens": tokens_MT,
        "lengths": lengths_M,
        "attributes": np.array(rows, dtype=np.int64).reshape(len(examples), len(values)),
    }
    for name, array in arrays.items():
        np.save(folder / f"{split}_{name}.npy", array, allow_pickle=False)


def _size_and_hash(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256_of_file(path)}
