"""A caption while it is cleaned: words go or are replaced, each with its reason, and what is left dangling goes too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.rules import CleaningRules
from t2f.data.cleaning.tokens import ENDS, Token, written

_LINKS = grammar.CONJUNCTIONS | {"/"}
_PAUSES = frozenset(",;:-")
# Verbs that say nothing before "with", "in" or a participle; "is in her 40s" does.
_LOOKS = grammar.words(
    """
    looks look looked looking seems seem appears appear has have having feels showing giving shows show
    indicating indicates considering making could therefore thus hence then however either
    """
)
_DANGLING_PREPOSITIONS = grammar.words("with of in by from for at to as like about on into without than")
# "and" behind one of these joins nothing.
_HOLDS = grammar.DETERMINERS | grammar.VERBS | grammar.PREPOSITIONS | grammar.DEGREES | _LINKS | {"(", "looking"}
_VOWEL_BUT_CONSONANT = ("uni", "use", "usu", "eu", "one", "ute")
_CONSONANT_BUT_VOWEL = ("hour", "honest", "heir", "8", "11", "18")


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What was taken out of a caption, and why."""

    category: str  # of `rules.CATEGORIES`
    what: str
    start: int  # it was at [start, end) of the mended caption, between other removals
    end: int
    instead: str = ""  # what stands there now


@dataclass
class Draft:
    """The words that are left, and what went."""

    tokens: list[Token]
    rules: CleaningRules
    removals: list[Removal] = field(default_factory=list)
    cut_at_end: str = ""  # the category of what stood last and was taken away

    def remove(self, start: int, end: int, category: str) -> None:
        gone = self.tokens[start:end]
        self._log(gone, category, "")
        if end < len(self.tokens):
            self.tokens[end] = self.tokens[end]._replace(cut=category)
        else:
            self.cut_at_end = category
        del self.tokens[start:end]

    def replace(self, start: int, end: int, words: str, category: str) -> None:
        gone = self.tokens[start:end]
        self._log(gone, category, words)
        new = [Token(word, word.lower(), gone[0].start, gone[-1].end, gone[0].cut) for word in words.split()]
        self.tokens[start:end] = new
        article = _Gap(self.tokens, start, self.rules).article()
        if article:
            self.replace(start - 1, start, article, category)

    def _log(self, gone: Sequence[Token], category: str, instead: str) -> None:
        self.removals.append(
            Removal(
                category=category, what=written(gone).strip(), start=gone[0].start, end=gone[-1].end, instead=instead
            )
        )

    def tidy(self) -> None:
        """Takes away what the removals left without a hold: articles, "and", "looks", commas."""
        while any(self._tidy_gap(place) for place in range(len(self.tokens) + 1)):
            pass

    def _tidy_gap(self, place: int) -> bool:
        category = self.tokens[place].cut if place < len(self.tokens) else self.cut_at_end
        if not category:
            return False
        gap = _Gap(self.tokens, place, self.rules)
        if gap.is_empty_aside():
            self.remove(place - 1, place + 1, category)
        elif gap.left_goes():
            self.remove(place - 1, place, category)
        elif gap.right_goes():
            self.remove(place, place + 1, category)
        elif gap.article():
            self.replace(place - 1, place, gap.article(), category)
        else:
            return False
        return True


