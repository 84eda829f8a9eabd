"""Folders and pictures of sources: found by name, whatever archives and disks did to it; links out are refused."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from t2f.data.readers.example import EntryError, Example
from t2f.errors import DataError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def folder_in(root: Path, *names: str) -> Path | None:
    """The first folder of these names below root, in any case; a name may be a path such as "text/celeba-caption"."""
    for name in names:
        found: Path | None = root
        for part in PurePosixPath(name).parts:
            found = _entry_named(found, part) if found is not None and found.is_dir() else None
        if found is not None and found.is_dir():
            return found
    return None


def file_in(folders: Iterable[Path | None], *names: str) -> Path | None:
    """The first file of these names in these folders, in any case."""
    for folder in folders:
        for name in names:
            found = _entry_named(folder, name) if folder is not None and folder.is_dir() else None
            if found is not None and found.is_file():
                return found
    return None


def _entry_named(folder: Path, name: str) -> Path | None:
    if (folder / name).exists():
        return folder / name
    try:
        alike = sorted(entry for entry in os.listdir(folder) if entry.casefold() == name.casefold())
    except OSError:
        return None
    return folder / alike[0] if alike else None


class PictureFinder:
    """Finds pictures by the name that a list gives them.

    What archives and disks do to names is forgiven: Unicode's other normal form, and an ending in the other case. Each
    folder is listed once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings: dict[Path, Mapping[str, str]] = {}

    def find(self, name: str, *, any_suffix: bool = False) -> Path:
        """The picture's path; the one it should have where there is none, which is found when it is decoded.

        any_suffix: "a.bmp" may be a.jpg, a.jpeg, a.png or a.webp on disk.
        """
        *folders, file = PurePosixPath(name).parts
        folder = self._folder
        for part in folders:
            folder /= self._listing(folder).get(unicodedata.normalize("NFC", part), part)
        listing, plain = self._listing(folder), unicodedata.normalize("NFC", file)
        stem, suffix = os.path.splitext(plain)
        suffixes = (*PICTURE_SUFFIXES, "") if any_suffix else (suffix.lower(),)
        if plain in listing and not (any_suffix and suffix.lower() not in PICTURE_SUFFIXES):
            return folder / listing[plain]
        for ending in suffixes:
            if stem + ending in listing:
                return folder / listing[stem + ending]
        return folder / (stem + ".jpg" if any_suffix else file)

    def _listing(self, folder: Path) -> Mapping[str, str]:
        """Normalised name -> name on disk; also with the ending in lower case, where no other file has that name."""
        if folder not in self._listings:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            listing = {unicodedata.normalize("NFC", name): name for name in names}
            for name in names:
                stem, suffix = os.path.splitext(unicodedata.normalize("NFC", name))
                listing.setdefault(stem + suffix.lower(), name)
            self._listings[folder] = listing
        return self._listings[folder]


def is_picture_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def files_below(home: Path, *, pass_links_out: bool = False) -> Iterator[Path]:
    """Every file that is not hidden; DataError for a folder that cannot be read and a link that leads out of `home`.

    pass_links_out: such links are passed over, as they are where somebody only looks.
    """
    folders = [home]
    while folders:
        folder = folders.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}; mend its permissions or remove it") from None
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink():
                target = Path(os.path.realpath(path))
                if not target.is_relative_to(home):
                    if pass_links_out:
                        continue
                    raise DataError(_leads_out(path, home, target))
                if os.path.isdir(target):
                    continue  # what it leads to is found where it is, and once
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path


def links_that_lead_out(examples: Sequence[Example], root: Path) -> Iterator[EntryError]:
    """One error for each picture that is a link out of its source, or lies behind one.

    A folder that is linked into the top of the source counts as part of it: people keep large data sets elsewhere.
    """
    home = Path(os.path.realpath(root))
    inside = [home, *(Path(os.path.realpath(path)) for path in home.iterdir() if path.is_symlink() and path.is_dir())]
    real_folders: dict[Path, Path] = {}
    for example in examples:
        folder = example.path.parent
        if folder not in real_folders:
            real_folders[folder] = Path(os.path.realpath(folder))
        target = real_folders[folder] / example.path.name
        if example.path.is_symlink():
            target = Path(os.path.realpath(example.path))
        if not any(target.is_relative_to(place) for place in inside):
            yield EntryError("link that leads out", _leads_out(example.path, home, target))


def _leads_out(path: Path, home: Path, target: Path) -> str:
    return f"{path} is a link that leads out of {home}, to {target}; copy the file to its place, or remove the link"
