"""Cleaning a caption: what the picture shows stays, what somebody concluded goes, each removal with its category.

The rules are those of docs/cleaning.md. They are applied until none finds anything, so a cleaned caption is left alone
when it is cleaned again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from t2f.data.cleaning.draft import Draft, Removal
from t2f.data.cleaning.finding import Found, find, only_names_parts, shows
from t2f.data.cleaning.guesses import judge_comparisons, judge_hedges
from t2f.data.cleaning.passages import take_aim, take_clause, take_link, take_rest, take_sentence
from t2f.data.cleaning.rest import take_what_feelings_are_about, take_what_shows_nothing
from t2f.data.cleaning.roles import take_noun
from t2f.data.cleaning.rules import REMOVED, CleaningRules
from t2f.data.cleaning.tokens import mended, tokenised, written
from t2f.data.cleaning.words import take_hedged, take_word
from t2f.errors import SpecError

MODES = ("off", "light", "strict")
MIN_WORDS = 3
_BY_RULE = tuple(category for category in REMOVED if category != "first person")  # which comes after the hedges
_ADJECTIVES = {"word", "hedged"}
_TAKE: dict[str, Callable[[Draft, Found], bool]] = {
    "word": take_word,
    "noun": take_noun,
    "clause": take_clause,
    "rest": take_rest,
    "link": take_link,
    "aim": take_aim,
    "sentence": take_sentence,
    "hedged": take_hedged,
}


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """A caption after cleaning."""

    text: str | None  # None: nothing is left that a picture could show
    mended: str  # what came in, its spacing mended; the removals' places are in it
    removals: tuple[Removal, ...] = ()
    reason: str = ""  # why it was rejected: a category, or "too short"


def clean(text: str, mode: str, rules: CleaningRules) -> Cleaned:
    """The caption cleaned as the mode says; the same for the same arguments, and itself for a cleaned caption."""
    if mode not in MODES:
        raise SpecError(f"the cleaning mode {mode!r} is not known; allowed: {', '.join(MODES)}")
    if mode == "off":
        return Cleaned(text=text, mended=text)
    whole = _mended(text, rules)
    draft = Draft(tokens=tokenised(whole), rules=rules)
    _mend_typos(draft)
    steps = [*_steps(mode, rules), _mend_again]
    while any(step(draft) for step in steps):
        draft.tidy()
    reason = _reason(draft, mode)
    left = None if reason else written(draft.tokens)
    return Cleaned(text=left, mended=whole, removals=tuple(draft.removals), reason=reason)


def _steps(mode: str, rules: CleaningRules) -> list[Callable[[Draft], bool]]:
    if mode == "light":
        return [lambda draft: take_listed(draft, rules.light)]
    return [
        judge_comparisons,
        lambda draft: take_listed(draft, _BY_RULE),
        take_what_feelings_are_about,
        judge_hedges,
        lambda draft: take_listed(draft, ("first person",)),
        take_what_shows_nothing,
    ]


def take_listed(draft: Draft, categories: Sequence[str] | frozenset[str]) -> bool:
    found = find(draft.tokens, draft.rules)
    # Adjectives first, so that a noun which follows stands beside what can be seen.
    for adjectives in (True, False):
        for category in categories:
            for one in reversed(found):
                if one.phrase.category != category or (one.phrase.how in _ADJECTIVES) is not adjectives:
                    continue
                if _TAKE[one.phrase.how](draft, one):
                    return True  # what is left may read otherwise
    return False


def _mended(text: str, rules: CleaningRules) -> str:
    return mended(text, hyphen_after=rules.hyphen_after, hyphen_before=rules.hyphen_before)


def _mend_again(draft: Draft) -> bool:
    """Closes up what came together only when something between it went, such as a hyphen's two sides."""
    if not draft.removals:
        return False
    new = tokenised(_mended(written(draft.tokens), draft.rules))
    if len(new) == len(draft.tokens):
        return False
    old, place, tokens = draft.tokens, 0, []
    for token in new:
        first, length = min(place, len(old) - 1), 0
        while place < len(old) and length < len(token.text):
            length += len(old[place].text)
            place += 1
        tokens.append(token._replace(start=old[first].start, end=old[max(first, place - 1)].end))
    draft.tokens = tokens
    return True


def _mend_typos(draft: Draft) -> None:
    for place in reversed(range(len(draft.tokens))):
        right = draft.rules.typos.get(draft.tokens[place].low)
        if right:
            draft.replace(place, place + 1, right, "typo")


def _reason(draft: Draft, mode: str) -> str:
    words = [token for token in draft.tokens if token.text[0].isalnum()]
    says = shows(draft.tokens, draft.rules) and not only_names_parts(
        draft.tokens, draft.rules, also=draft.rules.persons
    )
    if len(words) >= MIN_WORDS and (mode == "light" or says):
        return ""
    taken = {removal.category for removal in draft.removals}
    for category in (*REMOVED, "hedge", "nothing visible"):
        if category in taken:
            return category
    return "too short" if len(words) < MIN_WORDS else "nothing visible"
