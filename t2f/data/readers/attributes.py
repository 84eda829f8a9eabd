"""True and false attributes of a face, CelebA's 40 or LFW's 73, as varied English sentences: the same ones every time.

Only what a picture shows is said. Left out are origin (Asian, White, Black, Indian), attractiveness, and what is about
the photograph (Blurry, Harsh Lighting, Flash, Posed Photo and such).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

SENTENCES_PER_IMAGE = 5
_OMIT_SHARE = 0.1  # how often a sentence leaves out the hair, the glasses, the beard ...
_SAY_SHAVEN_SHARE = 0.3  # how often a sentence says that a man has no beard
_MAX_DETAILS = 3  # noses, brows, cheeks ... that one sentence names

_AGES = {"senior": "elderly", "middle aged": "middle-aged", "youth": "young", "young": "young"}
_HAIR_COLOURS = {"black hair": "black", "blond hair": "blond", "brown hair": "brown", "gray hair": "grey"}
_HAIR_KINDS = {"curly hair": "curly", "wavy hair": "wavy", "straight hair": "straight"}
_FACIAL_HAIR = {
    "goatee": ("a goatee",),
    "mustache": ("a moustache", "a mustache"),
    "5 o clock shadow": ("a five o'clock shadow", "stubble"),
    "sideburns": ("sideburns",),
}
_WORN = {
    "eyeglasses": ("glasses", "eyeglasses"),
    "sunglasses": ("sunglasses", "dark glasses"),
    "wearing hat": ("a hat",),
    "wearing earrings": ("earrings",),
    "wearing necklace": ("a necklace",),
    "wearing necktie": ("a tie", "a necktie"),
    "wearing lipstick": ("lipstick",),
    "heavy makeup": ("heavy makeup", "a lot of makeup"),
}
_DOING = {"smiling": ("smiling",), "frowning": ("frowning",)}
_DETAILS = {
    "arched eyebrows": ("arched eyebrows",),
    "bushy eyebrows": ("bushy eyebrows", "thick eyebrows"),
    "narrow eyes": ("narrow eyes",),
    "brown eyes": ("brown eyes",),
    "bags under eyes": ("bags under the eyes",),
    "big nose": ("a big nose", "a large nose"),
    "pointy nose": ("a pointed nose",),
    "big lips": ("full lips", "big lips"),
    "mouth slightly open": ("a slightly open mouth", "slightly parted lips"),
    "mouth wide open": ("a wide open mouth",),
    "high cheekbones": ("high cheekbones",),
    "rosy cheeks": ("rosy cheeks",),
    "flushed face": ("a flushed face",),
    "double chin": ("a double chin",),
    "chubby": ("a chubby face", "a plump face"),
    "oval face": ("an oval face",),
    "round face": ("a round face",),
    "square face": ("a square face",),
    "round jaw": ("a round jaw",),
    "pale skin": ("pale skin", "a pale complexion"),
    "shiny skin": ("shiny skin",),
    "strong nose-mouth lines": ("strong lines around the mouth",),
    "receding hairline": ("a receding hairline",),
    "bangs": ("bangs", "a fringe"),
}


def sentences(attributes: Mapping[str, bool], *, image_id: str) -> tuple[str, ...]:
    """Five sentences of different patterns; image_id chooses patterns and words.

    attributes: by the data sets' own names, such as "No_Beard" or "Wearing Hat"; names that are not known say nothing.
    """
    plain = {_plain(name): value for name, value in attributes.items()}
    chance = random.Random(f"t2f attribute sentences {image_id}")
    patterns = chance.sample(_PATTERNS, SENTENCES_PER_IMAGE)
    return tuple(dict.fromkeys(pattern(_choose(plain, chance)) for pattern in patterns))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("'", "").split())


@dataclass(frozen=True, kw_only=True)
class _Words:
    """The phrases of one sentence; what it leaves out is empty."""

    person: str  # with its article: "a young woman"
    she: str
    hair: str
    beard: str
    details: tuple[str, ...]
    worn: tuple[str, ...]
    doing: tuple[str, ...]


def _choose(attributes: Mapping[str, bool], chance: random.Random) -> _Words:
    def one(phrases: Sequence[str]) -> str:
        return phrases[int(chance.random() * len(phrases))]

    def said() -> bool:
        return chance.random() >= _OMIT_SHARE

    def some(phrases: Mapping[str, Sequence[str]]) -> list[str]:
        return [one(words) for name, words in phrases.items() if attributes.get(name) and said()]

    details = some(_DETAILS)
    chance.shuffle(details)
    hair = _hair(attributes) if said() else ""
    worn, doing = some(_WORN), some(_DOING)
    beard = _beard(attributes, one, chance) if attributes.get("male") and said() else ""
    return _Words(
        person=_articled(_person(attributes)),
        she="he" if attributes.get("male") else "she" if "male" in attributes else "this person",
        hair=hair,
        beard=beard,
        details=tuple(details[:_MAX_DETAILS]),
        worn=tuple(worn),
        doing=tuple(doing),
    )


def _person(attributes: Mapping[str, bool]) -> str:
    if attributes.get("baby"):
        return "baby"
    grown = "person"
    if "male" in attributes:
        grown = "man" if attributes["male"] else "woman"
    if attributes.get("child"):
        return {"man": "boy", "woman": "girl"}.get(grown, "child")
    age = next((word for name, word in _AGES.items() if attributes.get(name)), "")
    if not age and attributes.get("young") is False:
        age = "older"  # CelebA only tells young from not young
    return f"{age} {grown}".strip()


def _hair(attributes: Mapping[str, bool]) -> str:
    if attributes.get("bald"):
        return "a bald head"
    kind = next((word for name, word in _HAIR_KINDS.items() if attributes.get(name)), "")
    colour = next((word for name, word in _HAIR_COLOURS.items() if attributes.get(name)), "")
    return " ".join(word for word in (kind, colour, "hair") if word) if kind or colour else ""


def _beard(attributes: Mapping[str, bool], one: Callable[[Sequence[str]], str], chance: random.Random) -> str:
    found = [one(words) for name, words in _FACIAL_HAIR.items() if attributes.get(name)]
    if not found and attributes.get("no beard") is False:
        found = ["a beard"]
    if not found and attributes.get("no beard") and chance.random() < _SAY_SHAVEN_SHARE:
        found = ["no beard"]
    return _joined(found)


def _articled(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _joined(phrases: Sequence[str]) -> str:
    """ "a, b and c" of the phrases that are not empty."""
    said = [phrase for phrase in phrases if phrase]
    return ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else "".join(said)


def _after(lead: str, phrase: str) -> str:
    return f"{lead}{phrase}" if phrase else ""


def _has(w: _Words) -> str:
    return _joined((w.hair, w.beard, *w.details))


def _person_with(w: _Words) -> str:
    wears = _after(", wearing ", _joined(w.worn))
    return f"{w.person}{_after(' with ', _has(w))}{wears}{_after(', ', _joined(w.doing))}."


def _this_person(w: _Words) -> str:
    has, wears = _after("has ", _has(w)), _after("wears ", _joined(w.worn))
    said = _joined((has, wears, _after("is ", _joined(w.doing))))
    return f"this {w.person.split(' ', 1)[1]} {said}." if said else f"this is {w.person}."


def _two_sentences(w: _Words) -> str:
    more = _joined((_after("has ", _joined((w.beard, *w.details))), _after("is ", _joined(w.doing))))
    first = f"{w.person}{_after(' with ', _joined((w.hair, *w.worn)))}."
    return first + _after(f" {w.she} ", more) + ("." if more else "")


def _doing_first(w: _Words) -> str:
    lead = _joined(w.doing)
    lead = f"{lead}, " if lead else ""
    return f"{lead}{w.person}{_after(' with ', _joined((w.hair, *w.details, w.beard, *w.worn)))}."


def _list(w: _Words) -> str:
    who = w.person.split(" ", 1)[1]
    return ", ".join(phrase for phrase in (who, w.hair, *w.worn, w.beard, *w.details, *w.doing) if phrase)


def _face(w: _Words) -> str:
    return f"the face of {w.person}{_after(' with ', _joined((*w.details, w.beard, w.hair)))}" + (
        f"{_after('; ' + w.she + ' wears ', _joined(w.worn))}{_after(', ', _joined(w.doing))}."
    )


def _hair_first(w: _Words) -> str:
    if not w.hair:
        return _person_with(w)
    rest = _joined((w.beard, *w.details, *w.worn))
    return f"{w.hair}{_after(', ', rest)}: {w.person}{_after(', ', _joined(w.doing))}."


_PATTERNS: tuple[Callable[[_Words], str], ...] = (
    _person_with,
    _this_person,
    _two_sentences,
    _doing_first,
    _list,
    _face,
    _hair_first,
)
