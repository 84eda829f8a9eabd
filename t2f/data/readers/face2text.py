"""Face2Text: version 0.1 describes pictures of LFW, version 2.1 those of CelebA (aligned)."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from t2f.data.readers.celeba import CelebaFolders
from t2f.data.readers.example import (
    EntryError,
    Example,
    Found,
    checked_caption,
    checked_captions,
    checked_name,
    entry,
    merged,
    short,
    without_repeats,
)
from t2f.data.readers.files import PictureFinder, file_in
from t2f.data.readers.texts import read_json
from t2f.errors import DataError

_CLEAN_21 = {
    "train": "clean_train_2.1.json",
    "validation": "clean_dev_2.1.json",
    "test": "clean_test_2.1.json",
}
_RAW_21 = "raw_2.1.json"


def recognise_face2text(root: Path) -> str | None:
    source = file_in([root], "clean.json", "raw.json")
    return f"it holds {source.name}" if source is not None else None


def read_face2text(root: Path) -> Iterator[Found]:
    """Face2Text v0.1: clean.json (or else raw.json) beside the folder lfw/ with LFW's pictures, .jpg or .png."""
    source = file_in([root], "clean.json", "raw.json")
    if source is None:
        raise DataError(
            f"{root} holds neither clean.json nor raw.json; give the folder that holds one, and lfw/ beside it"
        )
    entries = read_json(source)
    if not isinstance(entries, list):
        raise DataError(f"{source} must be a list of images, but it is {short(entries)}")
    finder = PictureFinder(root / "lfw")
    places = [(f"{source}, entry {number}", given) for number, given in enumerate(entries, start=1)]
    yield from merged((where, entry(_described, given, finder, where)) for where, given in places)


def _described(given: object, finder: PictureFinder, where: str) -> Example:
    if not isinstance(given, dict) or not isinstance(given.get("descriptions"), list):
        raise EntryError(
            "entry of a wrong type", f'{where}: {short(given)} is no object with "image" and a list "descriptions"'
        )
    name = PurePosixPath(checked_name(given.get("image"), f"{where}, image"))
    captions = []
    for number, description in enumerate(given["descriptions"], start=1):
        text = description.get("text") if isinstance(description, dict) else description
        captions.append(checked_caption(text, f"{where} ({name}), description {number}"))
    if not captions:
        raise EntryError("no caption", f"{where}: {name} has no description; write one, or remove the entry")
    return Example(
        image_id=str(name.with_suffix("")),
        path=finder.find(str(name), any_suffix=True),  # the list says .bmp where LFW has .jpg
        captions=without_repeats(captions),
        identity=name.parts[0] if len(name.parts) > 1 else None,
    )


def recognise_face2text_21(root: Path) -> str | None:
    source = file_in([root], *_CLEAN_21.values(), _RAW_21)
    return f"it holds {source.name}" if source is not None else None


def read_face2text_21(root: Path) -> Iterator[Found]:
    """Face2Text 2.1: clean_{train,dev,test}_2.1.json with their splits, or else raw_2.1.json; CelebA's pictures."""
    sources = {split: file_in([root], name) for split, name in _CLEAN_21.items()}
    given = {split: source for split, source in sources.items() if source is not None}
    if not given:
        raw = file_in([root], _RAW_21)
        if raw is None:
            raise DataError(
                f"{root} holds neither {', '.join(_CLEAN_21.values())} nor {_RAW_21}; give the folder that holds them, "
                "and img_align_celeba/ beside them"
            )
        given = {None: raw}
    elif len(given) < len(_CLEAN_21):
        missing = next(name for split, name in _CLEAN_21.items() if split not in given)
        raise DataError(f"{root} lacks {missing}, but holds others of its kind; put it beside them")
    celeba = CelebaFolders(root)
    finder, identities = PictureFinder(celeba.pictures()), celeba.identities()

    def found() -> Iterator[tuple[str, Found]]:
        for split, source in given.items():
            entries = read_json(source)
            if not isinstance(entries, list):
                raise DataError(f"{source} must be a list of responses, but it is {short(entries)}")
            for number, response in enumerate(entries, start=1):
                where = f"{source}, entry {number}"
                yield (
                    where,
                    entry(_response, response, split, finder, identities, where),
                )

    yield from merged(found())


def _response(
    response: object, split: str | None, finder: PictureFinder, identities: dict[str, str], where: str
) -> Example:
    if not isinstance(response, dict):
        raise EntryError(
            "entry of a wrong type", f'{where}: {short(response)} is no object with "filename" and "description"'
        )
    name = checked_name(response.get("filename"), f"{where}, filename")
    return Example(
        image_id=name,
        path=finder.find(name, any_suffix=True),
        captions=checked_captions([response.get("description")], f"{where} ({name})"),
        split=split,
        identity=identities.get(name),
    )
