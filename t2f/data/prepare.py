"""Preparing a source: every picture decoded once, shrunk to each resolution and kept as a memory-mapped array.

N images, M captions, A attributes, R resolution
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from t2f.data.files import new_folder, read_json, sha256_of_file, write_json
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.prepared import MANIFEST, PREPARE_VERSION, PreparedData, images_name, is_prepared, read_manifest
from t2f.data.readers import SPLITS, Example, read_source
from t2f.data.words import Vocabulary, split_words
from t2f.errors import DataError

MAX_RESOLUTION = 1024
SOURCE = (
    "source.json"  # where the data came from and the hashes of its files; not part of the manifest, for it may change
)
MISSING = "missing"  # in place of the hash of a file that cannot be read
_BATCH = 128
_NAMED_BAD_IMAGES = 20
_DEFAULT_CROPS = {"face2text": CropOptions(kind="centre", size=128)}  # LFW's faces are the central 128 of 250 pixels

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How a source is prepared. Every field is part of the data key."""

    max_resolution: int = 64  # pixels; all powers of two from 4 up to it are written
    crop: CropOptions | None = None  # None: the format's own default
    validation_fraction: float = 0.1  # of the images, where the source names no splits
    test_fraction: float = 0.1
    split_seed: int = 0
    min_count: int = 2  # rarer words become the unknown word, which so gets something to learn from
    max_tokens: int = 100  # captions are cut after it
    on_bad_image: str = "fail"  # or "skip"

    def __post_init__(self) -> None:
        allowed = [2**power for power in range(2, MAX_RESOLUTION.bit_length())]
        if self.max_resolution not in allowed:
            _refuse("max_resolution", self.max_resolution, f"one of {', '.join(map(str, allowed))}")
        fractions = (self.validation_fraction, self.test_fraction)
        if not (all(0 <= fraction < 1 for fraction in fractions) and sum(fractions) < 1):
            _refuse("validation_fraction and test_fraction", fractions, "from 0 to below 1, and below 1 together")
        for name, highest in (("split_seed", 2**32 - 1), ("min_count", 10**9), ("max_tokens", 10_000)):
            value, lowest = getattr(self, name), 0 if name == "split_seed" else 1
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
                _refuse(name, value, f"a whole number from {lowest} to {highest}")
        if self.on_bad_image not in ("fail", "skip"):
            _refuse("on_bad_image", self.on_bad_image, '"fail" or "skip"')

    @property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(2**power for power in range(2, self.max_resolution.bit_length()))


def _refuse(name: str, value: object, allowed: str) -> None:
    raise DataError(f"{name} = {value!r} is not allowed; it must be {allowed}")


