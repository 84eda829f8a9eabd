"""COCO captions: annotations/captions_train2017.json and the like, and the folders of pictures that they name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2f.data.readers.example import (
    EntryError,
    Example,
    Found,
    checked_captions,
    checked_name,
    entry,
    short,
    split_in_name,
)
from t2f.data.readers.files import PictureFinder, folder_in
from t2f.data.readers.texts import first_key, read_json
from t2f.errors import DataError

_FIRST_KEYS = {"info", "images", "annotations", "licenses", "type", "categories"}


def recognise_coco(root: Path) -> str | None:
    sources = _sources(root)
    return f"{sources[0].relative_to(root)} has COCO's keys" if sources else None


def read_coco(root: Path) -> Iterator[Found]:
    """captions*.json in annotations/ or root; pictures in train2017/ for captions_train2017.json, in images/, or root.

    Splits are those that the files' names say, if all of them say one.
    """
    sources = _sources(root)
    if not sources:
        raise DataError(f"{root} holds no captions*.json of COCO's form, neither itself nor in annotations/")
    splits = [split_in_name(source.stem) for source in sources]
    if None in splits:
        splits = [None] * len(sources)
    for source, split in zip(sources, splits, strict=True):
        yield from _read(source, root, split)


def _sources(root: Path) -> list[Path]:
    folders = [root, folder_in(root, "annotations")]
    files = [path for folder in folders if folder is not None for path in sorted(folder.iterdir())]
    named = [path for path in files if path.suffix.lower() == ".json" and path.name.lower().startswith("captions")]
    return [path for path in named if path.is_file() and first_key(path) in _FIRST_KEYS]


def _read(source: Path, root: Path, split: str | None) -> Iterator[Found]:
    given = read_json(source)
    parts = [given.get(name) if isinstance(given, dict) else None for name in ("images", "annotations")]
    if not all(isinstance(part, list) for part in parts):
        raise DataError(
            f'{source} must be an object with the lists "images" and "annotations", as COCO\'s captions are'
        )
    images, annotations = parts
    captions: dict[Any, list[object]] = {}
    for number, annotation in enumerate(annotations, start=1):
        where = f"{source}, annotation {number}"
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if isinstance(image, bool) or not isinstance(image, int | str):
            yield EntryError("entry of a wrong type", f"{where}: {short(annotation)} has no image_id")
            continue
        captions.setdefault(image, []).append(annotation.get("caption"))
    folder = _pictures(root, source)
    finder, below = PictureFinder(folder), folder.relative_to(root)
    seen: set[Any] = set()
    for number, image in enumerate(images, start=1):
        where = f"{source}, image {number}"
        image_id = image.get("id") if isinstance(image, dict) else None
        if isinstance(image_id, bool) or not isinstance(image_id, int | str):
            yield EntryError("entry of a wrong type", f'{where}: {short(image)} is no object with "id" and "file_name"')
        elif image_id in seen:
            yield EntryError("duplicate id", f"{where}: the id {short(image_id)} is there twice; keep one of them")
        else:
            seen.add(image_id)
            texts = captions.pop(image_id, [])
            yield entry(_example, image, where, texts, finder, below, split)
    if captions:
        yield EntryError(
            "caption without a picture",
            f"{source}: {len(captions)} image_ids of annotations are no image's id, such as "
            f"{short(next(iter(captions)))}; add the images, or remove the annotations",
        )


def _pictures(root: Path, source: Path) -> Path:
    name = source.stem.partition("_")[2]
    names = [f"{name}", f"images/{name}"] if name else []
    return folder_in(root, *names, "images") or root


def _example(
    image: dict[str, Any], where: str, texts: list[object], finder: PictureFinder, below: Path, split: str | None
) -> Example:
    name = checked_name(image.get("file_name"), f"{where}, file_name")
    return Example(
        image_id=(below / name).as_posix(),
        path=finder.find(name),
        captions=checked_captions(texts, f"{where} ({name})"),
        split=split,
    )
