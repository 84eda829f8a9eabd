"""BERT's tokenizer: from a sentence to the ids of word pieces."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from t2f.errors import CheckpointError

START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
MAX_WORD = 100  # characters; a longer word is unknown as a whole, as in BERT's own tokenizer

# CJK ideographs, their extensions and compatibility forms, as BERT's own tokenizer counts them. (The library begins
# extension E at 2B920; the 256 rare characters before that are not in BERT's uncased vocabulary.)
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Words are split from punctuation, then cut into the longest known pieces (arXiv:1609.08144, section 4.1).

    It gives what the `tokenizers` library gives, except that a caption cannot say special tokens: "[SEP]" is a word
    between two marks.
    """

    def __init__(self, ids: Mapping[str, int], *, lower: bool, max_tokens: int) -> None:
        """lower: without capitals and accents. max_tokens counts [CLS] and [SEP] too."""
        self.ids = ids
        self.lower = lower
        self.max_tokens = max_tokens

    def encode(self, text: str) -> list[int]:
        """[CLS], the pieces that there is room for, [SEP]: 2 to max_tokens ids."""
        pieces = [piece for word in split_words(text, lower=self.lower) for piece in self._pieces(word)]
        return [self.ids[START], *pieces[: self.max_tokens - 2], self.ids[END]]

    def _pieces(self, word: str) -> list[int]:
        unknown = [self.ids[UNKNOWN]]
        if len(word) > MAX_WORD:
            return unknown
        found: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.ids)
            end = next(ends, None)
            if end is None:
                return unknown
            found.append(self.ids[prefix + word[start:end]])
            start = end
        return found


def split_words(text: str, *, lower: bool) -> list[str]:
    """Words, and each punctuation mark and Chinese character by itself."""
    text = "".join(_cleaned(character) for character in text)
    if lower:
        plain = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        # One by one: str.lower() of a whole word would write the final sigma, which the library does not.
        text = "".join(c.lower() for c in plain)
    return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()


def read_word_pieces(path: Path, *, max_size: int) -> dict[str, int]:
    """The id of each piece of a vocab.txt: its line, counted from 0."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a list of words in UTF-8: {error}") from None
    ids = {piece: line for line, piece in enumerate(lines)}
    missing = [piece for piece in (START, END, UNKNOWN) if piece not in ids]
    if missing:
        raise CheckpointError(f"{path} has no {', '.join(missing)}; it must be the word list of a BERT")
    if len(lines) > max_size:
        raise CheckpointError(f"{path} has {len(lines)} lines; config.json allows vocab_size = {max_size}")
    return ids


def _cleaned(character: str) -> str:
    """Any space as " ", nothing for control characters, Chinese characters set apart."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
        return " "
    if character == "\ufffd" or category in ("Cc", "Cf", "Co", "Cs"):
        return ""
    return f" {character} " if any(first <= ord(character) <= last for first, last in _CHINESE) else character


def _is_punctuation(character: str) -> bool:
    """Unicode's punctuation, and all of ASCII that is neither letter, digit nor space: "$", "+", "~" too."""
    is_ascii_mark = "!" <= character <= "~" and not character.isalnum()
    return is_ascii_mark or unicodedata.category(character).startswith("P")
