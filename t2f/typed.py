"""Sentences as people type them: what is taken and refused, captions of a file, words exchanged. No torch in here."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from t2f.errors import SpecError

MAX_CHARACTERS = 10_000  # of one sentence; models read some hundred words of it at most
MAX_FILE_BYTES = 2**22


def tidy_sentence(text: str) -> str:
    """The sentence in one line and in composed form; SpecError where it is no text that can be read or written."""
    if len(text) > MAX_CHARACTERS:
        raise SpecError(
            f"a sentence of {len(text):,} characters is not allowed; give at most {MAX_CHARACTERS:,}, such as "
            "'a smiling woman with short grey hair'"
        )
    text = " ".join(unicodedata.normalize("NFC", text).split())
    for place, character in enumerate(text, start=1):
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise SpecError(
                f"the sentence holds U+{ord(character):04X} as character {place}, which is no text; remove it"
            )
    return text


def has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def read_captions(path: Path) -> list[str]:
    """The captions of a text file, one a line, empty lines left out; SpecError names the line that cannot be used."""
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise SpecError(f"--captions {path} cannot be read: {error.strerror}") from error
    if content is None:
        raise SpecError(f"--captions {path} is larger than {MAX_FILE_BYTES // 2**20} MiB; give a caption a line")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SpecError(f"--captions {path}, line {line} is not UTF-8; save the file as UTF-8") from error
    captions = []
    for number, line in enumerate(lines, start=1):
        try:
            captions += [tidy_sentence(line)] if line.strip() else []
        except SpecError as error:
            raise SpecError(f"--captions {path}, line {number}: {error}") from error
    if not captions:
        raise SpecError(f"--captions {path} holds no caption; write one a line")
    return captions


def edited(sentence: str, edits: Sequence[str]) -> list[str]:
    """The sentence, then with each edit "old=new" alone, then with all of them where there are several.

    Words are found whole, in upper or lower case; an empty new part takes them away.
    """
    pairs = [_edit(sentence, edit) for edit in edits]
    variants = [sentence, *(_replaced(sentence, *pair) for pair in pairs)]
    if len(pairs) > 1:
        last = sentence
        for pair in pairs:
            last = _replaced(last, *pair)
        variants.append(last)
    return variants


def _edit(sentence: str, edit: str) -> tuple[str, str]:
    old, sign, new = (tidy_sentence(part) for part in edit.partition("="))
    if not old or not sign:
        raise SpecError(f"--edit {edit!r} is not allowed; give words of the sentence and what to put there: short=long")
    if not _whole(old).search(sentence):
        raise SpecError(f"--edit {edit!r}: the sentence {sentence!r} does not hold {old!r}; give words that it holds")
    return old, new


def _replaced(sentence: str, old: str, new: str) -> str:
    return " ".join(_whole(old).sub(lambda _: new, sentence).split())


def _whole(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)
