"""What no list names: what a feeling is about (rule 5), and clauses without anything to be seen (rule 11)."""

from collections.abc import Sequence

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.clauses import Clause, clauses, sentences
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.finding import AIRS, clause_at, only_names_parts, sexes, shows, shows_more_than_feelings

# Behind a feeling these tell what it is about.
_ABOUT = grammar.words("at about by with for of that to over from after like on as in")


def take_what_feelings_are_about(draft: Draft) -> bool:
    tokens, rules = draft.tokens, draft.rules
    for place, token in enumerate(tokens[:-1]):
        if token.low.removesuffix("-looking") not in rules.emotion:
            continue
        at = place + 1
        while at < len(tokens) - 1 and tokens[at].low in AIRS | {"looking"}:
            at += 1
        if tokens[at].low not in _ABOUT:
            continue
        clause, _ = clause_at(draft, at)
        end = clause.end
        if end < len(tokens) and tokens[end].low in grammar.RELATIVES | grammar.PRONOUNS:
            told = clause_at(draft, end)[0].end  # "sorry about | what he has done"
            beyond = {word.low for word in tokens[end:told] if rules.shows(word.low)} - rules.emotion - rules.weak
            end = end if beyond else told
        for one in range(at + 1, clause.end):
            if tokens[one].low in grammar.CONJUNCTIONS and shows(tokens[one : end + 1], rules):
                end = one
        about = tokens[at + 1 : end]
        seen = shows(about, rules) and shows_more_than_feelings(about, rules)
        if about and not seen and not any(word.low in rules.says_nothing for word in about):
            draft.remove(at, end, "cause")
            return True
    return False


def take_what_shows_nothing(draft: Draft) -> bool:
    for number, (start, end) in enumerate(sentences(draft.tokens)):
        words = draft.tokens[start:end]
        shows_nothing = not shows(words, draft.rules) and not (number == 0 and sexes(words, draft.rules))
        if shows_nothing or only_names_parts(words, draft.rules):
            draft.remove(start, end, "nothing visible")
            return True
        parts = clauses(draft.tokens, start, end, draft.rules)
        for place in reversed(range(len(parts))):
            if _take_if_it_shows_nothing(draft, parts, place, is_first_sentence=number == 0):
                return True
    return False


def _take_if_it_shows_nothing(draft: Draft, parts: Sequence[Clause], place: int, *, is_first_sentence: bool) -> bool:
    rules, clause = draft.rules, parts[place]
    words = draft.tokens[clause.start : clause.end]
    if shows(words, rules) or all(word.low in grammar.SHELLS for word in words):
        return False
    before = draft.tokens[clause.start - 1].low if place > 0 else ""
    opens = words[0].low
    told_of = place > 0 and not words[0].cut and rules.shows(before) and before not in rules.emotion
    if told_of and opens in grammar.VERBS | grammar.RELATIVES | {"that"}:
        return False  # "her ears are hard to see": told of what can be seen
    follows = place + 1 < len(parts) and parts[place + 1].start == clause.end
    if follows and (words[-1].low in rules.persons or draft.tokens[clause.end].low in grammar.VERBS):
        return False  # the subject of the next clause
    start = clause.start
    if is_first_sentence and opens not in grammar.PREPOSITIONS and sexes(words, rules):
        start = 1 + max(
            at
            for at in range(clause.start, clause.end)
            if rules.persons.get(draft.tokens[at].low, "person") != "person"
        )
    if start == clause.end:
        return False
    draft.remove(start, clause.end, "nothing visible")
    return True
