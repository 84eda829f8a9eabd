"""A folder of pictures without captions, and pictures with their captions in a .txt beside each (sidecar files)."""

import logging
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from t2f.data.readers.example import EntryError, Example, Found, checked_captions, entry, short
from t2f.data.readers.files import files_below, is_picture_name
from t2f.data.readers.texts import captions_in
from t2f.errors import DataError

_ENDINGS = ".jpg, .jpeg, .png or .webp"

logger = logging.getLogger(__name__)


def recognise_folder(root: Path) -> str | None:
    home = Path(os.path.realpath(root))
    first = next((path for path in files_below(home, pass_links_out=True) if is_picture_name(path.name)), None)
    return None if first is None else f"it holds pictures ({first.name}), and nothing that describes them was found"


def read_folder(root: Path) -> Iterator[Found]:
    """All pictures of a folder and of the folders in it, by their names' endings; no captions.

    Hidden files and folders are passed over, other files are counted and reported.
    """
    names, others = _pictures_and_others(root)
    _warn_of(others, root)
    for name in names:
        yield Example(image_id=name, path=root / name, captions=())


def recognise_sidecar(root: Path) -> str | None:
    paths = sorted(files_below(Path(os.path.realpath(root)), pass_links_out=True))
    texts = {path.with_suffix("") for path in paths if path.suffix.lower() == ".txt"}
    for path in paths:
        if is_picture_name(path.name) and path.with_suffix("") in texts:
            return f"beside {path.name} lies {path.stem}.txt"
    return None


def read_sidecar(root: Path) -> Iterator[Found]:
    """Pictures of a folder and of those in it, each with a .txt of its name beside it: a caption a line."""
    names, others = _pictures_and_others(root)
    texts = {os.path.splitext(name)[0]: name for name in others if name.lower().endswith(".txt")}
    if not texts:
        raise DataError(f"{root} holds pictures, but no .txt; give the folder that holds a .txt beside each picture")
    pictures: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in pictures:
            yield EntryError(
                "two pictures of one name",
                f"{root}: {name} and {pictures[stem]} share {stem}.txt; give each a name of its own",
            )
            continue
        pictures[stem] = name
        yield entry(_with_text, root, name, texts.get(stem, f"{stem}.txt"))
    used = {texts[stem] for stem in pictures if stem in texts}
    _warn_of([name for name in others if name not in used], root)


def _with_text(root: Path, name: str, text: str) -> Example:
    captions = checked_captions(captions_in(root / text), f"{root / text}")
    return Example(image_id=name, path=root / name, captions=captions)


def _pictures_and_others(root: Path) -> tuple[list[str], list[str]]:
    home = Path(os.path.realpath(root))
    names, others = [], []
    for path in sorted(files_below(home)):
        name = path.relative_to(home).as_posix()
        # A pipe or device that is named like a picture would keep its reader waiting forever.
        is_picture = is_picture_name(path.name) and (os.path.isfile(path) or not os.path.exists(path))
        (names if is_picture else others).append(name)
    if not names:
        raise DataError(
            f"{root} holds no pictures ({_ENDINGS}), neither itself nor in its folders; give the folder that holds them"
        )
    spellings: dict[str, str] = {}
    for name in names:
        if any(unicodedata.category(character) in ("Cs", "Cc") for character in name):
            raise DataError(
                f"{root}: the file name {short(name)} holds a control character or bytes that are not UTF-8; rename it"
            )
        other = spellings.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise DataError(
                f"{root}: the file names {short(other)} and {short(name)} are the same but for upper and lower case, "
                "which many disks do not tell apart; rename one"
            )
    return names, others


def _warn_of(others: list[str], root: Path) -> None:
    if others:
        logger.warning(
            "%s: files that are no %s were ignored: %d, such as %s", root, _ENDINGS, len(others), short(others[0])
        )