class _Gap:
    """Two words that came together because something between them was taken away."""

    def __init__(self, tokens: Sequence[Token], place: int, rules: CleaningRules) -> None:
        self.rules = rules
        self.before = tokens[place - 2] if place > 1 else None
        self.left = tokens[place - 1] if place > 0 else None
        self.right = tokens[place] if place < len(tokens) else None
        self.is_last = place == len(tokens) - 1
        self.after = tokens[place + 1] if place + 1 < len(tokens) else None
        self.later = tokens[place + 2] if place + 2 < len(tokens) else None
        self.starts = self.left is None or self.left.text in ENDS
        self.ends = self.right is None or self.right.text in ENDS
        right = "" if self.right is None else self.right.low
        self.breaks = self.ends or right in _PAUSES or right == ")"  # nothing more comes in this clause
        self.turns = self.breaks or right in _LINKS | grammar.RELATIVES | grammar.SUBORDINATORS

    def is_empty_aside(self) -> bool:
        return not self.starts and not self.ends and (self.left.text, self.right.text) == ("(", ")")

    def left_goes(self) -> bool:
        if self.left is None:
            return False
        left, right = self.left.low, "" if self.right is None else self.right.low
        if left in ENDS:
            return False
        if left in _PAUSES:
            return self.breaks or (left == "," and right in self.rules.persons and self._is_adjective(self.before))
        if left in _LINKS:
            follows = grammar.PREPOSITIONS | {"("}
            return self.turns or right in follows or right in self.rules.persons or left == "/"
        if self._joins() or self._parts_adjectives():
            return False
        if left in {"him", "them"}:
            return self.ends
        if left in grammar.DETERMINERS and left not in {"his", "her", "their", "its"}:
            follows = grammar.PREPOSITIONS | grammar.VERBS | grammar.PRONOUNS | grammar.PARTICIPLES
            is_noun_phrase = left in grammar.PRONOUNS or self._is_adjective(self.right)
            return self.turns or (right in follows and not is_noun_phrase)
        if left in {"slightly", "well", "too", "mildly", "deeply"} and self._is_adjective(self.before):
            return False  # "smiling slightly"
        if left in {"his", "her", "their", "its"} or left in grammar.DEGREES | grammar.NEGATIONS:
            return self.turns or right in grammar.PREPOSITIONS
        if left in {"look", "looks"} and self.before is not None and self.before.low in self.rules.emotion:
            return False  # "a serious look"
        if left in _LOOKS:
            return (
                self.turns
                or right == "("
                or right in grammar.PREPOSITIONS | grammar.VERBS | grammar.PRONOUNS | grammar.PARTICIPLES
            )
        if left in grammar.VERBS - grammar.BE:
            return self.turns
        if left in grammar.BE | {"to", "does", "do", "did", "might", "may", "could", "can", "must", "would", "should"}:
            return self.turns or right == "with" or right in grammar.PRONOUNS
        if left in grammar.SUBORDINATORS:
            return self.turns
        if left in grammar.PRONOUNS | grammar.RELATIVES:
            return self.turns or right in grammar.PREPOSITIONS | grammar.PRONOUNS
        if left in _DANGLING_PREPOSITIONS:
            return self.turns or right in grammar.VERBS | _DANGLING_PREPOSITIONS | grammar.PRONOUNS
        return False

    def right_goes(self) -> bool:
        if self.right is None:
            return False
        right = self.right.low
        left = "" if self.left is None else self.left.low
        if self.starts:
            return right in ENDS | _PAUSES | _LINKS | grammar.RELATIVES | {")"}
        if left == "(" and right in ENDS | _PAUSES:
            return True
        if right in ENDS:
            return self.is_last  # the full stop of a sentence whose end went
        if right in _PAUSES:
            return left in _PAUSES | {"("} or self._parts_adjectives()
        if left in self.rules.persons:
            return right in {"or", "/", "he", "she", "it", "they"}
        return right == "/" or self._joins() or (right in _LINKS and left in _HOLDS)

    def _joins(self) -> bool:
        """Whether "and" on the right has lost what it joined on its left: "looks [clever] and happy"."""
        if self.left is None or self.right is None or self.after is None or self.right.low not in _LINKS:
            return False
        return self.left.low in _HOLDS and self.rules.shows(self.after.low)

    def _parts_adjectives(self) -> bool:
        """Whether the comma on the right stood between adjectives: "a [kind], round face"."""
        if self.left is None or self.right is None or self.right.text != "," or self.later is None:
            return False
        adjectives = self.left.low in grammar.DETERMINERS and self._is_adjective(self.after)
        return adjectives and self.later.text[0].isalnum()

    def article(self) -> str:
        """The "a" or "an" that the word on the right asks for, where the one on the left is the other; else ""."""
        if (
            self.left is None
            or self.right is None
            or self.left.low not in {"a", "an"}
            or not self.right.low[0].isalnum()
        ):
            return ""
        right = self.right.low
        vowel = right[0] in "aeiou" and not right.startswith(_VOWEL_BUT_CONSONANT)
        wanted = "an" if vowel or right.startswith(_CONSONANT_BUT_VOWEL) else "a"
        return "" if wanted == self.left.low else wanted

    def _is_adjective(self, token: Token | None) -> bool:
        if token is None:
            return False
        return token.low.endswith("ed") or token.low in self.rules.visible or token.low in self.rules.emotion
