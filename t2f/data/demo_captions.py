"""Differently worded English descriptions of a combination of attributes, the same ones for the same seed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CAPTIONS_PER_IMAGE = 4
OMIT_SHARE = 0.1  # how often a caption leaves out the glasses, the beard or the mouth
STATE_NONE_SHARE = 0.35  # how often a caption says that there are no glasses or no beard

_SKIN = {
    "pale": ("pale", "fair", "very light"),
    "golden": ("golden", "yellow"),
    "tan": ("tan", "tanned"),
    "olive": ("olive", "olive coloured"),
    "brown": ("brown", "medium brown"),
    "dark": ("dark", "very dark"),
}
_HAIR_COLOUR = {
    "black": ("black", "jet black"),
    "brown": ("brown", "chestnut brown"),
    "ginger": ("ginger", "orange"),
    "blonde": ("blonde", "blond", "light blonde"),
    "grey": ("grey", "gray", "silver grey"),
    "white": ("white", "snow white"),
    "pink": ("pink", "bright pink"),
    "blue": ("blue", "bright blue"),
}
_HAIR_STYLE = {
    "short": ("short {} hair", "{} hair cut short", "short cropped {} hair"),
    "shaggy": ("shaggy {} hair", "messy {} hair", "tousled {} hair"),
    "quiff": ("a {} quiff", "{} hair swept up in a quiff", "shaved sides and a {} quiff"),
    "bun": ("{} hair tied in a bun", "a {} bun", "{} hair in a top knot"),
    "bob": ("a {} bob", "{} hair in a bob", "chin length {} hair"),
    "long": ("long {} hair", "long straight {} hair", "straight {} hair past the shoulders"),
    "afro": ("a big {} afro", "{} hair in an afro", "a round {} afro"),
    "curly": ("wild curly {} hair", "frizzy {} curls", "wild {} curls"),
}
_FACIAL_HAIR = {
    "none": ("no beard", "no facial hair", "a clean shaven face"),
    "short beard": ("a short beard", "a trimmed beard"),
    "full beard": ("a full beard", "a long beard", "a bushy beard"),
    "moustache": ("a moustache", "a mustache", "a thick moustache"),
}
_GLASSES = {
    "none": ("no glasses",),
    "round": ("round glasses", "round blue glasses", "blue round glasses"),
    "square": ("square glasses", "square red glasses", "thick red glasses"),
    "sunglasses": ("sunglasses", "white sunglasses", "dark glasses with white frames"),
}
_MOUTH_DOING = {
    "smile": ("smiling", "laughing"),
    "serious": ("looking serious", "not smiling"),
    "teeth": ("gritting the teeth", "showing clenched teeth"),
    "tongue": ("sticking out the tongue", "showing the tongue"),
}
_MOUTH_THING = {
    "smile": ("a smile", "a big smile"),
    "serious": ("a serious look", "a straight mouth"),
    "teeth": ("clenched teeth", "gritted teeth"),
    "tongue": ("the tongue sticking out", "the tongue out"),
}
_PEOPLE = ("person", "figure", "adult")


@dataclass(frozen=True, kw_only=True)
class _Words:
    """The phrases of one caption; what it leaves out is an empty string."""

    person: str
    skin: str  # "pale skin"
    skin_word: str  # "pale", as in "pale-skinned"
    hair: str
    beard: str
    glasses: str
    doing: str  # the mouth: "smiling"
    thing: str  # the mouth: "a smile"
    shuffled: tuple[str, ...]  # all of it in random order


def describe(attributes: dict[str, str], *, seed: int, number: int) -> list[str]:
    """Four captions of different patterns, all of them with skin, hair colour and hair style."""
    chance = random.Random(f"t2f demo captions {seed} {number}")
    patterns = chance.sample(_PATTERNS, CAPTIONS_PER_IMAGE)
    return [pattern(_choose_words(attributes, chance)) for pattern in patterns]


def _choose_words(attributes: dict[str, str], chance: random.Random) -> _Words:
    def one(phrases: Sequence[str]) -> str:
        return phrases[int(chance.random() * len(phrases))]

    def said(value: str) -> bool:
        return chance.random() < (STATE_NONE_SHARE if value == "none" else 1 - OMIT_SHARE)

    facial_hair, glasses, mouth = attributes["facial_hair"], attributes["glasses"], attributes["mouth"]
    skin_words = _SKIN[attributes["skin"]]
    skin = one(("{} skin", "{} skin", "a {} complexion")).format(one(skin_words))
    hair = one(_HAIR_STYLE[attributes["hair_style"]]).format(one(_HAIR_COLOUR[attributes["hair_colour"]]))
    beard = one(_FACIAL_HAIR[facial_hair]) if said(facial_hair) else ""
    spectacles = one(_GLASSES[glasses]) if said(glasses) else ""
    mouth_said = mouth in _MOUTH_DOING and said(mouth)
    doing = one(_MOUTH_DOING[mouth]) if mouth_said else ""
    phrases = [_articled(skin), _articled(hair), beard, spectacles, doing]
    chance.shuffle(phrases)
    return _Words(
        person=one(_PEOPLE),
        skin=_articled(skin),
        skin_word=skin_words[0],
        hair=_articled(hair),
        beard=beard,
        glasses=spectacles,
        doing=doing,
        thing=one(_MOUTH_THING[mouth]) if mouth_said else "",
        shuffled=tuple(phrase for phrase in phrases if phrase),
    )


def _articled(phrase: str) -> str:
    """The phrase with "an" where its "a" stands before a vowel: "an orange bob"."""
    words = phrase.split(" ")
    for place in range(len(words) - 1):
        if words[place] in ("a", "an"):
            words[place] = "an" if words[place + 1][0] in "aeiou" else "a"
    return " ".join(words)


def _joined(*phrases: str) -> str:
    """ "a, b and c" of the phrases that are not empty."""
    said = [phrase for phrase in phrases if phrase]
    return ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else "".join(said)


def _after(lead: str, phrase: str) -> str:
    return f"{lead}{phrase}" if phrase else ""


def _person_with(w: _Words) -> str:
    return _articled(f"a {w.person} with {_joined(w.hair, w.skin, w.beard, w.glasses)}") + _after(", ", w.doing) + "."


def _skinned(w: _Words) -> str:
    wearing = _after(", wearing ", w.glasses)
    return _articled(f"a {w.skin_word}-skinned {w.person} with {_joined(w.hair, w.beard)}{wearing}") + (
        _after(", ", w.doing) + "."
    )


def _they(w: _Words) -> str:
    more = _joined(_after("wear ", w.glasses), _after("have ", w.beard), _after("are ", w.doing))
    return f"this {w.person} has {_joined(w.skin, w.hair)}." + (f" they {more}." if more else "")


def _list(w: _Words) -> str:
    return ", ".join(w.shuffled)


def _someone(w: _Words) -> str:
    who = f"someone who is {w.doing}, with" if w.doing else "someone with"
    return f"{who} {_joined(w.skin, w.hair)}" + _after("; ", _joined(w.beard, w.glasses)) + "."


def _face(w: _Words) -> str:
    return f"a face with {_joined(w.skin, w.glasses, w.hair, w.beard, w.thing)}."


def _leading(w: _Words) -> str:
    lead = _joined(w.doing, _after("wearing ", w.glasses))
    start = f"{lead}, " if lead else ""
    return f"{start}this {w.skin_word}-skinned {w.person} has {_joined(w.hair, w.beard)}."


def _two_sentences(w: _Words) -> str:
    more = _joined(w.glasses, w.beard, w.thing)
    return f"{w.hair} and {w.skin}." + (f" the {w.person} has {more}." if more else "")


_PATTERNS: tuple[Callable[[_Words], str], ...] = (
    _person_with,
    _skinned,
    _they,
    _list,
    _someone,
    _face,
    _leading,
    _two_sentences,
)
