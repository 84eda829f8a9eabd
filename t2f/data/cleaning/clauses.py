"""Where the clauses of a caption begin: a small grammar of the English that people describe faces in."""

from collections.abc import Sequence
from dataclasses import dataclass

from t2f.data.cleaning.rules import CleaningRules
from t2f.data.cleaning.tokens import ENDS, MARKS, Token


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRONOUNS = words(
    """
    he she it they this that these those there he's she's it's they're this's that's there's
    """
)
RELATIVES = frozenset(["who", "which", "whose", "whom", "where", "what", "who's"])
DETERMINERS = words("a an the this that these those his her its their another some any no each every")
CONJUNCTIONS = frozenset(["and", "or", "but", "yet", "nor", "plus", "&"])
SUBORDINATORS = words(
    """
    because since thus therefore hence while when whenever whilst although though if unless whether until after
    before
    """
)
BE = words(
    """
    is are was were be been being isn't aren't wasn't he's she's it's they're who's that's there's
    """
)
# Verbs that a clause begins with, after its subject or without one.
VERBS = BE | words(
    """
    has have had hasn't haven't does do did doesn't don't didn't looks look looked seems seem seemed appears
    appear appeared might may could can can't cannot must should would will won't wears wear wore shows show
    gives give gave keeps keep needs need knows know thinks think wants want tries try gets get got makes make
    stares stands sits holds takes feels feel says goes comes came draws belongs denotes expresses displays
    suggests indicates reveals sports tends carries wishes hides hide brings exposes
    """
)
PARTICIPLES = words(
    """
    wearing having looking showing giving holding posing making trying sporting keeping standing sitting waiting
    feeling thinking listening explaining receiving enjoying expressing exposing displaying revealing seeming
    appearing getting doing going working playing taking running watching paying saying telling hoping featuring
    living smiling laughing frowning staring speaking talking caught
    """
)
PREPOSITIONS = words(
    """
    of in on at to for from by with without about into onto over under like as near next around through during
    between among against towards toward beside besides behind than per off
    """
)
DEGREES = words(
    """
    very quite rather really so too more most extremely somewhat slightly fairly extra overly particularly
    totally completely truly highly super bit little-bit incredibly exceptionally relatively especially just
    such not genuinely always still also even almost nearly kinda soo mildly vaguely deeply well
    """
)
NEGATIONS = words("not never no neither nor hardly isn't doesn't don't aren't")
_UNNAMED = frozenset(["someone", "somebody", "something", "anyone", "anything", "him", "them", "people"])
_SEPARATORS = MARKS - ENDS
# What is only there to carry something else: with nothing behind it, it goes.
SHELLS = PRONOUNS | RELATIVES | DETERMINERS | CONJUNCTIONS | SUBORDINATORS | BE | PREPOSITIONS | DEGREES | NEGATIONS
SHELLS |= words(
    """
    has have had looks look looked looking seems seem appears appear might may could can must should would will
    to having giving showing making does do did as if though one both either such other others it itself him her
    he she his himself herself them way s t then thus therefore hence e g i.e etc ecc whereabouts something
    someone anything somebody posing feels feeling sort type kind most gives or posed poses partly partially
    fully wear kept worn cut held bit part area shape size sized tone hint enough slightly set mid
    """
)


@dataclass(frozen=True)
class Clause:
    """tokens[start:end] of a sentence, its marks not counted."""

    start: int
    end: int


def sentences(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """The places [start, end) of each sentence without its full stop; none that is empty."""
    found, start = [], 0
    for place, token in enumerate(tokens):
        if token.text in ENDS:
            if place > start:
                found.append((start, place))
            start = place + 1
    if start < len(tokens):
        found.append((start, len(tokens)))
    return found


def clauses(tokens: Sequence[Token], start: int, end: int, rules: CleaningRules) -> list[Clause]:
    """The clauses of the sentence tokens[start:end], from left to right; marks between them belong to none."""
    begins = _begins(tokens, start, end, rules)
    found = []
    for place, begin in enumerate(begins):
        stop = begins[place + 1] if place + 1 < len(begins) else end
        while stop > begin and tokens[stop - 1].text in _SEPARATORS:
            stop -= 1
        if stop > begin:
            found.append(Clause(begin, stop))
    return found


def _begins(tokens: Sequence[Token], start: int, end: int, rules: CleaningRules) -> list[int]:
    begins: list[int] = []
    for place in range(start, end):
        if tokens[place].text in _SEPARATORS:
            continue
        if place == start or tokens[place - 1].text in _SEPARATORS or _begins_here(tokens, place, end, begins, rules):
            begins.append(place)
    return begins


def _begins_here(tokens: Sequence[Token], place: int, end: int, begins: list[int], rules: CleaningRules) -> bool:
    word, before = tokens[place].low, tokens[place - 1].low
    after = tokens[place + 1].low if place + 1 < end else ""
    if begins and begins[-1] == place - 1 and before in CONJUNCTIONS | RELATIVES | SUBORDINATORS | PRONOUNS:
        return False  # "and", "who" and "because" begin the clause themselves
    if word in CONJUNCTIONS:
        return place + 1 < end and _may_begin(tokens, place + 1, rules)
    if word == "as":
        return after in PRONOUNS or after in {"his", "her", "their"}
    if word in RELATIVES or word in SUBORDINATORS or word == "with":
        return True
    if word == "that":
        return place + 1 < end and tokens[place + 1].low in VERBS | PRONOUNS
    if word in {"it", "this", "that", "these", "those", "there"} and after not in VERBS:
        return False  # an object or an article
    if word in PRONOUNS:
        return before not in {"like", "if", "though", "than", "that", "of"} | DETERMINERS | PREPOSITIONS
    if word == "looking" and (
        after in rules.persons or after in rules.body | rules.says_nothing or _is_adjective(before, rules)
    ):
        return False  # "a round looking chin"
    if word in {"wear", "look"}:
        return before in rules.persons or before in rules.body  # "formal wear", "a serious look"
    if word in PARTICIPLES and before in _UNNAMED:
        return False
    if word in PARTICIPLES:
        return before not in VERBS | DETERMINERS | DEGREES | NEGATIONS | PREPOSITIONS
    if begins_hedge(tokens, place, rules):
        return before not in DETERMINERS | PREPOSITIONS | VERBS | DEGREES
    if word in VERBS and begins and begins_hedge(tokens, begins[-1], rules) and place - begins[-1] <= 2:
        return False  # "probably has"
    if word in VERBS:
        return before not in VERBS | PRONOUNS | RELATIVES | {"to"} | DEGREES | NEGATIONS | DETERMINERS
    return False


def _is_adjective(word: str, rules: CleaningRules) -> bool:
    return word not in rules.body and (word in rules.visible or word in rules.emotion)


def _may_begin(tokens: Sequence[Token], place: int, rules: CleaningRules) -> bool:
    word = tokens[place].low
    opens = word in {"a", "an", "the", "some", "his", "her"} or (word.endswith("ing") and word not in SHELLS)
    opens |= word in VERBS | PRONOUNS | PARTICIPLES | RELATIVES | SUBORDINATORS | NEGATIONS or word == "with"
    return opens or begins_hedge(tokens, place, rules)


def begins_hedge(tokens: Sequence[Token], place: int, rules: CleaningRules) -> bool:
    """Whether a hedge such as "probably" or "most likely" stands there."""
    for length in rules.lengths.get(tokens[place].low, ()):
        phrase = rules.phrases.get(tuple(token.low for token in tokens[place : place + length]))
        if phrase is not None and phrase.category == "hedge":
            return True
    return False
