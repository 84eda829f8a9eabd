"""Labels: what a worker has of its Ray node, and what a sweep wants of the workers that train it.

Keys and values follow Ray's rules, which are those of Kubernetes. Here `wanted` is a sweep's, `had` a worker's.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from t2f.errors import SpecError

Labels = Mapping[str, str]

NO_LABELS: Labels = MappingProxyType({})
MAX_LABELS = 16
MAX_PREFIX = 253  # characters of a key before its last slash
_RAYS_OWN = "ray.io/"
_WORD = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
_DOMAIN = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?")  # between two dots of a prefix
WORD_RULE = "up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
KEY_RULE = f"{WORD_RULE}; a domain and '/' may stand before: example.org/pool"
_SETS_SHOWN = 8


# Reading


def checked_labels(given: Mapping[Any, Any], where: str) -> dict[str, str]:
    """The labels of a mapping, numbers as text; SpecError, which begins with `where`, for what Ray would not take."""
    if len(given) > MAX_LABELS:
        raise SpecError(f"{where}: {len(given)} labels are not allowed; give {MAX_LABELS} at most")
    found: dict[str, str] = {}
    for key, value in given.items():
        name = _as_text(key)
        if name is None or not _is_key(name):
            raise SpecError(f"{where}: the label {key!r:.100} is not allowed; its name must be {KEY_RULE}")
        if name in found:
            raise SpecError(f"{where}: the label {name!r} is given twice; give it once")
        text = _as_text(value)
        if text is None:
            hint = "; put true, yes, no and the like in quotes" if isinstance(value, bool) else ""
            raise SpecError(f"{where}: {name} = {value!r:.100} is not allowed; it must be text or a number{hint}")
        if text and not _WORD.fullmatch(text):
            raise SpecError(f"{where}: {name} = {value!r:.100} is not allowed; it must be {WORD_RULE}, or empty")
        found[name] = text
    return found


def read_label_options(given: Sequence[str]) -> dict[str, str]:
    """The labels of --label KEY=VALUE, given several times."""
    found: dict[str, str] = {}
    for one in given:
        key, equals, value = (part.strip() for part in one.partition("="))
        if not equals:
            raise SpecError(f"--label {one!r} is not allowed; write --label KEY=VALUE, such as --label pool=a100")
        if key in found:
            raise SpecError(f"--label {key} is given twice, as {found[key]!r} and {value!r}; give it once")
        found[key] = value
    return checked_labels(found, "--label")


def _as_text(value: Any) -> str | None:
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) if is_plain else None


def _is_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if slash and not (len(prefix) <= MAX_PREFIX and all(_DOMAIN.fullmatch(part) for part in prefix.split("."))):
        return False
    return _WORD.fullmatch(name) is not None


# Deciding


def serves(had: Labels, wanted: Labels) -> bool:
    """Whether a worker may train for a sweep: it has each label that is wanted, with the same value."""
    return all(had.get(key) == value for key, value in wanted.items())


def unserved(wanted: Labels, workers: Sequence[Labels]) -> str | None:
    """Why none of these workers serves, in a sentence's part; None where one does, or no label is wanted."""
    if not wanted or any(serves(had, wanted) for had in workers):
        return None
    if not workers:
        return f"no worker has {wanted_text(wanted)}, as none runs now"
    # Ray's own labels would hide the others, but where one of them is wanted.
    shown = Counter(
        labels_text({key: value for key, value in had.items() if key in wanted or not key.startswith(_RAYS_OWN)})
        or "no labels"
        for had in workers
    )
    told = [f"{text} ({count})" for text, count in shown.most_common(_SETS_SHOWN)]
    more = f" and {len(shown) - len(told)} others" if len(shown) > len(told) else ""
    return f"no worker has {wanted_text(wanted)}; workers have {', or '.join(told)}{more}"


def labels_text(labels: Labels) -> str:
    """pool=a100, zone=b; empty where there are none."""
    return ", ".join(_pairs(labels))


def wanted_text(labels: Labels) -> str:
    """pool=a100 and zone=b: all of them are needed."""
    return " and ".join(_pairs(labels))


def _pairs(labels: Labels) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(labels.items())]
