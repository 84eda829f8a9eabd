"""The word lists of caption cleaning: read strictly from a YAML file, added to by a user's own."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from t2f.errors import SpecError
from t2f.yamlfile import read_yaml

BUILT_IN = Path(__file__).with_name("rules.yaml")
# Raised when the same lists clean otherwise.
CLEANING_VERSION = 1
# In the order of the rules (docs/cleaning.md); those in REMOVED have word lists of their own.
REMOVED = (
    "abuse",
    "name",
    "likeness",
    "crime",
    "occupation",
    "status",
    "biography",
    "personality",
    "situation",
    "cause",
    "origin",
    "attractiveness",
    "photo",
    "first person",
)
CATEGORIES = ("typo", *REMOVED[:-1], "hedge", "first person", "nothing visible")
HOWS = ("word", "noun", "clause", "rest", "link", "aim", "sentence", "hedged")
_LISTS = (
    "light",
    "hyphen_after",
    "hyphen_before",
    "visible",
    "weak",
    "body",
    "says_nothing",
    "emotion",
    "men",
    "women",
    "keep",
)
_LISTS += ("hedges", "comparisons")
_MAPS = ("typos", "hedge_verbs")
_KEYS = (*_LISTS, *_MAPS, "persons", "remove")
_AGE = re.compile(r"[1-9][0-9](?:s|ish|\+)?(?:-(?:[1-9][0-9]s?|something|year|years))?(?:-old)?")
_MIN_MISTYPED = 7  # letters
_ENDINGS = (("ish", ""), ("er", ""), ("er", "e"), ("s", ""), ("es", ""), ("ly", ""))


class Phrase(NamedTuple):
    """Words that say what becomes of a caption where it holds them."""

    words: tuple[str, ...]
    category: str  # of REMOVED, or "keep", "hedge", "hedge verb", "comparison"
    how: str  # of HOWS, or for a hedge verb what takes its place


@dataclass(frozen=True, kw_only=True, eq=False)
class CleaningRules:
    """What cleaning goes by; the same lists have the same sha256."""

    name: str  # of the file that a user added, "built-in" without one
    lists: Mapping[str, Any]
    sha256: str
    phrases: Mapping[tuple[str, ...], Phrase]  # by their words
    lengths: Mapping[str, tuple[int, ...]]  # first word -> how many words its phrases have, the longest first
    visible: frozenset[str]  # the weak ones, too
    weak: frozenset[str]  # what is visible only of something that is: "big", "left"
    body: frozenset[str]
    emotion: frozenset[str]
    persons: Mapping[str, str]  # any word for a person -> "man", "woman" or "person"
    roles: Mapping[str, str]  # a trade that tells the sex -> "man" or "woman"
    _seen: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def typos(self) -> dict[str, str]:
        return self.lists["typos"]

    @cached_property
    def hyphen_after(self) -> frozenset[str]:
        return frozenset(self.lists["hyphen_after"])

    @cached_property
    def hyphen_before(self) -> frozenset[str]:
        return frozenset(self.lists["hyphen_before"])

    @cached_property
    def light(self) -> frozenset[str]:
        return frozenset(self.lists["light"])

    @cached_property
    def says_nothing(self) -> frozenset[str]:
        return frozenset(self.lists["says_nothing"])

    def phrase_at(self, words: Sequence[str], place: int) -> Phrase | None:
        """The longest listed phrase that begins at words[place]."""
        for length in self.lengths.get(words[place], ()):
            phrase = self.phrases.get(tuple(words[place : place + length]))
            if phrase is not None:
                return phrase
        return None

    def shows(self, word: str) -> bool:
        """Whether the word (lower case) is about what can be seen: a trait, a part of a face, an age, clothes."""
        known = self._seen.get(word)
        if known is None:
            known = self._seen[word] = self._shows(word)
        return known

    def _shows(self, word: str) -> bool:
        if word in self.visible or word in self.body or word in self.emotion:
            return True
        if word in self.says_nothing or word in self.persons:
            return False
        if _AGE.fullmatch(word):
            return True
        if "-" in word:
            return any(self.shows(part) for part in word.split("-") if len(part) > 1)
        return self._is_mistyped(word) or any(
            word.endswith(ending) and len(word) - len(ending) > 2 and self._is_listed(word[: -len(ending)] + added)
            for ending, added in _ENDINGS
        )

    @cached_property
    def _near(self) -> frozenset[str]:
        """The long visible words with a letter left out, each way: what mistyped words are known by."""
        return frozenset(short for word in self.visible | self.body for short in _with_one_letter_less(word))

    def _is_mistyped(self, word: str) -> bool:
        # Words that end in -ing are near too many others: "walking", "talking".
        if len(word) < _MIN_MISTYPED or word.endswith("ing") or not word.isalpha() or word + "s" in self.visible:
            return False
        return not self._near.isdisjoint(_with_one_letter_less(word))

    def _is_listed(self, word: str) -> bool:
        listed = word in self.visible or word in self.body
        return listed or (len(word) > 3 and word[-1] == word[-2] and word[:-1] in self.visible)  # redd(ish), bigg(er)


def _with_one_letter_less(word: str) -> list[str]:
    # The first letter is seldom mistyped, and without it "weather" would be near "leather".
    return [word[:at] + word[at + 1 :] for at in range(1, len(word))] if len(word) >= _MIN_MISTYPED - 1 else []


def load_rules(own: Path | None = None) -> CleaningRules:
    """The built-in rules, with the lists of a user's file added to them; SpecError names what is wrong with it."""
    lists, _ = read_yaml(BUILT_IN)
    _check(lists, str(BUILT_IN))
    if own is not None:
        more, _ = read_yaml(own)
        without = more.pop("without", {})
        _check(more, str(own))
        _check(without, f"{own}: without", for_removal=True)
        lists = _without(_added(lists, more), without, f"{own}: without")
    return compiled(lists, name="built-in" if own is None else own.name)


