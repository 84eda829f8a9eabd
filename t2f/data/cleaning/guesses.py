"""Comparisons and hedges (rules 3 and 9): before what can be seen they alone go, else what they introduce goes too."""

from collections.abc import Sequence

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.finding import Found, after_what_shows, clause_at, end_of_statement, find, sexes, shows
from t2f.data.cleaning.tokens import Token


def judge_comparisons(draft: Draft) -> bool:
    for found in reversed(find(draft.tokens, draft.rules)):
        if found.phrase.category != "comparison":
            continue
        clause, _ = clause_at(draft, found.start)
        end = end_of_statement(draft, found)
        behind = draft.tokens[found.end : end]
        begins = behind[0].low if behind else ""
        if found.phrase.words[0] == "look" and found.start > 0 and _is_adjective(draft, found.start - 1):
            found = found._replace(start=found.start + 1, phrase=found.phrase._replace(words=found.phrase.words[1:]))
        # "parted as if he spoke", "tense like he has run"
        opens = found.phrase.words[0]
        is_aside = opens == "like" or (opens in {"as", "almost"} and begins in grammar.PRONOUNS)
        if is_aside or (not shows(behind, draft.rules) and not sexes(behind, draft.rules)):
            start = found.start if is_aside else after_what_shows(draft, clause, found.start)
            draft.remove(start, end, "likeness")
            return True
    return False


def _is_adjective(draft: Draft, place: int) -> bool:
    word = draft.tokens[place].low
    return word in draft.rules.emotion or word in grammar.DETERMINERS


def judge_hedges(draft: Draft) -> bool:
    for found in reversed(find(draft.tokens, draft.rules)):
        if found.phrase.category not in {"hedge", "hedge verb", "comparison"}:
            continue
        clause, (start, _) = clause_at(draft, found.start)
        end = end_of_statement(draft, found)
        behind = draft.tokens[found.end : end]
        before = draft.tokens[clause.start : found.start]
        if not shows(behind, draft.rules) and not shows(before, draft.rules) and not sexes(behind, draft.rules):
            draft.remove(after_what_shows(draft, clause, found.start), end, "hedge")
        else:
            _take_hedge_alone(draft, found, start)
        return True
    return False


def _take_hedge_alone(draft: Draft, found: Found, sentence: int) -> None:
    tokens = draft.tokens
    start, end = found.start, found.end
    subject = any(
        token.low in grammar.PRONOUNS | grammar.DETERMINERS | grammar.RELATIVES or token.low in draft.rules.persons
        for token in tokens[sentence:start]
    )
    becomes = found.phrase.how
    if found.phrase.category == "comparison":
        # "he looks like he is in his 50s": the sentence begins behind the comparison.
        follows = end < len(tokens) and tokens[end].low in grammar.PRONOUNS
        if follows and subject and "'" not in tokens[end].low and found.phrase.words[0] != "it":
            end += 1
        becomes = "is" if not follows and subject and tokens[start].low in {"looks", "seems"} else ""
    elif becomes in {"is", "are"} and not subject:
        becomes = ""
    elif not becomes and _is_between_ages(tokens, start, end):
        becomes = "or"
    if becomes:
        draft.replace(start, end, becomes, "hedge")
    else:
        draft.remove(start, end, "hedge")


def _is_between_ages(tokens: Sequence[Token], start: int, end: int) -> bool:
    """As in "late thirties maybe early forties"."""
    if start == 0 or end >= len(tokens):
        return False
    before, after = tokens[start - 1].low, tokens[end].low
    return before.endswith(("ies", "0s")) and (after in {"early", "mid", "late"} or after.endswith(("ies", "0s")))
