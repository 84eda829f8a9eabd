"""CelebA-Dialog: a caption in a JSON for each picture, and five graded attributes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from t2f.data.readers.celeba import read_list
from t2f.data.readers.example import Example, Found, checked_captions, checked_name, entry, short
from t2f.data.readers.files import PictureFinder, file_in, folder_in, is_picture_name
from t2f.data.readers.texts import first_key, read_json
from t2f.errors import DataError

# In the order of the data set's own page, for files without a line of names.
_ATTRIBUTES = ("Bangs", "Eyeglasses", "Beard", "Smiling", "Age")


def recognise_celeba_dialog(root: Path) -> str | None:
    source = _captions(root)
    return None if source is None else f"{source.name} gives captions by file name"


def read_celeba_dialog(root: Path) -> Iterator[Found]:
    """captions_hq.json (or captions.json): file name -> {"overall_caption": ..., "attribute_wise_captions": ...}.

    The overall caption is used. With combined_annotation the five graded attributes come along. Pictures that the
    captions do not name, such as 5380.jpg, are not read.
    """
    source = _captions(root)
    if source is None:
        raise DataError(f"{root} holds no captions_hq.json or captions.json; give the folder that holds one, or text/")
    folder = folder_in(root, "image/images", "image", "images", "img_align_celeba/img_align_celeba", "img_align_celeba")
    if folder is None:
        raise DataError(f"{root} holds no folder image; put CelebA-Dialog's pictures there")
    captions = read_json(source)
    if not isinstance(captions, dict):
        raise DataError(f"{source} must be an object of file names and captions, but it is {short(captions)}")
    grades, finder = _grades(root), PictureFinder(folder)
    without_grades = [name for name in captions if grades and name not in grades]
    if without_grades:
        raise DataError(
            f"{source}: {short(without_grades[0])} has a caption, but no row in combined_annotation; add it"
        )
    for name, given in captions.items():
        yield entry(_example, name, given, finder, grades.get(name, {}), source)


def _captions(root: Path) -> Path | None:
    folders = [root, *(folder_in(root, name) for name in ("text", "text_hq", "Anno"))]
    for name in ("captions_hq.json", "captions.json"):
        found = file_in(folders, name)
        if found is not None and is_picture_name(first_key(found) or ""):
            return found
    return None


def _grades(root: Path) -> dict[str, Mapping[str, str]]:
    folders = [root, *(folder_in(root, name) for name in ("classification_label", "Anno", "text"))]
    source = file_in(folders, "combined_annotation_hq.txt", "combined_annotation.txt")
    if source is None:
        return {}
    names, rows = read_list(source)
    if not names and len(rows[0][2]) != len(_ATTRIBUTES):
        raise DataError(
            f"{source}: {len(rows[0][2])} values a row and no line of names; the five attributes "
            f"{', '.join(_ATTRIBUTES)} are expected"
        )
    columns = names or _ATTRIBUTES
    return {name: dict(zip(columns, values, strict=True)) for _, name, values in rows}


def _example(name: str, given: object, finder: PictureFinder, grades: Mapping[str, str], source: Path) -> Example:
    where = f"{source}, {short(name)}"
    name = checked_name(name, str(source))
    text = given.get("overall_caption") if isinstance(given, dict) else given
    return Example(
        image_id=name,
        path=finder.find(name, any_suffix=True),
        captions=checked_captions(text if isinstance(text, list) else [text], where),
        attributes=grades,
    )
