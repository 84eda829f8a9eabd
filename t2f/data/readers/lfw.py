"""LFW: a folder a person; with lfw_attributes.txt, 73 attributes a picture turned into sentences."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from t2f.data.readers.attributes import sentences
from t2f.data.readers.example import EntryError, Example, Found, checked_name, entry, short
from t2f.data.readers.face2text import recognise_face2text
from t2f.data.readers.files import PictureFinder, file_in, files_below, is_picture_name
from t2f.data.readers.texts import lines_of
from t2f.errors import DataError

_FOLDERS = ("lfw", "lfw-deepfunneled", "lfw_funneled", "lfw-deepfunneled/lfw-deepfunneled")
_ATTRIBUTES = "lfw_attributes.txt"

logger = logging.getLogger(__name__)


def recognise_lfw(root: Path) -> str | None:
    if recognise_face2text(root) is not None:
        return None  # whose pictures are LFW's, in their folders
    folder = _pictures(root)
    if folder is None:
        return None
    person = next(path for path in sorted(folder.iterdir()) if _is_person(path))
    return f"{person.name}/ holds {person.name}_0001 and the like, a folder a person"


def read_lfw(root: Path) -> Iterator[Found]:
    """NAME/NAME_0001.jpg in root, lfw/ or lfw-deepfunneled/; captions only where lfw_attributes.txt is there.

    Pictures without a row of attributes are counted and left out, for they would have no caption.
    """
    folder = _pictures(root)
    if folder is None:
        raise DataError(
            f"{root} holds no folders of LFW's form (NAME/NAME_0001.jpg), neither itself nor in lfw/ or "
            "lfw-deepfunneled/; give the folder that holds them"
        )
    source = file_in([root, folder], _ATTRIBUTES)
    if source is None:
        for path in sorted(files_below(folder)):
            if is_picture_name(path.name):
                name = checked_name(path.relative_to(folder).as_posix(), str(root))
                yield Example(image_id=_id(name), path=path, captions=(), identity=path.parent.name)
        return
    names, rows = _rows(source)
    finder, described = PictureFinder(folder), set()
    for where, person, number, values in rows:
        found = entry(_with_sentences, finder, where, person, number, dict(zip(names, values, strict=True)))
        if isinstance(found, Example):
            described.add(found.path.name)
        yield found
    others = [path.name for path in files_below(folder) if is_picture_name(path.name) and path.name not in described]
    if others:
        logger.warning(
            "%s: %d pictures have no row there and were left out, such as %s", source, len(others), short(min(others))
        )


def _id(name: str) -> str:
    return name.rpartition(".")[0]


def _is_person(path: Path) -> bool:
    if not path.is_dir():
        return False
    number = re.compile(re.escape(path.name) + r"_\d{4}")
    return any(number.fullmatch(entry.stem) and is_picture_name(entry.name) for entry in path.iterdir())


def _pictures(root: Path) -> Path | None:
    """The folder that holds a folder for each person."""
    for folder in (root, *(root / name for name in _FOLDERS)):
        # The first hundred tell: other folders may lie between those of people.
        if folder.is_dir() and any(_is_person(path) for path in sorted(folder.iterdir())[:100]):
            return folder
    return None


def _rows(source: Path) -> tuple[list[str], list[tuple[str, str, int, list[float]]]]:
    """The attributes' names, and (where, person, number of the picture, values) of each row."""
    names: list[str] = []
    rows = []
    for line, text in lines_of(source):
        where = f"{source}, line {line}"
        cells = [cell.strip() for cell in text.strip().split("\t")]
        if cells[0] == "#" and cells[1:3] == ["person", "imagenum"]:
            names = cells[3:]
        elif cells[0].startswith("#"):
            continue
        elif not names:
            raise DataError(f"{where}: no line '#<tab>person<tab>imagenum<tab>...' came before; get the file again")
        else:
            rows.append((where, *_row(cells, len(names), where)))
    return names, rows


def _row(cells: list[str], width: int, where: str) -> tuple[str, int, list[float]]:
    if len(cells) != width + 2:
        raise DataError(f"{where}: {len(cells)} cells where {width + 2} must be, set apart by tabs; mend the line")
    try:
        return cells[0], int(cells[1]), [float(cell) for cell in cells[2:]]
    except ValueError as error:
        raise DataError(f"{where}: not a number where one must be ({error}); mend the line") from None


def _with_sentences(
    finder: PictureFinder, where: str, person: str, number: int, values: Mapping[str, float]
) -> Example:
    if not 0 <= number <= 9999:
        raise EntryError("bad file name", f"{where}: imagenum {number} is not allowed; it must be from 0 to 9999")
    folder = person.replace(" ", "_")
    name = checked_name(f"{folder}/{folder}_{number:04d}.jpg", where)
    truths = {attribute: value > 0 for attribute, value in values.items()}  # the data set's own rule
    return Example(
        image_id=_id(name),
        path=finder.find(name, any_suffix=True),
        captions=sentences(truths, image_id=_id(name)),
        attributes={attribute: "yes" if value else "no" for attribute, value in truths.items()},
        identity=folder,
    )