def prepare(
    source: Path,
    *,
    format: str,
    out: Path,
    options: PrepareOptions,
    replace: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """The source as prepared data in the folder `out`, which appears at the end and as a whole.

    An `out` that is the same prepared data already is reused; another one is refused, or replaced with replace=True.
    progress(images decoded, images) is called from time to time. threads: None takes one for each core.
    """
    source, out = Path(os.path.abspath(source)), Path(os.path.abspath(out))
    _refuse_foreign(out)
    crop = options.crop or _DEFAULT_CROPS.get(format, CropOptions())
    examples = read_source(format, source)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        hashes = _hash_all(examples, source, pool, known=_remembered(out))
        recorded = {"format": format, "root": str(source), "options": _plain(options, crop), "hashes": hashes}
        key = _data_key(examples, source, hashes, recorded["options"])
        if is_prepared(out) and _same_data(out, key):
            return PreparedData.open(out)
        if is_prepared(out) and not replace:
            raise DataError(
                f"{out} holds other prepared data (another source, changed files or other options); choose another "
                "folder, or replace it with --replace"
            )
        with new_folder(out) as folder:
            kept = _write_images(folder, examples, options, crop, pool, progress)
            skipped = sorted({example.image_id for example in examples} - {example.image_id for example in kept})
            about = _write_texts(folder, kept, options)
            about |= {"prepare_version": PREPARE_VERSION, "key": key, "format": format, "skipped": skipped}
            about |= {"options": recorded["options"], "resolutions": options.resolutions}
            files = {path.name: _size_and_hash(path) for path in sorted(folder.iterdir())}
            write_json(folder / SOURCE, recorded)
            write_json(folder / MANIFEST, about | {"max_tokens": options.max_tokens, "files": files})
    return PreparedData.open(out)


def check_source(path: Path, *, source: Path | None = None) -> None:
    """Raises DataError where the source is no longer what was prepared in the folder `path`.

    Quick: only files whose size or time changed are read. source: where it lies now, None for where it was.
    """
    manifest = read_manifest(Path(path))
    recorded = read_json(Path(path) / SOURCE)
    try:
        format, root = recorded["format"], Path(source or recorded["root"])
        hashes = dict(recorded["hashes"])
    except (TypeError, KeyError, ValueError):
        raise DataError(f"{Path(path) / SOURCE} is damaged; prepare the data again with --replace") from None
    root = Path(os.path.abspath(root))
    examples = read_source(format, root)
    with ThreadPoolExecutor() as pool:
        found = _hash_all(examples, root, pool, known=hashes if root == Path(recorded["root"]) else {})
    if _data_key(examples, root, found, manifest["options"]) != manifest["key"]:
        raise DataError(
            f"{root} has changed since {path} was prepared from it; "
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


def _same_data(out: Path, key: str) -> bool:
    manifest = read_json(out / MANIFEST)
    return isinstance(manifest, dict) and manifest.get("key") == key


# The key: content hashes, split and options


def _plain(options: PrepareOptions, crop: CropOptions) -> dict[str, Any]:
    return asdict(options) | {"crop": str(crop)}


def _data_key(examples: Sequence[Example], root: Path, hashes: Mapping[str, list], options: Mapping[str, Any]) -> str:
    images = sorted(
        [
            example.image_id,
            hashes[_name_below(example.path, root)][2],
            list(example.captions),
            example.split or "",
            sorted(example.attributes.items()),
        ]
        for example in examples
    )
    content = {"prepare_version": PREPARE_VERSION, "options": options, "images": images}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def _name_below(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


def _remembered(out: Path) -> dict[str, list]:
    """What an earlier run found: name to [size, mtime_ns, sha256]; empty where it cannot be used."""
    if not (out / SOURCE).is_file():
        return {}
    recorded = read_json(out / SOURCE)
    hashes = recorded.get("hashes") if isinstance(recorded, dict) else None
    return hashes if isinstance(hashes, dict) else {}


def _hash_all(
    examples: Sequence[Example], root: Path, pool: ThreadPoolExecutor, *, known: Mapping[str, list]
) -> dict[str, list]:
    def find(path: Path) -> tuple[str, list]:
        name = _name_below(path, root)
        try:
            stat = path.stat()
            same = known.get(name)
            if same is not None and same[:2] == [stat.st_size, stat.st_mtime_ns]:
                return name, same
            return name, [stat.st_size, stat.st_mtime_ns, sha256_of_file(path)]
        except OSError:
            return name, [0, 0, MISSING]  # named with its reason when the pictures are decoded

    return dict(pool.map(find, [example.path for example in examples]))


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
    examples: Sequence[Example],
    options: PrepareOptions,
    crop: CropOptions,
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
        for example, decoded in _decoded(examples, options, crop, pool, progress):
            if isinstance(decoded, str):
                bad.append(decoded)
                continue
            kept.append(example)
            for resolution, picture in zip(options.resolutions, decoded, strict=True):
                rows[split_of(example, options), resolution].append(picture)
        for file in rows.values():
            file.finish()
    if bad and options.on_bad_image == "fail":
        raise DataError(_about_bad_images(bad, len(examples)))
    for reason in bad:
        logger.warning("skipped: %s", reason)
    return kept


def _decoded(
    examples: Sequence[Example],
    options: PrepareOptions,
    crop: CropOptions,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> Iterator[tuple[Example, list[np.ndarray] | str]]:
    # Batch by batch, so that the pictures of a large source are never all in memory.
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        yield from zip(
            batch, pool.map(lambda example: _decode(example.path, crop, options.resolutions), batch), strict=True
        )
        if progress is not None:
            progress(start + len(batch), len(examples))


def _about_bad_images(bad: Sequence[str], total: int) -> str:
    named = "\n".join(f"  {reason}" for reason in bad[:_NAMED_BAD_IMAGES])
    more = f"\n  and {len(bad) - _NAMED_BAD_IMAGES} more" if len(bad) > _NAMED_BAD_IMAGES else ""
    return (
        f"{len(bad)} of {total} images cannot be used; mend or remove them, or leave them out with "
        f"--on-bad-image skip:\n{named}{more}"
    )


# Captions, tokens and attributes


def _write_texts(folder: Path, kept: Sequence[Example], options: PrepareOptions) -> dict[str, Any]:
    """Writes everything but the pictures; what the manifest says of it."""
    parts = {split: [example for example in kept if split_of(example, options) == split] for split in SPLITS}
    if not parts["train"]:
        raise DataError(f"none of the {len(kept)} usable images is for training; add images or change the split")
    for example in kept:
        for caption in example.captions:
            if not split_words(caption):
                raise DataError(f"image {example.image_id!r}: the caption {caption!r} has no words; write one")
    captions = [caption for example in parts["train"] for caption in example.captions]
    if not captions and any(example.captions for example in kept):
        raise DataError(
            f"none of the {sum(bool(example.captions) for example in kept)} usable images with captions is for "
            "training; add images or change the split"
        )
    vocabulary = Vocabulary.build(captions, min_count=options.min_count)
    (folder / "vocabulary.json").write_text(vocabulary.to_json() + "\n", encoding="utf-8")
    names = sorted(kept[0].attributes)
    values = {name: sorted({example.attributes[name] for example in kept}) for name in names}
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
    rows = [[places[name][example.attributes[name]] for name in values] for example in examples]
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
