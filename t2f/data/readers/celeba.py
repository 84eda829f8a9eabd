"""CelebA: 40 attributes a picture, turned into sentences; its partition and identities.

The files of CelebA come as .txt from its authors and as .csv from Kaggle; both are read.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from t2f.data.readers.attributes import sentences
from t2f.data.readers.example import EntryError, Example, Found, checked_name, entry, short
from t2f.data.readers.files import PictureFinder, file_in, folder_in, is_picture_name
from t2f.data.readers.texts import lines_of, read_table
from t2f.errors import DataError

_SPLIT_OF_PARTITION = {"0": "train", "1": "validation", "2": "test"}
_TRUTH = {"1": "yes", "-1": "no", "0": "no"}

logger = logging.getLogger(__name__)


class CelebaFolders:
    """Where CelebA's files lie: beside each other, or in Anno/, Eval/ and Img/ as in the authors' own archive."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = [root, folder_in(root, "Anno"), folder_in(root, "Eval")]

    def list_file(self, name: str) -> Path | None:
        return file_in(self._folders, f"{name}.txt", f"{name}.csv")

    def pictures(self) -> Path:
        """The folder of the aligned pictures; Kaggle's archive has it inside one of the same name."""
        name = "img_align_celeba"
        found = folder_in(self._root, f"{name}/{name}", name, f"Img/{name}/{name}", f"Img/{name}")
        if found is None:
            raise DataError(f"{self._root} holds no folder {name}; put CelebA's aligned pictures there")
        return found

    def identities(self) -> dict[str, str]:
        """Picture -> person, where identity_CelebA is there."""
        source = self.list_file("identity_CelebA")
        return {} if source is None else {name: values[0] for _, name, values in read_list(source, 1)[1]}

    def partition(self) -> dict[str, str]:
        """Picture -> split, where list_eval_partition is there."""
        source = self.list_file("list_eval_partition")
        if source is None:
            return {}
        splits = {}
        for number, name, values in read_list(source, 1)[1]:
            if values[0] not in _SPLIT_OF_PARTITION:
                raise DataError(
                    f"{source}, line {number}: partition {short(values[0])} is not allowed; allowed: 0 (train), "
                    "1 (validation), 2 (test)"
                )
            splits[name] = _SPLIT_OF_PARTITION[values[0]]
        return splits


def recognise_celeba(root: Path) -> str | None:
    source = CelebaFolders(root).list_file("list_attr_celeba")
    return f"it holds {source.name}" if source is not None else None


def read_celeba(root: Path) -> Iterator[Found]:
    """list_attr_celeba with img_align_celeba/; with list_eval_partition its splits, with identity_CelebA who is who."""
    folders = CelebaFolders(root)
    source = folders.list_file("list_attr_celeba")
    if source is None:
        raise DataError(f"{root} holds no list_attr_celeba.txt or .csv; give the folder that holds it")
    names, rows = read_list(source)
    finder, splits, identities = PictureFinder(folders.pictures()), folders.partition(), folders.identities()
    without_split = 0
    for number, name, values in rows:
        if splits and name not in splits:
            without_split += 1
            continue
        where = f"{source}, line {number}"
        yield entry(_with_sentences, name, names, values, finder, splits.get(name), identities.get(name), where)
    if without_split:
        logger.warning("%s: %d pictures are in no split of list_eval_partition and were left out", root, without_split)


def _with_sentences(
    name: str,
    names: list[str],
    values: list[str],
    finder: PictureFinder,
    split: str | None,
    identity: str | None,
    where: str,
) -> Example:
    name = checked_name(name, where)
    wrong = [(attribute, value) for attribute, value in zip(names, values, strict=True) if value not in _TRUTH]
    if wrong:
        attribute, value = wrong[0]
        raise EntryError(
            "attributes of a wrong type", f"{where}: {attribute} is {short(value)}; it must be 1 or -1, for {name}"
        )
    attributes = {attribute: _TRUTH[value] for attribute, value in zip(names, values, strict=True)}
    return Example(
        image_id=name,
        path=finder.find(name, any_suffix=True),
        captions=sentences({attribute: value == "yes" for attribute, value in attributes.items()}, image_id=name),
        split=split,
        attributes=attributes,
        identity=identity,
    )


def read_list(source: Path, width: int | None = None) -> tuple[list[str], list[tuple[int, str, list[str]]]]:
    """A list of CelebA's as (names of its columns, rows of line, picture, values); DataError where one is no row.

    .csv: a header, then rows. .txt: maybe a line with the number of pictures, maybe a line of names, then rows set
    apart by spaces. width: values a row, where the file says no names.
    """
    if source.suffix.lower() == ".csv":
        header, cells = read_table(source, ",")
        names, rows = (
            header[1:],
            [(number, row[0].strip(), [cell.strip() for cell in row[1:]]) for number, row in cells],
        )
        count = None
    else:
        lines = [(number, line.split()) for number, line in lines_of(source)]
        first = lines[0][1] if lines else []
        count = int(lines.pop(0)[1][0]) if len(first) == 1 and first[0].isdecimal() and len(first[0]) < 10 else None
        names = lines.pop(0)[1] if lines and not is_picture_name(lines[0][1][0]) else []
        rows = [(number, words[0], words[1:]) for number, words in lines]
    if not rows:
        raise DataError(f"{source} holds no row of a picture; get it again")
    width = len(names) or width or len(rows[0][2])
    for number, name, values in rows:
        if len(values) != width or not is_picture_name(name):
            what = f"{len(values)} values" if is_picture_name(name) else f"the name {short(name)}"
            raise DataError(
                f"{source}, line {number}: {what} where a picture's file name and {width} values must be; mend the line"
            )
    seen: dict[str, int] = {}
    for number, name, _ in rows:
        if name in seen:
            raise DataError(f"{source}, line {number}: {name} is in line {seen[name]} too; keep one of them")
        seen[name] = number
    if count is not None and count != len(rows):
        raise DataError(
            f"{source}: line 1 says {count} pictures, but {len(rows)} follow; the file is not whole, get it again"
        )
    return names, rows
