"""Pictures decoded, shrunk to each resolution and kept as rows of memory-mapped arrays; killed, it goes on.

N images, R resolution
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from t2f.data.files import read_json, sync, write_json
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.options import PrepareOptions
from t2f.data.prepared import images_name
from t2f.data.readers import SPLITS, Example
from t2f.data.splits import split_of
from t2f.errors import DataError

CHECKPOINT_SECONDS = 5.0
PROGRESS = "progress.json"  # in a folder that is not finished: how far it is
_BATCH = 128

Progress = Callable[[int, int], None]
Pictures = Sequence[tuple[Example, CropOptions]]


@dataclass(frozen=True, kw_only=True)
class Written:
    """Which pictures are in the arrays, in order, and why the others are not."""

    kept: list[Example]
    bad: list[str]


def write_images(
    folder: Path,
    pictures: Pictures,
    options: PrepareOptions,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> Written:
    """Writes the pictures of each split at each resolution into `folder`, going on with what lies there.

    What lies there must be of the same pictures and options: the caller names the folder by the data key. Every five
    seconds the rows are put on the disk and then, in PROGRESS, how many there are; more than that is never trusted.
    """
    with ExitStack() as stack:
        rows = _Rows(folder, options, stack)
        done, bad = _progress_in(folder)
        if not rows.resume([example for place, (example, _) in enumerate(pictures[:done]) if place not in bad]):
            done, bad = 0, {}
        noted = time.monotonic()
        if progress is not None and done:
            progress(done, len(pictures))
        for batch in _decoded(pictures[done:], options.resolutions, pool):
            for place, (example, decoded) in enumerate(batch, start=done):
                if isinstance(decoded, str):
                    bad[place] = decoded
                else:
                    rows.append(example, decoded)
            done += len(batch)
            if time.monotonic() - noted >= CHECKPOINT_SECONDS:
                rows.sync()
                _note_progress(folder, done, bad)
                noted = time.monotonic()
            if progress is not None:
                progress(done, len(pictures))
        rows.finish()
        rows.sync()
        _note_progress(folder, done, bad)
    kept = [example for place, (example, _) in enumerate(pictures) if place not in bad]
    return Written(kept=kept, bad=list(bad.values()))


def _progress_in(folder: Path) -> tuple[int, dict[int, str]]:
    """How many pictures an earlier process has done, and the bad ones of them by their places."""
    if not (folder / PROGRESS).is_file():
        return 0, {}
    found = read_json(folder / PROGRESS)
    return found["done"], dict(found["bad"])


def _note_progress(folder: Path, done: int, bad: Mapping[int, str]) -> None:
    draft = folder / f".{PROGRESS}"
    write_json(draft, {"done": done, "bad": list(bad.items())})
    sync(draft)
    draft.rename(folder / PROGRESS)
    sync(folder)


def _decoded(
    pictures: Pictures, resolutions: Sequence[int], pool: ThreadPoolExecutor
) -> Iterator[list[tuple[Example, list[np.ndarray] | str]]]:
    # Batch by batch, so that the pictures of a large source are never all in memory.
    for start in range(0, len(pictures), _BATCH):
        examples, crops = zip(*pictures[start : start + _BATCH], strict=True)
        yield list(zip(examples, pool.map(_decode, examples, crops, repeat(resolutions)), strict=True))


def _decode(example: Example, crop: CropOptions, resolutions: Sequence[int]) -> list[np.ndarray] | str:
    """The picture at each resolution, uint8 [3, R, R], or what is wrong with it."""
    try:
        largest_HWC = downscale(crop_square(open_image(example.path, example.span), crop), resolutions[-1])
    except DataError as error:
        reason = str(error) if str(example.path) in str(error) else f"{example.path}: {error}"
        return reason if example.span is None else f"{example.image_id}: {reason}"
    # The smaller ones come from the largest and not from the file, so that each is the exact average of the next.
    largest = Image.fromarray(largest_HWC)
    pictures = [downscale(largest, resolution) for resolution in resolutions[:-1]]
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)) for picture in (*pictures, largest_HWC)]


class _Rows:
    """The arrays of every split and resolution."""

    def __init__(self, folder: Path, options: PrepareOptions, stack: ExitStack) -> None:
        self._options = options
        self._files: dict[tuple[str, int], _RowFile] = {}
        for split in SPLITS:
            for resolution in options.resolutions:
                file = _RowFile(folder / images_name(split, resolution), resolution)
                stack.callback(file.close)
                self._files[split, resolution] = file

    def resume(self, examples: Sequence[Example]) -> bool:
        """Keep the rows of these and none after them; False, with all rows gone, where they are not all there."""
        counts = Counter(split_of(example, self._options) for example in examples)
        is_whole = all(file.num_rows >= counts[split] for (split, _), file in self._files.items())
        for (split, _), file in self._files.items():
            file.cut(counts[split] if is_whole else 0)
        return is_whole

    def append(self, example: Example, pictures: Sequence[np.ndarray]) -> None:
        split = split_of(example, self._options)
        for resolution, picture in zip(self._options.resolutions, pictures, strict=True):
            self._files[split, resolution].append(picture)

    def sync(self) -> None:
        for file in self._files.values():
            file.sync()

    def finish(self) -> None:
        for file in self._files.values():
            file.finish()


class _RowFile:
    """A .npy file of uint8 pictures to which rows are added, its header written again once their number is known."""

    def __init__(self, path: Path, resolution: int) -> None:
        path.touch()
        self._path = path
        self._file: BinaryIO = path.open("r+b")
        self._shape = (3, resolution, resolution)
        self._row_bytes = 3 * resolution * resolution
        self.num_rows = 0
        self._write_header()
        self._header_bytes = self._file.tell()
        self.num_rows = max(0, path.stat().st_size - self._header_bytes) // self._row_bytes

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the first axis to grow, so its length stays the same.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.num_rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def cut(self, num_rows: int) -> None:
        end = self._header_bytes + num_rows * self._row_bytes
        self._file.truncate(end)
        self._file.seek(end)
        self.num_rows = num_rows

    def append(self, picture: np.ndarray) -> None:
        assert picture.shape == self._shape
        self._file.write(picture.data)
        self.num_rows += 1

    def sync(self) -> None:
        self._file.flush()
        sync(self._path)

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()

    def close(self) -> None:
        self._file.close()
