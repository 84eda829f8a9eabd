"""What a caption says, place by place: listed phrases, the clause around a word, whether any of it can be seen."""

from collections.abc import Container, Sequence
from typing import NamedTuple

from t2f.data.cleaning import clauses as grammar
from t2f.data.cleaning.clauses import Clause, clauses, sentences
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.rules import CleaningRules, Phrase
from t2f.data.cleaning.tokens import MARKS, Token

# Nouns that only hold an adjective: "a [clever] look".
AIRS = grammar.words("look expression air manner vibe appearance impression kind type nature style")
# Before a word that goes they are part of it: "high integrity".
_MEASURES = grammar.words(
    """
    high low strong big huge massive great good small large long certain full little short hard close formal
    special
    """
)


class Found(NamedTuple):
    start: int
    end: int
    phrase: Phrase


def find(tokens: Sequence[Token], rules: CleaningRules) -> list[Found]:
    """The listed phrases in the tokens, from left to right, of two that begin together the longer."""
    words = [token.low for token in tokens]
    found, place = [], 0
    while place < len(words):
        phrase = rules.phrase_at(words, place) or _inside(words[place], rules)
        if phrase is None:
            place += 1
            continue
        end = min(len(words), place + len(phrase.words))
        found.append(Found(place, end, phrase))
        place = end
    return found


def _inside(word: str, rules: CleaningRules) -> Phrase | None:
    """The listed word in one like "clever-looking" or "soldier's"."""
    if word.endswith("-looking"):
        phrase = rules.phrases.get((word.removesuffix("-looking"),))
        return phrase._replace(how="word") if phrase is not None and phrase.how in {"word", "noun", "hedged"} else None
    if word.endswith("'s"):
        phrase = rules.phrases.get((word.removesuffix("'s"),))
        return phrase if phrase is not None and phrase.how in {"word", "noun"} else None
    return None


def clause_at(draft: Draft, place: int) -> tuple[Clause, tuple[int, int]]:
    """The clause that holds the place, and the sentence."""
    for start, end in sentences(draft.tokens):
        if start <= place < end:
            for clause in clauses(draft.tokens, start, end, draft.rules):
                if clause.start <= place < clause.end:
                    return clause, (start, end)
    return Clause(place, place + 1), (place, place + 1)  # a mark


def end_of_statement(draft: Draft, found: Found) -> int:
    """Where what the phrase says ends: with its clause, or with the next where that is "he is" or "is" behind it."""
    clause, (_, sentence_end) = clause_at(draft, found.end - 1)
    if clause.end == sentence_end:
        return clause.end
    told = clause_at(draft, clause.end)[0].end
    opens = draft.tokens[clause.end].low
    if opens in grammar.PRONOUNS | grammar.VERBS:
        return told
    is_told = opens in grammar.RELATIVES and not shows(draft.tokens[clause.end : told], draft.rules)
    return told if is_told else clause.end


def shows(tokens: Sequence[Token], rules: CleaningRules) -> bool:
    shown = [token.low for token in tokens if rules.shows(token.low)]
    if any(word not in rules.weak for word in shown):
        return True
    if shown and all(token.low in rules.weak or _says_nothing(token, rules) for token in tokens):
        return True
    return any(found.phrase.category == "keep" for found in find(tokens, rules))


def _says_nothing(token: Token, rules: CleaningRules) -> bool:
    return token.low in grammar.SHELLS | rules.says_nothing or token.low in rules.persons or not token.text[0].isalpha()


def shows_more_than_feelings(tokens: Sequence[Token], rules: CleaningRules) -> bool:
    said = {token.low for token in tokens if rules.shows(token.low)}
    return bool(said - (rules.emotion - rules.visible) - rules.weak)


def sexes(tokens: Sequence[Token], rules: CleaningRules) -> bool:
    return any(rules.persons.get(token.low, "person") != "person" for token in tokens)


def only_names_parts(words: Sequence[Token], rules: CleaningRules, *, also: Container[str] = ()) -> bool:
    """As in "the eyes": with what was said of them gone, nothing is said."""
    empty = rules.body | rules.says_nothing | grammar.SHELLS | MARKS
    return all((word.low in empty or word.low in also) and word.low not in {"no", "without"} for word in words)


def is_part(token: Token, rules: CleaningRules) -> bool:
    return token.low in rules.body and not token.low.endswith("ed")  # "brown haired" is said of what follows


def after_what_shows(draft: Draft, clause: Clause, place: int) -> int:
    """Where to cut a clause that goes from `place` on: behind the last word before it that can be seen."""
    place = _begin_with_adjectives(draft, clause, place)
    for at in range(place - 1, clause.start - 1, -1):
        word = draft.tokens[at].low
        ends = word in draft.rules.says_nothing or draft.rules.persons.get(word, "person") != "person"
        if ends or draft.rules.shows(word):
            return at + 1
    return clause.start


def _begin_with_adjectives(draft: Draft, clause: Clause, place: int) -> int:
    """Where the words before a place begin that belong to it: "in a formal [event]", "high [integrity]"."""
    tokens, rules = draft.tokens, draft.rules
    begin = place
    while begin > clause.start and tokens[begin - 1].low in _MEASURES:
        begin -= 1
    if place < len(tokens) and tokens[place].low.endswith("ing"):
        return begin
    at = begin
    while at > clause.start and tokens[at - 1].low in rules.emotion | _MEASURES:
        at -= 1
    return at - 1 if at > clause.start and at < place and tokens[at - 1].low in {"a", "an", "the", "some"} else begin