def compiled(lists: Mapping[str, Any], *, name: str) -> CleaningRules:
    """The rules of complete lists, as `CleaningRules.lists` has them."""
    _refuse_circles(lists, name)
    persons = {word: kind for kind, words in lists["persons"].items() for word in words}
    phrases = _by_words(_phrases(lists))
    roles = dict.fromkeys(lists["men"], "man") | dict.fromkeys(lists["women"], "woman")
    plain = json.dumps({"cleaning_version": CLEANING_VERSION, "lists": lists}, sort_keys=True)
    return CleaningRules(
        name=name,
        lists=lists,
        sha256=hashlib.sha256(plain.encode("ascii")).hexdigest(),
        phrases=phrases,
        lengths=_lengths(phrases),
        visible=frozenset(word for word in (*lists["visible"], *lists["weak"]) if " " not in word),
        weak=frozenset(lists["weak"]),
        body=frozenset(lists["body"]) | {_plural(word) for word in lists["body"]},
        emotion=frozenset(lists["emotion"]),
        persons=persons,
        roles=roles,
    )


def _phrases(lists: Mapping[str, Any]) -> Iterable[Phrase]:
    # The order decides between equal phrases: the first stays.
    for words in (*lists["keep"], *(word for word in lists["visible"] if " " in word)):
        yield Phrase(tuple(words.split()), "keep", "")
    for words, becomes in lists["hedge_verbs"].items():
        yield Phrase(tuple(words.split()), "hedge verb", becomes)
    for words in lists["comparisons"]:
        yield Phrase(tuple(words.split()), "comparison", "")
    for words in lists["hedges"]:
        yield Phrase(tuple(words.split()), "hedge", "")
    for category in REMOVED:
        for how, listed in lists["remove"].get(category, {}).items():
            for words in listed:
                yield Phrase(tuple(words.split()), category, how)
                if how == "noun":
                    yield Phrase(tuple(_plural(words).split()), category, how)


def _plural(noun: str) -> str:
    if noun.endswith("man"):
        return noun[:-2] + "en"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


def _by_words(phrases: Iterable[Phrase]) -> dict[tuple[str, ...], Phrase]:
    by_words: dict[tuple[str, ...], Phrase] = {}
    for phrase in phrases:
        by_words.setdefault(phrase.words, phrase)
    return by_words


