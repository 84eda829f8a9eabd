"""What a data set is made of: pictures, the hashes of their files, captions, and the key that names it all."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from t2f.data.files import sha256_of_file
from t2f.data.images import CropOptions
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepared import PREPARE_VERSION
from t2f.data.readers import Example, read_source
from t2f.data.splits import with_validation, without_leaks
from t2f.errors import DataError

_SPAN = "::"  # between a file and the bytes of it that are one picture
MISSING = "missing"  # in place of the hash of a file that cannot be read
# Before the names of uncaptioned pictures, which are told from the source's by it: a source's names hold no such colon.
_UNCAPTIONED_ID = "uncaptioned:"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The pictures that are taken from one folder."""

    root: Path
    examples: tuple[Example, ...]
    # Where below root -> [size and mtime_ns of the file, sha256 of the picture], also of pictures that are left out.
    hashes: Mapping[str, list[Any]]
    crop: CropOptions

    def sha256(self, example: Example) -> str:
        return self.hashes[_where(example, self.root)][2]

    def changed_files(self) -> list[str]:
        """Files whose size or time are no longer what they were when they were read."""
        seen: dict[str, list[Any]] = {}
        for where, (size, mtime_ns, sha256) in self.hashes.items():
            if sha256 != MISSING:
                seen[where.partition(_SPAN)[0]] = [size, mtime_ns]
        return sorted(name for name, found in seen.items() if _size_and_time(self.root / name) != found)


@dataclass(frozen=True, kw_only=True)
class Content:
    """A source as it would be prepared: pictures not yet opened, captions not yet split into words."""

    format: str
    options: Mapping[str, Any]  # as `PrepareOptions.plain` gives them
    source: Part
    uncaptioned: Part | None
    counts: Mapping[str, int]  # of uncaptioned pictures: found, same_content, same_name

    @cached_property
    def key(self) -> str:
        """Hex sha256 of everything that prepared data is made from, wherever it lies."""
        images = sorted(
            [
                example.image_id,
                self.source.sha256(example),
                list(example.captions),
                example.split or "",
                sorted(example.attributes.items()),
            ]
            for example in self.source.examples
        )
        content = {"prepare_version": PREPARE_VERSION, "options": self.options, "images": images}
        if self.uncaptioned is not None:
            part = self.uncaptioned
            hashes = sorted([example.image_id, part.sha256(example)] for example in part.examples)
            content["uncaptioned"] = {"crop": str(part.crop), "images": hashes}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()

    @property
    def pictures(self) -> list[tuple[Example, CropOptions]]:
        """Every picture and how it is cropped, the source's first."""
        parts = [self.source] if self.uncaptioned is None else [self.source, self.uncaptioned]
        return [(example, part.crop) for part in parts for example in part.examples]

    def recorded(self) -> dict[str, Any]:
        """Where it came from and what was found there: for `read_content` to know again."""
        plain = {"format": self.format, "root": str(self.source.root), "options": self.options}
        plain["hashes"] = self.source.hashes
        if self.uncaptioned is not None:
            part = self.uncaptioned
            plain["uncaptioned"] = {"root": str(part.root), "crop": str(part.crop), "hashes": part.hashes}
        return plain


def differences(recorded: Mapping[str, Any], now: Content) -> str:
    """What changed, in words, since `Content.recorded` gave `recorded`."""
    before: dict[str, Any] = dict(recorded.get("hashes") or {})
    after = dict(now.source.hashes)
    if now.uncaptioned is not None:
        # Two folders may hold files of the same names.
        further = (recorded.get("uncaptioned") or {}).get("hashes") or {}
        before |= {f"{_UNCAPTIONED_ID}{name}": known for name, known in further.items()}
        after |= {f"{_UNCAPTIONED_ID}{name}": found for name, found in now.uncaptioned.hashes.items()}
    gone = sorted(name for name in before if name not in after or after[name][2] == MISSING != before[name][2])
    new = sorted(name for name in after if name not in before)
    changed = sorted(name for name in set(before) & set(after) - set(gone) if before[name][2] != after[name][2])
    counted = (("changed", changed), ("gone", gone), ("new", new))
    parts = [
        f"{len(names)} {'pictures are' if len(names) > 1 else 'picture is'} {what}, such as {names[0]}"
        for what, names in counted
        if names
    ]
    return "; ".join(parts) or "its pictures are the same, but captions, splits or attributes are not"


