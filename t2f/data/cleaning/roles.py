"""Rule 4 for nouns: somebody's role goes, and where it stood for the person a man, woman or person stays."""

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.clauses import Clause
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.finding import Found, clause_at, find, is_part, shows
from t2f.data.cleaning.passages import take_clause
from t2f.data.cleaning.tokens import MARKS

_PLURALS = {"man": "men", "woman": "women", "person": "people"}


def take_noun(draft: Draft, found: Found) -> bool:
    """Somebody's role. Where it stands among what can be seen it goes alone, or becomes a man, woman or person."""
    tokens, rules, category = draft.tokens, draft.rules, found.phrase.category
    clause, (start, end) = clause_at(draft, found.start)
    begin = _begin_of_noun_phrase(draft, clause, found.start)
    own = tokens[begin : found.start]
    run = next((at + 1 for at in range(begin - 1, start - 1, -1) if tokens[at].text in MARKS), start)
    told = any(rules.persons.get(token.low, "person") != "person" for token in tokens[run:begin])
    beside = any(token.low in rules.persons or is_part(token, rules) for token in own[-1:])
    runs_on = told and shows(own, rules) and own[0].low not in {"a", "an", "the"}
    if beside or runs_on or _is_before_noun(draft, found.end, clause.end):
        draft.remove(found.start, found.end, category)
        return True
    if begin > clause.start and tokens[begin - 1].low in {"or", "and", "/"} and _ends_with_noun(draft, begin - 1):
        draft.remove(begin - 1, found.end, category)  # "a lawyer or civil servant": the first decides
        return True
    behind = tokens[found.end : end]
    is_leading = begin == start and any(rules.shows(token.low) and token.low not in rules.weak for token in behind)
    if shows(own, rules) or is_leading or any(token.low in rules.persons for token in own):
        if any(token.low in rules.persons for token in own):
            draft.remove(found.start, found.end, category)
        else:
            _take_second_role(draft, found, clause.end)
            draft.replace(found.start, found.end, _person_for(draft, found), category)
        return True
    return take_clause(draft, found)


def _take_second_role(draft: Draft, found: Found, end: int) -> None:
    """Of "a young [cook] or restaurant keeper" the second goes as a whole."""
    behind = draft.tokens[found.end : end]
    if behind and behind[0].low in {"or", "and", "/"} and not shows(behind, draft.rules):
        draft.remove(found.end, end, found.phrase.category)


def _ends_with_noun(draft: Draft, place: int) -> bool:
    return any(one.end == place and one.phrase.how == "noun" for one in find(draft.tokens, draft.rules))


def _begin_of_noun_phrase(draft: Draft, clause: Clause, place: int) -> int:
    tokens, rules = draft.tokens, draft.rules
    begin = place
    while begin > clause.start:
        word = tokens[begin - 1].low
        if word in grammar.DETERMINERS:
            return begin - 1
        belongs = rules.shows(word) or word in rules.persons or word in grammar.DEGREES
        if not belongs or word in grammar.VERBS | grammar.PARTICIPLES or tokens[begin - 1].text in MARKS:
            break
        begin -= 1
    return begin


def _is_before_noun(draft: Draft, place: int, end: int) -> bool:
    """Whether words such as "dark haired woman" follow, before which a noun is like an adjective."""
    for token in draft.tokens[place:end]:
        if token.low in draft.rules.persons or is_part(token, draft.rules):
            return True
        if token.low in {"year", "years", "middle"}:
            continue
        if not draft.rules.shows(token.low) or token.low in grammar.PARTICIPLES:
            return False
    return place < end and not draft.tokens[end - 1].low.endswith("ish")


def _person_for(draft: Draft, found: Found) -> str:
    """The word that takes the role's place: by the role itself, or by "he" and "she" in the caption."""
    last = found.phrase.words[-1]
    plural = last not in draft.rules.roles and last.endswith(("men", "s")) and not last.endswith("ss")
    kind = draft.rules.roles.get(last.removesuffix("s") if plural else last)
    if kind is None and last.endswith(("woman", "women")):
        kind = "woman"
    if kind is None and last.endswith(("man", "men")):
        kind = "man"
    if kind is None:
        said = {token.low.split("'")[0] for token in draft.tokens}
        he, she = bool(said & {"he", "his", "him"}), bool(said & {"she", "her", "hers"})
        kind = "person" if he == she else "man" if he else "woman"
    return _PLURALS[kind] if plural else kind
