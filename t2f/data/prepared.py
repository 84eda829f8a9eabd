"""Prepared data: what training, evaluation and the pages read. Small files at once, pictures memory-mapped.

N images (captioned_N and uncaptioned_N share them), M captions, T tokens, A attributes, R resolution
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from t2f.data.files import read_json, sha256_of_file
from t2f.data.readers import SPLITS
from t2f.data.words import Vocabulary
from t2f.errors import DataError

MANIFEST = "manifest.json"
# Raised when what prepare() writes changes; part of the key.
PREPARE_VERSION = 1
NOT_KNOWN = -1  # in place of the attributes of a picture that came without captions, and so without attributes


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The training, validation or test part of a prepared data set."""

    name: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]  # of all images, one image after the other
    # int64 [N + 1]: captions of image i are captions[offsets[i] : offsets[i + 1]], which may be none.
    caption_offsets: np.ndarray
    captioned_N: np.ndarray  # int64: the images with a caption, ascending
    uncaptioned_N: np.ndarray  # int64: the others; only the training split may have some of both
    caption_image_M: np.ndarray  # int64: the image of each caption
    caption_text_group_M: np.ndarray  # int64: captions of the same words have the same number
    tokens_MT: np.ndarray  # uint16, padded with 0
    token_lengths_M: np.ndarray  # int64
    attributes_NA: np.ndarray  # int64: places in PreparedData.attribute_values, in its order, or NOT_KNOWN; A may be 0
    _folder: Path
    _resolutions: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.image_ids)

    def images(self, resolution: int) -> np.ndarray:
        """The pictures at that resolution: uint8 [N, 3, R, R], memory-mapped and read-only."""
        if resolution not in self._resolutions:
            raise DataError(
                f"{resolution} px images are wanted, but {self._folder} holds {_listed(self._resolutions)} px; "
                f"run `t2f data prepare` with --resolution {resolution}, or drop the stages above "
                f"{max(self._resolutions)} px"
            )
        expected = (self.size, 3, resolution, resolution)
        if self.size == 0:
            return np.empty(expected, dtype=np.uint8)  # an empty file cannot be mapped
        path = self._folder / images_name(self.name, resolution)
        images = _load(path, mmap_mode="r")
        if images.shape != expected or images.dtype != np.uint8:
            raise DataError(f"{path} holds {images.dtype} {images.shape}, not uint8 {expected}; prepare the data again")
        return images


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedData:
    """A prepared data set on disk, opened for reading."""

    path: Path
    key: str  # hex sha256: names the content, whatever the folder is called
    resolutions: tuple[int, ...]
    vocabulary: Vocabulary
    max_tokens: int
    attribute_values: dict[str, tuple[str, ...]]  # {} where the source has no attributes
    manifest: dict[str, Any]
    _splits: dict[str, Split] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    @classmethod
    def open(cls, path: Path) -> "PreparedData":
        """The data set in this folder; DataError where a file of it is missing or has another size than was written."""
        path = Path(path).absolute()
        manifest = read_manifest(path)
        for name, wanted in manifest["files"].items():
            file = path / name
            found = file.stat().st_size if file.is_file() else None
            if found != wanted["size"]:
                is_now = "is missing" if found is None else f"has {found} bytes"
                raise DataError(
                    f"{file} {is_now}, but {MANIFEST} says {wanted['size']} bytes; "
                    "prepare the data again with `t2f data prepare --replace`"
                )
        return cls(
            path=path,
            key=manifest["key"],
            resolutions=tuple(manifest["resolutions"]),
            vocabulary=Vocabulary.from_json((path / "vocabulary.json").read_text(encoding="utf-8")),
            max_tokens=manifest["max_tokens"],
            attribute_values={name: tuple(values) for name, values in manifest["attribute_values"].items()},
            manifest=manifest,
        )

    @property
    def has_captions(self) -> bool:
        """Whether there is any text in it; the training split then has some."""
        return len(self.split("train").captions) > 0

    def split(self, name: str) -> Split:
        """The split "train", "validation" or "test"; it may be empty, but never "train"."""
        if name not in SPLITS:
            raise DataError(f"split {name!r} is not known; allowed: {', '.join(SPLITS)}")
        if name not in self._splits:
            self._splits[name] = self._read_split(name)
        return self._splits[name]

    def verify(self) -> None:
        """Reads every file again and raises DataError where one is not what was written."""
        for name, wanted in self.manifest["files"].items():
            if sha256_of_file(self.path / name) != wanted["sha256"]:
                raise DataError(
                    f"{self.path / name} was changed or damaged (its sha256 is not the manifest's); "
                    "prepare the data again with `t2f data prepare --replace`"
                )

    def _read_split(self, name: str) -> Split:
        texts = read_json(self.path / f"{name}_texts.json")
        offsets = _load(self.path / f"{name}_offsets.npy")
        return Split(
            name=name,
            image_ids=tuple(texts["image_ids"]),
            captions=tuple(texts["captions"]),
            caption_offsets=offsets,
            captioned_N=np.flatnonzero(np.diff(offsets)),
            uncaptioned_N=np.flatnonzero(np.diff(offsets) == 0),
            caption_image_M=np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets)),
            caption_text_group_M=_load(self.path / f"{name}_groups.npy"),
            tokens_MT=_load(self.path / f"{name}_tokens.npy"),
            token_lengths_M=_load(self.path / f"{name}_lengths.npy"),
            attributes_NA=_load(self.path / f"{name}_attributes.npy"),
            _folder=self.path,
            _resolutions=self.resolutions,
        )


def images_name(split: str, resolution: int) -> str:
    return f"{split}_{resolution}.npy"


def is_prepared(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def prepared_key(path: Path) -> str | None:
    """The key of the prepared data in a folder; None where there is none of this version."""
    try:
        return read_manifest(path)["key"]
    except DataError:
        return None


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a prepared folder, of this version and with all that is needed in it."""
    if not is_prepared(path):
        raise DataError(f"{path} is no prepared data set ({MANIFEST} is missing); run `t2f data prepare`")
    manifest = read_json(path / MANIFEST)
    version = manifest.get("prepare_version") if isinstance(manifest, dict) else None
    if version != PREPARE_VERSION:
        raise DataError(
            f"{path / MANIFEST} is of version {version!r}, this program reads {PREPARE_VERSION}; "
            "prepare the data again with `t2f data prepare --replace`"
        )
    needed = {"key": str, "resolutions": list, "max_tokens": int, "attribute_values": dict}
    needed |= {"files": dict, "options": dict}
    for name, kind in needed.items():
        if not isinstance(manifest.get(name), kind):
            raise DataError(
                f"{path / MANIFEST} lacks {name!r}; prepare the data again with `t2f data prepare --replace`"
            )
    return manifest


def _load(path: Path, *, mmap_mode: str | None = None) -> np.ndarray:
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; prepare the data again with `t2f data prepare --replace`") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is damaged ({error}); prepare the data again with `t2f data prepare --replace`"
        ) from None


def _listed(resolutions: tuple[int, ...]) -> str:
    return ", ".join(str(resolution) for resolution in resolutions)
