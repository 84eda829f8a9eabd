"""The formats that are known: their readers, how each is recognised, how its pictures are cropped."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from t2f.data.readers.celeba import read_celeba, recognise_celeba
from t2f.data.readers.celeba_dialog import read_celeba_dialog, recognise_celeba_dialog
from t2f.data.readers.coco import read_coco, recognise_coco
from t2f.data.readers.example import Reader
from t2f.data.readers.face2text import (
    read_face2text,
    read_face2text_21,
    recognise_face2text,
    recognise_face2text_21,
)
from t2f.data.readers.folder import read_folder, read_sidecar, recognise_folder, recognise_sidecar
from t2f.data.readers.imagefolder import read_imagefolder, recognise_imagefolder
from t2f.data.readers.lfw import read_lfw, recognise_lfw
from t2f.data.readers.tables import read_csv, read_flickr8k, recognise_csv, recognise_flickr8k
from t2f.data.readers.text_folders import (
    read_ffhq_text,
    read_mm_celeba_hq,
    recognise_ffhq_text,
    recognise_mm_celeba_hq,
)
from t2f.data.readers.webdataset import read_webdataset, recognise_webdataset
from t2f.errors import DataError

ENTRY_POINT_GROUP = "t2f.datasets"


@dataclass(frozen=True, kw_only=True)
class Format:
    """One form that sources have."""

    name: str
    about: str  # what a folder of this format holds
    read: Reader
    # What shows that a folder is of this format, in words; None where nothing does. It may only look.
    recognise: Callable[[Path], str | None] = lambda root: None
    crop: str = "square"  # how its pictures are cropped where the user does not say


def _formats(*formats: Format) -> dict[str, Format]:
    return {format.name: format for format in formats}


FORMATS = _formats(
    Format(
        name="imagefolder",
        about="pictures, and a metadata.jsonl that describes them",
        read=read_imagefolder,
        recognise=recognise_imagefolder,
    ),
    Format(
        name="csv",
        about="pictures, and a .csv or .tsv with columns for file names and captions",
        read=read_csv,
        recognise=recognise_csv,
    ),
    Format(
        name="sidecar",
        about="pictures, each with a .txt of its name beside it, a caption a line",
        read=read_sidecar,
        recognise=recognise_sidecar,
    ),
    Format(
        name="webdataset",
        about=".tar shards of pictures with .txt or .json members of their names",
        read=read_webdataset,
        recognise=recognise_webdataset,
    ),
    Format(
        name="coco",
        about="COCO captions: annotations/captions_*.json and folders of pictures",
        read=read_coco,
        recognise=recognise_coco,
    ),
    Format(
        name="flickr8k",
        about="Flickr8k.token.txt, or Kaggle's captions.txt, and the folder of pictures",
        read=read_flickr8k,
        recognise=recognise_flickr8k,
    ),
    Format(
        name="face2text",
        about="Face2Text 0.1: clean.json or raw.json, and beside it the folder lfw",
        read=read_face2text,
        recognise=recognise_face2text,
        crop="centre:128",  # LFW's faces are the central 128 of 250 pixels
    ),
    Format(
        name="face2text-2.1",
        about="Face2Text 2.1: clean_{train,dev,test}_2.1.json or raw_2.1.json, and img_align_celeba",
        read=read_face2text_21,
        recognise=recognise_face2text_21,
    ),
    Format(
        name="lfw",
        about="LFW: NAME/NAME_0001.jpg; with lfw_attributes.txt also captions",
        read=read_lfw,
        recognise=recognise_lfw,
        crop="centre:128",
    ),
    Format(
        name="celeba",
        about="CelebA: list_attr_celeba and img_align_celeba; captions are made of the 40 attributes",
        read=read_celeba,
        recognise=recognise_celeba,
    ),
    Format(
        name="mm-celeba-hq",
        about="Multi-Modal-CelebA-HQ: text/celeba-caption/N.txt and image/images/N.jpg",
        read=read_mm_celeba_hq,
        recognise=recognise_mm_celeba_hq,
    ),
    Format(
        name="celeba-dialog",
        about="CelebA-Dialog: captions_hq.json (or captions.json) and the folder image",
        read=read_celeba_dialog,
        recognise=recognise_celeba_dialog,
    ),
    Format(
        name="ffhq-text",
        about="FFHQ-Text: Text/N.txt and Image/N.png",
        read=read_ffhq_text,
        recognise=recognise_ffhq_text,
    ),
    Format(
        name="folder",
        about="pictures without captions: every .jpg, .jpeg, .png and .webp in the folder and in those below it",
        read=read_folder,
        recognise=recognise_folder,
    ),
)


def find_format(name: str) -> Format:
    """The format of this name, ours or one by the entry point; DataError with the nearest name where there is none."""
    if name in FORMATS:
        return FORMATS[name]
    others = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name in others:
        return _loaded(others[name])
    known = sorted({*FORMATS, *others})
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise DataError(f"format {name!r} is not known{hint} Known formats: {', '.join(known)}")


def _loaded(entry: EntryPoint) -> Format:
    """What an entry point names: a Format, or a reader alone, which is then never recognised."""
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        raise DataError(f"the reader {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    if isinstance(loaded, Format):
        return loaded
    return Format(name=entry.name, about=f"read by {entry.value}", read=loaded)


def recognised(root: Path) -> list[tuple[Format, str]]:
    """The formats that a folder may be of, and what shows it; a plain folder of pictures only where nothing else fits.

    DataError where the source is no folder.
    """
    require_folder(root)
    others = [_loaded(entry) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    described = [format for format in (*FORMATS.values(), *others) if format.name != "folder"]
    try:
        found = [(format, why) for format in described if (why := format.recognise(root)) is not None]
        if not found and (why := FORMATS["folder"].recognise(root)) is not None:
            found = [(FORMATS["folder"], why)]
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}") from None
    return found


def recognise(root: Path) -> tuple[Format, str]:
    """The one format that a folder is of, and what shows it; DataError where none fits, or more than one."""
    found = recognised(root)
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{root} is of no format that is known: no pictures and nothing that describes any were found; give the "
            f"folder that holds them, or --format, one of {', '.join(FORMATS)}"
        )
    listed = "; ".join(f"{format.name} ({why})" for format, why in found)
    raise DataError(f"{root} fits {len(found)} formats: {listed}. Say which one with --format")


def require_folder(root: Path) -> None:
    if not root.is_dir():
        what = "is no folder" if root.exists() else "is no folder: it does not exist"
        raise DataError(f"the source {root} {what}; give the folder that holds the data")