def read_content(
    source: Path,
    *,
    format: str,
    options: Mapping[str, Any],
    uncaptioned: Uncaptioned | None,
    known: Any,
    threads: int | None = None,
) -> Content:
    """The content of a source, and of a folder of uncaptioned pictures; DataError where one cannot be used.

    known: what `Content.recorded` gave before, or anything else: files whose size and time are in it are not read.
    """
    if uncaptioned is not None and not uncaptioned.folder.is_dir():
        raise DataError(f"--uncaptioned {uncaptioned.folder} is no folder; give a folder that holds pictures")
    known = known if isinstance(known, dict) else {}
    chosen = PrepareOptions.of_plain(options)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        part = _read_part(source, format, chosen.crop, pool, known)
        part = replace(part, examples=_split(part, chosen))
        if uncaptioned is None:
            return Content(format=format, options=options, source=part, uncaptioned=None, counts={})
        crop = uncaptioned.crop or part.crop
        further = _read_part(uncaptioned.folder, "folder", crop, pool, known.get("uncaptioned"))
    further, counts = _without(part, further)
    return Content(format=format, options=options, source=part, uncaptioned=further, counts=counts)


def _split(part: Part, options: PrepareOptions) -> tuple[Example, ...]:
    def content_of(example: Example) -> str | None:
        sha256 = part.sha256(example)
        return None if sha256 == MISSING else sha256

    return tuple(without_leaks(with_validation(part.examples, options), content_of, options))


def _read_part(root: Path, format: str, crop: CropOptions, pool: ThreadPoolExecutor, known: Any) -> Part:
    root = Path(os.path.abspath(root))
    examples = read_source(format, root)
    hashes = known.get("hashes") if isinstance(known, dict) and known.get("root") == str(root) else None
    remembered = hashes if isinstance(hashes, dict) else {}

    hashes, unknown = {}, []
    for example in examples:
        where, now = _where(example, root), _size_and_time(example.path)
        same = remembered.get(where)
        if now is not None and isinstance(same, list) and len(same) == 3 and same[:2] == now:
            hashes[where] = same
        else:
            hashes[where] = [0, 0, MISSING]  # keeps the order; a missing one is named when the pictures are decoded
            unknown += [(where, now, example)] if now is not None else []
    for (where, now, _), sha256 in zip(unknown, pool.map(_sha256, [example for *_, example in unknown]), strict=True):
        hashes[where] = [*now, sha256] if sha256 is not None else [0, 0, MISSING]
    return Part(root=root, examples=tuple(examples), hashes=hashes, crop=crop)


def _sha256(example: Example) -> str | None:
    try:
        return sha256_of_file(example.path, example.span)
    except OSError:
        return None


def _where(example: Example, root: Path) -> str:
    """The picture's file below root, and of a part of a file which one."""
    path, below = str(example.path), f"{root}{os.sep}"
    # Readers join names to the root, so cutting it off again is enough for nearly all; relpath is slow.
    name = path.removeprefix(below) if path.startswith(below) else os.path.relpath(path, root)
    return name if example.span is None else f"{name}{_SPAN}{example.span[0]}+{example.span[1]}"


def _size_and_time(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _without(source: Part, further: Part) -> tuple[Part, dict[str, int]]:
    """The further pictures that the source does not hold as well, all for training, and how many were found.

    A picture that is held out to measure with must not be trained on. Names count too, because data sets of the same
    people come in several versions, LFW's aligned and not, whose files differ.
    """
    contents = {sha256 for _, _, sha256 in source.hashes.values()} - {MISSING}
    names = {_name(example) for example in source.examples}
    counts = {"found": len(further.examples), "same_content": 0, "same_name": 0}
    kept = []
    for example in further.examples:
        if further.sha256(example) in contents:
            counts["same_content"] += 1
        elif _name(example) in names:
            counts["same_name"] += 1
        else:
            kept.append(replace(example, image_id=_UNCAPTIONED_ID + example.image_id, split="train"))
    if not kept:
        raise DataError(
            f"all {counts['found']} pictures in {further.root} are in {source.root} too "
            f"({counts['same_content']} with the same content, {counts['same_name']} with the same name); "
            "give a folder of other pictures, or leave out --uncaptioned"
        )
    return replace(further, examples=tuple(kept)), counts


def _name(example: Example) -> str:
    name = example.path.stem if example.span is None else example.image_id.rpartition("/")[2]
    return name.casefold()
