"""Pictures in one folder and N.txt with their captions in another: Multi-Modal-CelebA-HQ and FFHQ-Text."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from t2f.data.readers.example import Example, Found, checked_captions, checked_name, entry, short
from t2f.data.readers.files import PictureFinder, folder_in, is_picture_name
from t2f.data.readers.name_lists import read_pickled_names
from t2f.data.readers.texts import captions_in
from t2f.errors import DataError

_MM_TEXTS = ("text/celeba-caption", "celeba-caption")
_MM_PICTURES = ("image/images", "images", "image", "CelebA-HQ-img", "CelebAMask-HQ/CelebA-HQ-img")
_FFHQ_TEXTS = ("Text", "Texts")
_FFHQ_PICTURES = ("Image", "Images")

logger = logging.getLogger(__name__)


def recognise_mm_celeba_hq(root: Path) -> str | None:
    folder = folder_in(root, *_MM_TEXTS)
    return None if folder is None else f"it holds the folder {folder.relative_to(root)}"


def recognise_ffhq_text(root: Path) -> str | None:
    texts, pictures = folder_in(root, *_FFHQ_TEXTS), folder_in(root, *_FFHQ_PICTURES)
    if texts is None or pictures is None or recognise_mm_celeba_hq(root) is not None:
        return None
    if not any(path.suffix.lower() == ".txt" for path in texts.iterdir()):
        return None
    return f"{texts.name}/ holds .txt files and {pictures.name}/ lies beside it"


def read_mm_celeba_hq(root: Path) -> Iterator[Found]:
    """text/celeba-caption/N.txt, ten captions a file; splits of train/ and test/filenames.pickle where they are."""
    yield from _read(root, _MM_TEXTS, _MM_PICTURES)


def read_ffhq_text(root: Path) -> Iterator[Found]:
    """Text/N.txt, nine captions a file, beside Image/N.png; splits of the pickled lists in Train/ and Test/."""
    yield from _read(root, _FFHQ_TEXTS, _FFHQ_PICTURES)


def _read(root: Path, text_folders: tuple[str, ...], picture_folders: tuple[str, ...]) -> Iterator[Found]:
    texts, pictures = folder_in(root, *text_folders), folder_in(root, *picture_folders)
    for folder, names in ((texts, text_folders), (pictures, picture_folders)):
        if folder is None:
            raise DataError(f"{root} holds no folder {' or '.join(names)}; give the folder that holds it")
    splits = _splits(root)
    stems = {path.stem: path for path in texts.iterdir() if path.suffix.lower() == ".txt"}
    if not stems:
        raise DataError(f"{texts} holds no .txt files; put a file of captions for each picture there")
    others = [stem for stem in stems if splits and stem not in splits]
    if others:
        logger.warning(
            "%s: %d pictures are in no list of names and were left out, such as %s", root, len(others), short(others[0])
        )
    finder = PictureFinder(pictures)
    for stem in splits or sorted(stems, key=lambda stem: (len(stem), stem)):
        text = stems.get(stem, texts / f"{stem}.txt")
        yield entry(_example, stem, text, finder, splits.get(stem))


def _splits(root: Path) -> Mapping[str, str]:
    """Name -> split, in the order of the lists; empty where there are none."""
    splits: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        folder = folder_in(root, *{"validation": ("validation", "valid", "val")}.get(split, (split,)))
        files = sorted(folder.iterdir()) if folder is not None else []
        for path in files:
            if path.suffix.lower() not in (".pickle", ".pkl"):
                continue
            for name in read_pickled_names(path):
                stem = name.rpartition(".")[0] if is_picture_name(name) else name
                if stem in splits:
                    raise DataError(f"{path}: {short(name)} is in the list for {splits[stem]} too; keep it in one")
                splits[stem] = split
    return splits


def _example(stem: str, text: Path, finder: PictureFinder, split: str | None) -> Example:
    name = checked_name(stem, str(text))
    return Example(
        image_id=name,
        path=finder.find(name, any_suffix=True),
        captions=checked_captions(captions_in(text), str(text)),
        split=split,
    )
