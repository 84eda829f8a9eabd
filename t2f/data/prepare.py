"""Preparing a source: its pictures as memory-mapped arrays of each resolution, its captions as tokens, a manifest.

N images, M captions, A attributes
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from t2f.data.cache import PROGRESS, Pictures, Progress, write_images
from t2f.data.cleaning.source import CleanedSource, clean_source
from t2f.data.content import Content, differences, read_content
from t2f.data.files import read_json, resumed_folder, sha256_of_file, write_json
from t2f.data.images import COLOUR_RULES, CropOptions
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepared import (
    MANIFEST,
    NOT_KNOWN,
    PREPARE_VERSION,
    PreparedData,
    is_prepared,
    read_manifest,
)
from t2f.data.readers import SPLITS, Example, listed
from t2f.data.splits import split_of
from t2f.data.words import Vocabulary, split_words
from t2f.errors import DataError

# Where the data came from and the hashes of its files; not part of the manifest, for it may change.
SOURCE = "source.json"
# What cleaning did to each caption, and the rules that it went by; only where captions were cleaned.
CLEANING_LOG = "cleaning.jsonl"
CLEANING_RULES = "cleaning_rules.json"
_TEXT_FILES = (CLEANING_LOG, CLEANING_RULES, "vocabulary.json", *(f"{split}_texts.json" for split in SPLITS))

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

    Killed, the next call with the same arguments goes on where it was.
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
    pictures, cleaned = _cleaned(content, options)
    with resumed_folder(out, content.key) as folder:
        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            written = write_images(folder, pictures, options, pool, progress)
        kept = written.kept
        _follow_policy(written.bad, len(pictures), options)
        _refuse_changes(content)
        kept_ids = {example.image_id for example in kept}
        skipped = {example.image_id for example, _ in pictures} - kept_ids
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
        if cleaned is not None:
            about["cleaning"] = _write_cleaning(folder, cleaned, content, options)
        about |= {"colour": COLOUR_RULES, "max_tokens": options.max_tokens}
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".npy" or path.name in _TEXT_FILES)
        files = {name: _size_and_hash(folder / name) for name in names}
        write_json(folder / SOURCE, content.recorded())
        write_json(folder / MANIFEST, about | {"files": files})
        (folder / PROGRESS).unlink()
    return PreparedData.open(out)


def is_prepared_from(out: Path, content: Content) -> bool:
    """Whether the folder holds this content, prepared."""
    manifest = read_json(out / MANIFEST) if is_prepared(out) else None
    return isinstance(manifest, dict) and manifest.get("key") == content.key


def check_source(
    path: Path, *, source: Path | None = None, uncaptioned: Path | None = None, missing_ok: bool = False
) -> None:
    """Raises DataError where the source is no longer what was prepared in the folder `path`.

    Quick: only files whose size or time changed are read. source, uncaptioned: where they lie now, None for where they
    were. missing_ok: a source that is not there at all is none that changed; prepared data needs it no more.
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
    if missing_ok and not all(root.is_dir() for root in roots):
        return
    content = read_content(roots[0], format=format, options=manifest["options"], uncaptioned=further, known=recorded)
    if content.key != manifest["key"]:
        raise DataError(
            f"{' or '.join(map(str, roots))} has changed since {path} was prepared from it: "
            f"{differences(recorded, content)}. Prepare it again with --replace or under another name, or submit with "
            "--as-prepared"
        )


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give a folder that is empty or does not exist yet")
    if out.is_dir() and any(out.iterdir()) and not is_prepared(out):
        raise DataError(
            f"{out} is not empty and no prepared data set ({MANIFEST} is missing); "
            "give a folder that is empty or does not exist yet"
        )


def _follow_policy(bad: Sequence[str], total: int, options: PrepareOptions) -> None:
    """DataError where there are bad images and they are not to be skipped; else a warning that names the first ones."""
    if not bad:
        return
    if options.on_bad_image == "skip":
        logger.warning("skipped %d of %d images:\n%s", len(bad), total, listed(bad))
    elif len(bad) == 1:
        raise DataError(f"1 of {total} images cannot be used (to leave it out: --on-bad-image skip): {bad[0]}")
    else:
        raise DataError(
            f"{len(bad)} of {total} images cannot be used; mend or remove them, or leave them out with "
            f"--on-bad-image skip:\n{listed(bad)}"
        )


def _refuse_changes(content: Content) -> None:
    """What was decoded must be what was hashed."""
    parts = [content.source] if content.uncaptioned is None else [content.source, content.uncaptioned]
    for part in parts:
        changed = part.changed_files()
        if changed:
            raise DataError(
                f"{len(changed)} files in {part.root} changed while they were prepared, such as {changed[0]}; "
                "prepare the data again once nobody writes there"
            )


# Captions, tokens and attributes


def _cleaned(content: Content, options: PrepareOptions) -> tuple[Pictures, CleanedSource | None]:
    """The pictures with clean captions.

    A picture for training that lost all its captions is trained on without; a held-out one is left out, since what is
    held out is there to be described.
    """
    if options.cleaning is None:
        return content.pictures, None
    cleaned = clean_source(content.source.examples, options.cleaning)
    if cleaned.captions and len(cleaned.emptied) == sum(bool(example.captions) for example in content.source.examples):
        raise DataError(
            f"cleaning ({options.cleaning.mode}) rejects every caption of {content.source.root}; look at them with "
            "`t2f data clean`, clean less, or leave out --clean"
        )
    kept = [
        (example, content.source.crop)
        for example in cleaned.examples
        if example.image_id not in cleaned.emptied or split_of(example, options) == "train"
    ]
    return [*kept, *content.pictures[len(cleaned.examples) :]], cleaned


def _write_cleaning(folder: Path, cleaned: CleanedSource, content: Content, options: PrepareOptions) -> dict[str, Any]:
    """Writes the log and the rules; what the manifest says of them."""
    with (folder / CLEANING_LOG).open("w", encoding="utf-8") as log:
        log.writelines(json.dumps(change.plain(), ensure_ascii=False) + "\n" for change in cleaned.changes)
    write_json(folder / CLEANING_RULES, options.cleaning.rules.lists)
    emptied = [example for example in content.source.examples if example.image_id in cleaned.emptied]
    held_out = sum(split_of(example, options) != "train" for example in emptied)
    return {
        **options.cleaning.plain(),
        "rules": options.cleaning.rules.name,
        **cleaned.counts(),
        "images_left_out": held_out,
    }


def _check_training(kept: Sequence[Example], content: Content, options: PrepareOptions) -> None:
    """Refuses a training split without images, and one without captions where the source has some."""
    has_captions = any(example.captions for example in content.source.examples)
    usable = [example for example in kept if example.captions] if has_captions else kept
    if not any(split_of(example, options) == "train" for example in usable):
        some_without = content.uncaptioned is not None or options.cleaning is not None
        what = "images with captions" if has_captions and some_without else "images"
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
