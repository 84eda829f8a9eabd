"""Texts of sources: always UTF-8, as lines, JSON or tables; what is wrong is named with file and line."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2f.data.readers.example import EntryError, short
from t2f.errors import DataError

MAX_TEXT_BYTES = 2**30  # COCO's captions have 91 MB, CelebA's attributes 27


def read_utf8(path: Path) -> str:
    """The file's text without a byte order mark; DataError, naming the line, where it is not UTF-8."""
    data = read_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16, by its first two bytes; save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02X} is not UTF-8 (perhaps Latin-1); "
            "save the file as UTF-8"
        ) from None


def read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise DataError(f"{path} has {size} bytes; at most {MAX_TEXT_BYTES} are read of such a file")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def lines_of(source: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of every line that is not blank."""
    # Not splitlines(), which also breaks at U+2028 and others that JSON allows inside a text.
    for number, line in enumerate(read_utf8(source).split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def captions_in(path: Path) -> list[str]:
    """A caption a line, as they lie in a .txt beside a picture; EntryError where the file is not there or no text."""
    if not path.is_file():
        raise EntryError("no caption", f"{path} does not exist, so its picture has no caption; write it")
    try:
        return [line for _, line in lines_of(path)]
    except DataError as error:
        raise EntryError("caption that is not UTF-8", str(error)) from None


def read_json(source: Path) -> Any:
    return parse_json(read_utf8(source), str(source))


def parse_json(text: str, source: Path | str, line: int | None = None) -> Any:
    """What the text says; DataError where it is no JSON, or an object has a key twice.

    line: that of the text, where it is one line of a file.
    """
    where = f"{source}, line {line}" if line is not None else str(source)

    def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            key = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
            # JSON keeps the last one without a word, and what the others say would be lost.
            raise DataError(f"{where}: the key {short(key)} is there twice in one object; keep one of them")
        return built

    try:
        return json.loads(text, object_pairs_hook=unrepeated)
    except json.JSONDecodeError as error:
        where = f"{source}, line {line or error.lineno}"
        raise DataError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    except DataError:
        raise
    # ValueError: a number of thousands of digits; RecursionError: brackets nested by the thousand.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not usable JSON ({error})") from None


def first_key(path: Path) -> str | None:
    """The first key of the JSON object in a file, by its first 64 KiB; None where it is none."""
    try:
        with path.open("rb") as file:
            start = file.read(2**16).decode("utf-8-sig", errors="ignore")
    except OSError:
        return None
    text = start.lstrip()
    if not text.startswith("{"):
        return None
    try:
        key, _ = json.JSONDecoder().raw_decode(text[1:].lstrip())
    except ValueError:
        return None
    return key if isinstance(key, str) else None


def first_row(source: Path, delimiter: str) -> list[str]:
    """The header of a CSV, by its first 64 KiB; empty where it has none. It may be no table at all."""
    with source.open("rb") as file:
        start = file.read(2**16).decode("utf-8-sig", errors="replace")
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def read_table(source: Path, delimiter: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header and the rows of a CSV with their lines; DataError for a row of another number of cells."""
    # newline="": a quoted cell may hold line breaks.
    rows = csv.reader(io.StringIO(read_utf8(source), newline=""), delimiter=delimiter)

    def checked() -> Iterator[tuple[int, list[str]]]:
        try:
            for row in rows:
                if len(row) not in (0, len(header)):
                    raise DataError(
                        f"{source}, line {rows.line_num}: {len(row)} cells where the header names {len(header)}; "
                        "put a text that holds the separator in quotes"
                    )
                if row:
                    yield rows.line_num, row
        except csv.Error as error:
            raise DataError(f"{source}, line {rows.line_num}: not a table ({error})") from None

    try:
        header = [cell.strip() for cell in next(rows, [])]
    except csv.Error as error:
        raise DataError(f"{source}, line 1: not a table ({error})") from None
    repeated = [name for name in header if header.count(name) > 1]
    if not header or repeated:
        what = f"names {short(repeated[0])} twice" if repeated else "is empty"
        raise DataError(f"{source}, line 1: the header {what}; name every column once")
    return header, checked()
