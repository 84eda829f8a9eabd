"""From sentences to numbers: words, and the vocabulary of a training set.

M captions, T tokens
"""

import difflib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2f.errors import DataError

PAD = 0
UNKNOWN = 1
_SPECIAL = ("<pad>", "<unknown>")  # "<" is a token of its own, so no caption can say these
MAX_WORDS = 2**16  # token ids are kept as uint16

# Tokenised copies such as Face2Text's set every digit apart: "2 5 years", "in his 3 0 ' s", "1 9 7 6".
_SPLIT_DIGITS = re.compile(r"(?<!\S)([0-9](?: [0-9]){1,3})( ?s)?(?!\w)")
_DECADE = re.compile(r"([0-9]0) ?' ?s(?!\w)")
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})


def split_words(text: str) -> list[str]:
    """The words and single punctuation marks of a sentence, lower case; the same for a text and its tokenised copy.

    "A man in his 3 0 ' s." and "a man in his 30s." both give ["a", "man", "in", "his", "30s", "."].
    """
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).lower()
    text = _SPLIT_DIGITS.sub(lambda match: match[0].replace(" ", ""), text)
    return _TOKEN.findall(_DECADE.sub(r"\1s", text))


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; the place of a word is its token id, 0 is padding and 1 any unknown word."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:2] != _SPECIAL or len(set(self.words)) != len(self.words):
            raise DataError("a vocabulary must start with <pad> and <unknown> and hold each word once")
        if len(self.words) > MAX_WORDS:
            raise DataError(
                f"the captions hold {len(self.words) - 2} different words, {MAX_WORDS - 2} are possible; "
                "raise min_count, so that rare words are left out"
            )

    @classmethod
    def build(cls, captions: Iterable[str], *, min_count: int) -> "Vocabulary":
        """The words that occur at least `min_count` times, frequent ones first and then by alphabet."""
        counts = Counter(word for caption in captions for word in split_words(caption))
        kept = [word for word, count in counts.items() if count >= min_count]
        return cls((*_SPECIAL, *sorted(kept, key=lambda word: (-counts[word], word))))

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        try:
            words = json.loads(text)
        except (ValueError, RecursionError, TypeError):
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError("a vocabulary must be a JSON list of words")
        return cls(tuple(words))

    def to_json(self) -> str:
        return json.dumps(self.words, ensure_ascii=False)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    def encode(self, text: str, max_tokens: int = 100) -> list[int]:
        """The token ids of the sentence, cut after `max_tokens`; empty where it has no words."""
        return [self._ids.get(word, UNKNOWN) for word in split_words(text)[:max_tokens]]

    def encode_batch(self, texts: Sequence[str], max_tokens: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """tokens_MT (uint16, padded with 0, T the longest of them) and lengths_M (int64)."""
        encoded = [self.encode(text, max_tokens) for text in texts]
        lengths_M = np.array([len(tokens) for tokens in encoded], dtype=np.int64)
        tokens_MT = np.zeros((len(encoded), max(1, lengths_M.max(initial=0))), dtype=np.uint16)
        for row, tokens in zip(tokens_MT, encoded, strict=True):
            row[: len(tokens)] = tokens
        return tokens_MT, lengths_M

    def unknown_words(self, text: str) -> list[str]:
        """The words of the sentence that are not known, each once, in order; marks are no words."""
        words = (word for word in dict.fromkeys(split_words(text)) if any(map(str.isalnum, word)))
        return [word for word in words if word not in self._ids]

    def nearest(self, word: str) -> str | None:
        """The known word that is spelled most like this one, or None."""
        found = difflib.get_close_matches(word, self.words[2:], n=1)
        return found[0] if found else None


def rarity(tokens_MT: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """float32 [V]: log(M / captions that hold the word), the inverse document frequency (Spärck Jones 1972).

    0 for padding and for a word that no caption holds.
    """
    captions = np.arange(len(tokens_MT), dtype=np.int64)[:, None]
    held = np.unique(captions * vocabulary_size + tokens_MT) % vocabulary_size
    counts_V = np.bincount(held, minlength=vocabulary_size)
    rarity_V = np.log(max(1, len(tokens_MT)) / np.maximum(counts_V, 1)) * (counts_V > 0)
    rarity_V[PAD] = 0
    return rarity_V.astype(np.float32)