def _lengths(phrases: Iterable[tuple[str, ...]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for words in phrases:
        found.setdefault(words[0], set()).add(len(words))
    return {first: tuple(sorted(lengths, reverse=True)) for first, lengths in found.items()}


# Reading


def _check(lists: Any, where: str, *, for_removal: bool = False) -> None:
    """for_removal: of `without`, where a mapping of words is a list of those that go."""
    _check_keys(lists, _KEYS, where)
    for key, value in lists.items():
        at = f"{where}: {key}"
        if key == "remove":
            _check_keys(value, REMOVED, at)
            for category, hows in value.items():
                _check_keys(hows, HOWS, f"{at}: {category}")
                for how, words in hows.items():
                    _check_words(words, f"{at}: {category}: {how}")
        elif key == "persons":
            _check_keys(value, ("man", "woman", "person"), at)
            for kind, words in value.items():
                _check_words(words, f"{at}: {kind}")
        elif key in _MAPS and not for_removal:
            _check_map(value, at)
        else:
            _check_words(value, at)
    for category in lists.get("light", ()):
        if category not in REMOVED:
            raise SpecError(f"{where}: light: {category!r} is no category{_hint(category, REMOVED)}")


def _check_keys(value: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise SpecError(f"{where} must hold 'key: value' lines with the keys {', '.join(known)}")
    for key in value:
        if key not in known:
            raise SpecError(f"{where}: the key {key!r} is not known{_hint(key, known)}")


def _hint(given: object, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(given), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(known)}"


def _check_words(words: Any, where: str) -> None:
    if not isinstance(words, list):
        raise SpecError(f"{where} must be a list of words, such as [word, two words]")
    for word in words:
        _check_word(word, where)


def _check_map(words: Any, where: str) -> None:
    if not isinstance(words, dict):
        raise SpecError(f"{where} must hold 'word: what takes its place' lines")
    for word, becomes in words.items():
        _check_word(word, where)
        if becomes != "":
            _check_word(becomes, f"{where}: {word}")


def _check_word(word: Any, where: str) -> None:
    usable = isinstance(word, str) and re.fullmatch(r"[^\W_]+(?:['-][^\W_]+)*(?: [^\W_]+(?:['-][^\W_]+)*)*", word)
    if not usable or word != word.lower():
        raise SpecError(f"{where}: {word!r} must be a word or words in lower case, with single spaces and no marks")


def _refuse_circles(lists: Mapping[str, Any], name: str) -> None:
    """What takes a word's place must stay, else cleaning a cleaned caption would change it again."""
    typos = lists["typos"]
    for wrong, right in typos.items():
        again = [word for word in right.split() if word in typos]
        if again:
            raise SpecError(
                f"{name}: typos: {wrong!r} becomes {right!r}, but {again[0]!r} is a typo too; write its end"
            )
    for phrase, becomes in lists["hedge_verbs"].items():
        held = [other for other in lists["hedge_verbs"] if f" {other} " in f" {becomes} "]
        if held:
            raise SpecError(f"{name}: hedge_verbs: {phrase!r} becomes {becomes!r}, which holds the hedge {held[0]!r}")
    roles = {word for hows in lists["remove"].values() for word in hows.get("noun", ())}
    for word in ("man", "woman", "person"):
        if word in roles or _plural(word) in roles:
            raise SpecError(f"{name}: remove: {word!r} cannot be a noun that goes: it is what the others become")


def _added(lists: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = dict(lists)
    for key, value in more.items():
        if isinstance(value, dict):
            result[key] = _added(result.get(key, {}), value)
        elif isinstance(value, list):
            result[key] = list(dict.fromkeys([*result.get(key, []), *value]))
        else:
            result[key] = value
    return result


def _without(lists: Mapping[str, Any], without: Mapping[str, Any], where: str) -> dict[str, Any]:
    result: dict[str, Any] = dict(lists)
    for key, gone in without.items():
        if isinstance(gone, dict):
            result[key] = _without(result.get(key, {}), gone, f"{where}: {key}")
            continue
        kept = result.get(key, [])
        missing = [word for word in gone if word not in kept]
        if missing:
            raise SpecError(f"{where}: {key}: {missing[0]!r} is not in that list{_hint(missing[0], tuple(kept))}")
        if isinstance(kept, dict):
            result[key] = {word: becomes for word, becomes in kept.items() if word not in gone}
        else:
            result[key] = [word for word in kept if word not in gone]
    return result
