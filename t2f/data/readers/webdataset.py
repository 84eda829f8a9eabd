"""WebDataset: tar shards whose members of one name up to the first dot belong together. Nothing is ever unpacked.

A picture stays where it is in the tar: its example names the bytes of the shard that it takes.
"""

import logging
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from t2f.data.readers.example import (
    EntryError,
    Example,
    Found,
    checked_captions,
    checked_name,
    checked_split,
    entry,
    short,
    split_in_name,
)
from t2f.data.readers.files import PICTURE_SUFFIXES, files_below
from t2f.data.readers.imagefolder import attributes_of, captions_of
from t2f.data.readers.texts import parse_json
from t2f.errors import DataError

_MAX_TEXT_BYTES = 2**20
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

logger = logging.getLogger(__name__)


def recognise_webdataset(root: Path) -> str | None:
    # Compressed ones are refused when they are read, with what to do; else nobody would know them.
    shards = _files(root, (".tar", *_COMPRESSED))
    return f"it holds {len(shards)} tars, such as {shards[0].name}" if shards else None


def read_webdataset(root: Path) -> Iterator[Found]:
    """A sample is 0001.jpg (.jpeg, .png, .webp) with 0001.txt, a caption a line, or with 0001.json that holds it.

    The .json may hold "split" and "attributes" too. Else splits are those that the shards' names say, if all say one.
    """
    compressed = _files(root, _COMPRESSED)
    if compressed:
        raise DataError(
            f"{compressed[0]} is compressed, so its pictures cannot be read where they lie; uncompress it, for "
            "example with gunzip"
        )
    shards = _files(root, (".tar",))
    if not shards:
        raise DataError(f"{root} holds no .tar, neither itself nor in its folders; give the folder that holds shards")
    names = [path.relative_to(root).as_posix() for path in shards]
    splits = [split_in_name(name) for name in names]
    if None in splits:
        splits = [None] * len(shards)
    ignored: Counter[str] = Counter()
    for path, name, split in zip(shards, names, splits, strict=True):
        yield from _read_shard(path, name.removesuffix(".tar"), split, ignored)
    if ignored:
        kinds = ", ".join(f"{times} .{kind}" for kind, times in ignored.most_common(5))
        logger.warning("%s: members that are neither picture nor text were ignored: %s", root, kinds)


def _files(root: Path, endings: tuple[str, ...]) -> list[Path]:
    home = Path(os.path.realpath(root))
    files = files_below(home, pass_links_out=True)
    names = sorted(path.relative_to(home) for path in files if path.name.lower().endswith(endings))
    return [root / name for name in names]


def _read_shard(path: Path, shard: str, split: str | None, ignored: Counter[str]) -> Iterator[Found]:
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                where = f"{path}, member {short(member.name)}"
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    yield EntryError(
                        "member that is no file", f"{where}: is a link or device; only plain files are read"
                    )
                    continue
                try:
                    folder, _, file = checked_name(member.name, where).rpartition("/")
                except EntryError as error:
                    yield error
                    continue
                stem, _, kind = file.partition(".")
                sample = samples.setdefault(f"{folder}/{stem}" if folder else stem, {})
                if kind.lower() in sample:
                    yield EntryError("duplicate id", f"{where}: is there twice; give every sample a name of its own")
                    continue
                sample[kind.lower()] = member
            for key, sample in samples.items():
                yield from _read_sample(tar, path, shard, key, sample, split, ignored)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged or no tar ({error}); get it again") from None


def _read_sample(
    tar: tarfile.TarFile,
    path: Path,
    shard: str,
    key: str,
    sample: Mapping[str, tarfile.TarInfo],
    split: str | None,
    ignored: Counter[str],
) -> Iterator[Found]:
    where = f"{path}, sample {short(key)}"
    pictures = [kind for kind in sample if f".{kind}" in PICTURE_SUFFIXES]  # "mask.png" is another kind
    ignored.update(kind for kind in sample if kind not in pictures and kind not in ("txt", "json"))
    if len(pictures) == 1:
        yield entry(_example, tar, path, f"{shard}/{key}", sample, pictures[0], split, where)
    elif pictures:
        names = ", ".join(sample[kind].name for kind in pictures)
        yield EntryError("two pictures of one name", f"{where}: has the pictures {names}; keep one")
    elif set(sample) & {"txt", "json"}:
        yield EntryError("caption without a picture", f"{where}: has no picture (.jpg, .jpeg, .png or .webp)")


def _example(
    tar: tarfile.TarFile,
    path: Path,
    image_id: str,
    sample: Mapping[str, tarfile.TarInfo],
    picture: str,
    split: str | None,
    where: str,
) -> Example:
    given = _json_of(tar, sample, where)
    if "txt" in sample:
        lines = _text_of(tar, sample["txt"], where).split("\n")
        captions = checked_captions([line for line in lines if line.strip()], where)
    elif given:
        captions = captions_of(given, where, where)
    else:
        captions = ()
    member = sample[picture]
    own_split = checked_split(given.get("split"), f"{where}, split") if isinstance(given.get("split"), str) else None
    return Example(
        image_id=str(PurePosixPath(image_id)),
        path=path,
        captions=captions,
        split=own_split or split,
        attributes=attributes_of(given.get("attributes"), where),
        span=(member.offset_data, member.size),
    )


def _json_of(tar: tarfile.TarFile, sample: Mapping[str, tarfile.TarInfo], where: str) -> Mapping[str, object]:
    if "json" not in sample:
        return {}
    try:
        given = parse_json(_text_of(tar, sample["json"], where), f"{where}, .json")
    except EntryError:
        raise
    except DataError as error:
        raise EntryError("line that is not JSON", str(error)) from None
    if not isinstance(given, dict):
        raise EntryError("entry of a wrong type", f"{where}, .json: {short(given)} is no object")
    return given


def _text_of(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> str:
    if member.size > _MAX_TEXT_BYTES:
        raise EntryError("caption too long", f"{where}: {member.name} has {member.size} bytes; it must be a short text")
    data = tar.extractfile(member).read()
    if len(data) < member.size:
        raise DataError(f"{where}: the tar ends in the middle of {member.name}; get it again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EntryError(
            "caption that is not UTF-8",
            f"{where}: {member.name}, byte 0x{data[error.start]:02X} is not UTF-8 (perhaps Latin-1); save it as UTF-8",
        ) from None
