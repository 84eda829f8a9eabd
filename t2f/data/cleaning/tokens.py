"""A caption as words and marks, and back: spacing, hyphens and digits mended on the way (rule 0).

`mended` is what its own result is left alone by, and so is writing the tokens of a mended text again.
"""

import re
import unicodedata
from collections.abc import Sequence, Set
from typing import NamedTuple

_QUOTES = str.maketrans({"‘": "'", "’": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": "-"})
# Tokenised copies set every digit apart: "2 5 years", "in his 3 0 ' s", "1 9 7 6".
_SPLIT_DIGITS = re.compile(r"(?<![\w.,])[0-9](?: [0-9]){1,3}(?!\w)")
_DECADE = re.compile(r"(?<!\w)([0-9]0) ?(?:' ?s|ies|s)(?!\w)", re.IGNORECASE)
_ISH = re.compile(r"(?<!\w)([0-9]{2}) ?- ?(?=ish(?!\w)|[0-9]{2}(?!\w))|(?<!\w)([0-9]{2}) (?=ish(?!\w))", re.IGNORECASE)
_DASH_ISH = re.compile(r"(?<=[^\W_])-(ish)(?!\w)", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=[^\W_]) ?' ?(?=(?:s|t|re|ve|ll|m|d)(?!\w))", re.IGNORECASE)
_LOOSE_QUOTE = re.compile(r"\"|(?<![^\W_])'|'(?![^\W_])")
_SPACED_HYPHEN = re.compile(r"(?<=\w) - (?=\w)")
_PLUS = re.compile(r"(?<=[0-9]) \+")
_SUCH_AS = re.compile(r"(?<!\w)(?:i ?\. ?e|e ?\. ?g)(?: ?\.)?(?!\w)", re.IGNORECASE)
_AND_HYPHEN = re.compile(r"(?<=\w) - (and|to|of|in|up|the|go) - (?=\w)", re.IGNORECASE)
_TOKEN = re.compile(r"[0-9]+(?:[.,:][0-9]+)+|[^\W_]+(?:['-][^\W_]+)*[+%]?|[^\w\s]|_")

_MAX_PASSES = 8
ENDS = frozenset(".!?")
MARKS = frozenset(".!?,;:()-")
_NO_SPACE_BEFORE = frozenset(".,;:!?)/%")
_NO_SPACE_AFTER = frozenset("(/")


class Token(NamedTuple):
    """A word or a mark, and where in the mended caption it came from."""

    text: str
    low: str
    start: int
    end: int
    cut: bool = False  # something that stood directly before it was taken away


def mended(text: str, *, hyphen_after: Set[str], hyphen_before: Set[str]) -> str:
    """The caption with single spaces, closed-up digits and hyphens, and spaces around its marks as in print.

    hyphen_after, hyphen_before: a hyphen between spaces is closed up after the first words and before the second.
    """
    # What one pass closes up can be what the next one needs: the digits of "3 0 +", then its sign.
    for _ in range(_MAX_PASSES):
        again = _mended_once(text, hyphen_after, hyphen_before)
        if again == text:
            break
        text = again
    return text


def _mended_once(text: str, hyphen_after: Set[str], hyphen_before: Set[str]) -> str:
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    text = " ".join(text.split())
    text = _SPLIT_DIGITS.sub(lambda match: match[0].replace(" ", ""), text)
    text = _DECADE.sub(r"\1s", text)
    text = _ISH.sub(lambda match: f"{match[1]}-" if match[1] else match[2], text)
    text = _LOOSE_QUOTE.sub(" ", _APOSTROPHE.sub("'", text))
    text = _SUCH_AS.sub("such as", _PLUS.sub("+", text))
    text = _AND_HYPHEN.sub(r"-\1-", text)
    text = _close_hyphens(" ".join(text.split()), hyphen_after, hyphen_before)
    return written(_single_marks(tokenised(_DASH_ISH.sub(r"\1", text))))


def _close_hyphens(text: str, after: Set[str], before: Set[str]) -> str:
    parts = _SPACED_HYPHEN.split(text)
    joined = parts[0]
    for part in parts[1:]:
        left, right = re.findall(r"\w+", joined)[-1].lower(), re.match(r"\w+", part)[0].lower()
        closed = left in after or right in before
        joined += ("-" if closed else " - ") + part
    return joined


def _single_marks(tokens: Sequence[Token]) -> list[Token]:
    """Without marks that follow a mark (". . .", "! !", ", ."), and without one at the start."""
    kept: list[Token] = []
    for token in tokens:
        last = kept[-1].text if kept else ","
        if token.text in ".!?,;:" and last in ",;:.!?(":
            if token.text in ENDS and last in ",;:":
                kept = [*kept[:-1], token] if kept else kept
            continue
        kept.append(token)
    return kept


def tokenised(text: str) -> list[Token]:
    return [Token(match[0], match[0].lower(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def written(tokens: Sequence[Token]) -> str:
    """The tokens as a text, spaced as in print."""
    parts: list[str] = []
    last = "("
    for token in tokens:
        if token.text not in _NO_SPACE_BEFORE and last not in _NO_SPACE_AFTER:
            parts.append(" ")
        parts.append(token.text)
        last = token.text
    return "".join(parts)
