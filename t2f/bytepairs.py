"""CLIP's tokenizer: from a sentence to the ids of byte pairs (arXiv:1508.07909, as in arXiv:2103.00020)."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from t2f.errors import CheckpointError
from t2f.foreign import read_as

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
_ENDINGS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d")


@lru_cache(maxsize=1)
def byte_letters() -> tuple[str, ...]:
    """A printable character for each byte, as the word list writes them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return tuple(letters[byte] for byte in range(256))


def words_of(sentence: str) -> list[str]:
    """Runs of letters, single digits, runs of other signs, and the endings 's, 't ... apart, in lower case.

    It gives what CLIP's own tokenizer gives, except that a sentence cannot say special tokens.
    """
    text = unicodedata.normalize("NFC", sentence).lower()
    found, place = [], 0
    while place < len(text):
        kind = _kind(text[place])
        ending = _ENDINGS.match(text, place)
        end = place + 1
        if ending is not None:
            end = ending.end()
        elif kind in "LO":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            found.append(text[place:end])
        place = end
    return found


def _kind(character: str) -> str:
    """L a letter, N a digit, a blank, or O anything else."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "O"


class BytePairs:
    """Words are cut into single bytes, which are joined again in the order in which the pairs were learned."""

    def __init__(self, ids: Mapping[str, int], pairs: Sequence[tuple[str, str]], *, max_tokens: int) -> None:
        """max_tokens: START and END count too; what is beyond is not read."""
        self._ids, self._max_tokens = ids, max_tokens
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}

    def encode(self, sentence: str) -> list[int]:
        pieces = [piece for word in words_of(sentence) for piece in self._pieces(word)]
        ids = [self._ids[piece] for piece in pieces[: self._max_tokens - 2]]
        return [self._ids[START], *ids, self._ids[END]]

    def _pieces(self, word: str) -> list[str]:
        letters = byte_letters()
        pieces = [letters[byte] for byte in word.encode("utf-8", errors="replace")]
        pieces[-1] += WORD_END
        while len(pieces) > 1:
            ranked = [(self._ranks[pair], pair) for pair in pairwise(pieces) if pair in self._ranks]
            if not ranked:
                break
            _, (left, right) = min(ranked)
            joined, place = [], 0
            while place < len(pieces):
                is_pair = pieces[place : place + 2] == [left, right]
                joined.append(left + right if is_pair else pieces[place])
                place += 2 if is_pair else 1
            pieces = joined
        return pieces


def read_byte_pairs(folder: Path, *, vocabulary_size: int, max_tokens: int) -> BytePairs:
    """The tokenizer in vocab.json and merges.txt; CheckpointError where they do not fit together."""
    path = folder / "vocab.json"
    ids = read_as(path, dict)
    pairs_path = folder / "merges.txt"
    try:
        lines = pairs_path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{pairs_path} cannot be read as UTF-8 text: {error}") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or "".join(parts) not in ids:
            raise CheckpointError(f"{pairs_path}, line {number}: {line[:60]!r} is no pair of pieces of {path.name}")
        pairs.append((parts[0], parts[1]))
    needed = [START, END, *byte_letters(), *(letter + WORD_END for letter in byte_letters())]
    missing = [piece for piece in needed if piece not in ids]
    if missing:
        raise CheckpointError(f"{path} has no piece {missing[0]!r}; a CLIP's word list has every byte, START and END")
    wrong = [
        piece
        for piece, number in ids.items()
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < vocabulary_size
    ]
    if wrong:
        raise CheckpointError(
            f"{path} gives {wrong[0]!r} the number {ids[wrong[0]]!r}; its config.json allows 0 to {vocabulary_size - 1}"
        )
    return BytePairs(ids, pairs, max_tokens=max_tokens)
