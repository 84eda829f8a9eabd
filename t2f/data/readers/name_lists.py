"""Pickled lists of file names, read without running anything that is in them."""

import pickle
from io import BytesIO
from pathlib import Path

from t2f.data.readers.example import short
from t2f.data.readers.texts import read_bytes
from t2f.errors import DataError


class _NamesOnly(pickle.Unpickler):
    """An unpickler for texts, numbers and containers. A pickle runs code by naming a class or function: refused."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a list of file names has no use for")

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError("it refers to something outside the file")


def read_pickled_names(path: Path) -> list[str]:
    """The names in a pickled list, such as "12345" or 12345; DataError for anything else, nothing of which is run."""
    data = read_bytes(path)
    try:
        # Python 2 wrote its texts as bytes: utf-8 reads them.
        found = _NamesOnly(BytesIO(data), encoding="utf-8").load()
    # What the unpickler raises for damaged files; MemoryError for a length that nobody has.
    except (pickle.UnpicklingError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no pickled list of names ({error}); get the file again") from None
    except (MemoryError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no pickled list of names ({type(error).__name__}); get the file again") from None
    if not isinstance(found, list | tuple):
        raise DataError(f"{path} must be a pickled list of names, but it is {short(found)}")
    names = []
    for place, name in enumerate(found):
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise DataError(f"{path}, name {place}: {short(name)} is no file's name; get the file again")
        names.append(str(name))
    repeated = len(names) - len(set(names))
    if repeated:
        raise DataError(f"{path}: {repeated} names are there twice; keep each once")
    return names
