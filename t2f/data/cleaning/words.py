"""Words that go alone: judgements, and origins where somebody guessed them (rules 4, 6 and 7)."""

from collections.abc import Sequence

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.finding import AIRS, Found, clause_at, find
from t2f.data.cleaning.rules import CleaningRules
from t2f.data.cleaning.tokens import MARKS, Token

_ORIGIN_NOUNS = grammar.words(
    """
    origin origins descent ancestry ethnicity lineage heritage race blood mix extraction nationality roots
    background type
    """
)


def take_word(draft: Draft, found: Found) -> bool:
    start, end = found.start, found.end
    tokens, category = draft.tokens, found.phrase.category
    held = start > 0 and tokens[start - 1].low in draft.rules.emotion  # "an angry, strange expression" stays one
    if category == "origin":
        while end < len(tokens) and tokens[end].low in _ORIGIN_NOUNS | {"looking"}:
            end += 1
    elif category not in {"photo", "situation"} and end < len(tokens) and not held:
        if tokens[end].low in AIRS and start > 0 and tokens[start - 1].low in {"a", "an"}:
            start -= 1
        end += tokens[end].low in AIRS | {"looking", "shaped"}
        if tokens[end - 1].low in AIRS and [token.low for token in tokens[end : end + 2]] in (
            ["about", "her"],
            ["about", "him"],
        ):
            end += 2
    while start > 0 and tokens[start - 1].low in grammar.DEGREES:
        start -= 1
    if category == "origin" and start > 0 and tokens[start - 1].low in {"look", "looks"}:
        start -= 1
    if category == "origin" and _stands_for_person(draft, start, end):
        draft.replace(start, end, "person", category)
    else:
        draft.remove(start, end, category)
    return True


def _stands_for_person(draft: Draft, start: int, end: int) -> bool:
    """Whether the word is the noun itself, as in "a young american in her 20s"."""
    before = draft.tokens[start - 1].low if start > 0 else ""
    after = draft.tokens[end].low if end < len(draft.tokens) else "."
    ends = after in MARKS | grammar.PREPOSITIONS | grammar.VERBS | grammar.RELATIVES | grammar.PARTICIPLES
    is_trait = draft.rules.shows(before) and before not in draft.rules.body
    return ends and (before in {"a", "an", "another"} or is_trait) and before not in draft.rules.persons


def take_hedged(draft: Draft, found: Found) -> bool:
    tokens = draft.tokens
    origins = {
        at for one in find(tokens, draft.rules) for at in range(one.start, one.end) if one.phrase.category == "origin"
    }
    first = found.start
    while first > 0 and (first - 1 in origins or tokens[first - 1].low in {",", "/", "-", "or", "either"}):
        first -= 1
    clause, _ = clause_at(draft, first)
    after = tokens[found.end].low if found.end < len(tokens) else ""
    before = tokens[clause.start : found.start]
    hedged = after == "looking" or _looks_like(before, draft.rules)
    hedged |= any(one.phrase.category in {"hedge", "hedge verb", "comparison"} for one in find(before, draft.rules))
    if not hedged and after == "(":
        hedged = found.end + 1 < len(tokens) and grammar.begins_hedge(tokens, found.end + 1, draft.rules)
    return hedged and take_word(draft, found)


def _looks_like(before: Sequence[Token], rules: CleaningRules) -> bool:
    """Whether "looks" or "seems" stands before, with nothing between that it could be about."""
    for place in range(len(before) - 1, -1, -1):
        word = before[place].low
        if word in {"look", "looks", "looked", "seems", "seem", "seeming"}:
            return True
        if word == "looking":
            return place == 0 or before[place - 1].low not in rules.emotion | rules.visible
        if word in rules.persons or word in rules.body:
            return False
    return False
