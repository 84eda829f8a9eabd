"""Clauses, causes and sentences that a listed phrase takes away (rules 2 to 5, 8 and 10)."""

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.clauses import sentences
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.finding import (
    Found,
    after_what_shows,
    clause_at,
    end_of_statement,
    shows,
    shows_more_than_feelings,
)
from t2f.data.cleaning.tokens import MARKS


def take_clause(draft: Draft, found: Found) -> bool:
    clause, _ = clause_at(draft, found.start)
    after = [token.low for token in draft.tokens[found.end : found.end + 2]]
    if (
        found.phrase.category == "name"
        and len(after) == 2
        and after[0] in {"like", "style"}
        and draft.rules.shows(after[1])
    ):
        draft.remove(found.start, found.end + 1, "name")  # "a moustache like ..." said the other way round
        return True
    start = after_what_shows(draft, clause, found.start)
    own, (_, sentence_end) = clause_at(draft, found.end - 1)
    end = own.end
    if end < sentence_end and draft.tokens[end].low in grammar.RELATIVES | {"that"}:
        told = clause_at(draft, end)[0].end  # "judging a match that bores her"
        if not shows(draft.tokens[end:told], draft.rules) or draft.tokens[end].low == "that":
            end = told
    draft.remove(start, _remainder(draft, found.end, end), found.phrase.category)
    return True


def _remainder(draft: Draft, start: int, end: int) -> int:
    """Where in [start, end) something begins that can be seen and stands by itself, such as "in her 40s"; else end."""
    for place in range(start, end - 1):
        if (
            draft.tokens[place].low in grammar.CONJUNCTIONS | {"/"}
            and draft.tokens[place + 1].low in draft.rules.emotion
        ):
            return place + 1
        if draft.tokens[place].low in {"in", "around", "about", "aged", "having", "wearing"} and shows(
            draft.tokens[place + 1 : min(end, place + 5)], draft.rules
        ):
            return place
    return end


def take_rest(draft: Draft, found: Found) -> bool:
    draft.remove(found.start, end_of_statement(draft, found), found.phrase.category)
    return True


def take_link(draft: Draft, found: Found) -> bool:
    """What "because" begins; of what can be seen only the link goes, as in "since wearing a white shirt"."""
    end = end_of_statement(draft, found)
    behind = draft.tokens[found.end : end]
    feelings = draft.rules.emotion - draft.rules.visible
    if not shows([token for token in behind if token.low not in feelings], draft.rules):
        draft.remove(found.start, end, found.phrase.category)
    elif behind[0].low in grammar.PRONOUNS and _follows_a_statement(draft, found.start):
        draft.replace(found.start, found.end, "and", found.phrase.category)
    elif any(token.low in grammar.PARTICIPLES | grammar.PRONOUNS | grammar.VERBS for token in behind):
        draft.remove(found.start, found.end, found.phrase.category)
    else:
        draft.replace(found.start, found.end, "with", found.phrase.category)
    return True


def _follows_a_statement(draft: Draft, place: int) -> bool:
    before = draft.tokens[place - 1] if place > 0 else None
    return before is not None and before.text not in MARKS and before.low not in draft.rules.persons


def take_aim(draft: Draft, found: Found) -> bool:
    """What somebody wants with it, as in "to hide their nerves"; "to show her teeth" stays."""
    end = end_of_statement(draft, found)
    if shows_more_than_feelings(draft.tokens[found.end : end], draft.rules):
        return False
    draft.remove(found.start, end, found.phrase.category)
    return True


def take_sentence(draft: Draft, found: Found) -> bool:
    start, end = next((start, end) for start, end in sentences(draft.tokens) if start <= found.start < end)
    breaks = [at for at in range(start, end) if draft.tokens[at].low in {";", "-", "but"}]
    start = max((at for at in breaks if at < found.start), default=start)
    end = min((at for at in breaks if at > found.start), default=end)
    for place in range(found.start, start - 1, -1):
        if draft.tokens[place].text == ")":
            break
        if draft.tokens[place].text == "(":  # an aside: the sentence around it stays
            close = next((at for at in range(place, end) if draft.tokens[at].text == ")"), end - 1)
            start, end = place, close + 1
            break
    draft.remove(start, end, found.phrase.category)
    return True
