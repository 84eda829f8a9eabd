"""Tables of pictures and captions: Flickr8k in both its forms, and any CSV or TSV with columns for the two."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from t2f.data.readers.example import (
    Example,
    Found,
    checked_captions,
    checked_name,
    checked_split,
    entry,
    merged,
    short,
)
from t2f.data.readers.files import PictureFinder, file_in, folder_in
from t2f.data.readers.texts import first_row, lines_of, read_table
from t2f.errors import DataError

_FLICKR_PICTURES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "Flicker8k_Dataset/Flicker8k_Dataset")
_FLICKR_SPLITS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
_IMAGE_COLUMNS = ("file_name", "filename", "image", "image_path", "path", "file", "img")
_CAPTION_COLUMNS = ("text", "caption", "description")

logger = logging.getLogger(__name__)


# Flickr8k


def recognise_flickr8k(root: Path) -> str | None:
    source = _flickr_source(root)
    return None if source is None else f"it holds {source.name}"


def read_flickr8k(root: Path) -> Iterator[Found]:
    """Flickr8k.token.txt (X.jpg#0<tab>caption) or Kaggle's captions.txt (image,caption), and the folder of pictures.

    With the three lists Flickr_8k.*Images.txt the pictures that they name are used, in their splits.
    """
    source = _flickr_source(root)
    if source is None:
        raise DataError(f"{root} holds neither Flickr8k.token.txt nor captions.txt; give the folder that holds one")
    folder = folder_in(root, *_FLICKR_PICTURES)
    if folder is None:
        raise DataError(f"{root} holds no folder {', '.join(_FLICKR_PICTURES[:3])}; put Flickr8k's pictures there")
    splits, finder, left_out = _flickr_splits(root), PictureFinder(folder), set()

    def found() -> Iterator[tuple[str, Found]]:
        for line, name, text in _tokens(source) if source.name.lower().endswith(".token.txt") else _kaggle(source):
            if splits and name not in splits:
                left_out.add(name)
                continue
            where = f"{source}, line {line}"
            yield where, entry(_example, name, text, finder, where, splits)

    yield from merged(found())
    if left_out:
        logger.warning(
            "%s: %d pictures are in none of the three lists of splits and were left out, such as %s",
            root,
            len(left_out),
            short(min(left_out)),
        )


def _flickr_source(root: Path) -> Path | None:
    token = file_in([root, folder_in(root, "Flickr8k_text")], "Flickr8k.token.txt")
    if token is not None:
        return token
    table = file_in([root], "captions.txt")
    if table is None:
        return None
    with table.open("rb") as file:
        return table if file.readline(1000).lstrip(b"\xef\xbb\xbf").strip().lower() == b"image,caption" else None


def _tokens(source: Path) -> Iterator[tuple[int, str, object]]:
    for number, line in lines_of(source):
        name, tab, text = line.partition("\t")
        if not tab:
            raise DataError(f"{source}, line {number}: no tab after the picture's name; it must be NAME#0<tab>caption")
        # One entry of the data set reads "X.jpg.1#0".
        yield number, re.sub(r"(\.jpg)\.\d+$", r"\1", name.strip().rpartition("#")[0] or name.strip()), text


def _kaggle(source: Path) -> Iterator[tuple[int, str, object]]:
    for number, row in read_table(source, ",")[1]:
        yield number, row[0].strip(), row[1]


def _flickr_splits(root: Path) -> dict[str, str]:
    folders = [root, folder_in(root, "Flickr8k_text")]
    splits: dict[str, str] = {}
    for split, file in _FLICKR_SPLITS.items():
        source = file_in(folders, file)
        for number, line in lines_of(source) if source is not None else ():
            name = line.strip()
            if name in splits:
                raise DataError(f"{source}, line {number}: {short(name)} is in the list for {splits[name]} too")
            splits[name] = split
    return splits


def _example(name: str, text: object, finder: PictureFinder, where: str, splits: dict[str, str]) -> Example:
    name = checked_name(name, where)
    return Example(
        image_id=name, path=finder.find(name), captions=checked_captions([text], where), split=splits.get(name)
    )


# Any table


def recognise_csv(root: Path) -> str | None:
    tables = _tables(root)
    if not tables:
        return None
    source, header = tables[0]
    columns = f"{header[_column(header, _IMAGE_COLUMNS)]} and {header[_column(header, _CAPTION_COLUMNS)]}"
    return f"{source.name} has the columns {columns}"


def read_csv(root: Path) -> Iterator[Found]:
    """One .csv or .tsv with a column for pictures and one for captions, maybe one named split; others are ignored."""
    tables = _tables(root)
    if len(tables) != 1:
        what = f"{len(tables)} tables ({', '.join(source.name for source, _ in tables)})" if tables else "no table"
        raise DataError(
            f"{root} holds {what} with a column for pictures ({', '.join(_IMAGE_COLUMNS)}) and one for captions "
            f"({', '.join(_CAPTION_COLUMNS)}); give a folder with one such .csv or .tsv"
        )
    source, header = tables[0]
    image, caption = _column(header, _IMAGE_COLUMNS), _column(header, _CAPTION_COLUMNS)
    split = _column(header, ("split",))
    ignored = [name for place, name in enumerate(header) if place not in (image, caption, split)]
    if ignored:
        logger.warning("%s: the columns %s were ignored", source, short(", ".join(ignored)))
    finder = PictureFinder(root)

    def one(row: list[str], where: str) -> Example:
        name = checked_name(row[image].strip(), where)
        given = row[split].strip() if split is not None else ""
        return Example(
            image_id=name,
            path=finder.find(name),
            captions=checked_captions([row[caption]], f"{where} ({name})"),
            split=checked_split(given or None, f"{where}, split"),
        )

    places = ((f"{source}, line {number}", row) for number, row in read_table(source, _delimiter(source))[1])
    yield from merged((where, entry(one, row, where)) for where, row in places)


def _tables(root: Path) -> list[tuple[Path, list[str]]]:
    """The .csv and .tsv files in root that have both columns, with their headers."""
    found = []
    for source in sorted(path for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv")):
        if not source.is_file():
            continue
        header = first_row(source, _delimiter(source))
        if _column(header, _IMAGE_COLUMNS) is not None and _column(header, _CAPTION_COLUMNS) is not None:
            found.append((source, header))
    return found


def _delimiter(source: Path) -> str:
    return "\t" if source.suffix.lower() == ".tsv" else ","


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)
