"""Constraints between parameters: a small grammar with a parser of its own, so that no text is ever evaluated as code.

    condition   = and-part { "or" and-part }
    and-part    = not-part { "and" not-part }
    not-part    = "not" not-part | comparison
    comparison  = sum compare sum { compare sum } | "(" condition ")"
    compare     = "<" | "<=" | ">" | ">=" | "==" | "!="
    sum         = product { ("+" | "-") product }
    product     = factor { ("*" | "/") factor }
    factor      = number | parameter | "-" factor | "(" sum ")"

`a < b < c` means `a < b and b < c`. A division by zero makes the comparison it stands in false.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from t2f.errors import SpecError
from t2f.settings import Value

MAX_LENGTH = 1000
MAX_DEPTH = 50
COMPARES: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_WORDS = ("and", "or", "not")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign><=|>=|==|!=|[<>+\-*/()]))"
)

Known = Mapping[str, Value]
Number = Callable[[Known], float]
Condition = Callable[[Known], bool]
Combine = Callable[[float, float], float]


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """What the parameters of every trial must fulfil."""

    text: str
    names: frozenset[str]  # of the parameters it speaks of
    holds: Condition = field(compare=False)  # given all of them


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, sign, end
    text: str
    column: int  # from 1


def parse_constraint(text: str) -> Constraint:
    """The constraint that a text says; SpecError with the column, what stands there and what may."""
    if len(text) > MAX_LENGTH:
        raise SpecError(f"a constraint of {len(text):,} characters is not allowed; write up to {MAX_LENGTH:,}")
    parser = _Parser(text)
    holds = parser.condition()
    parser.expect_end()
    if not parser.names:
        raise SpecError(f"{text!r} speaks of no parameter, so it holds always or never; name one, or remove it")
    return Constraint(text=text, names=frozenset(parser.names), holds=holds)


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            column = place + len(text[place:]) - len(text[place:].lstrip()) + 1
            given = text[column - 1]
            hint = {"=": "; write == to compare", "&": "; write and", "|": "; write or", "!": "; write not"}.get(given)
            raise SpecError(
                f"{text!r}, column {column}: {given!r} is not allowed{hint or ''}; a constraint compares parameters "
                "and numbers, as in generator.learning_rate <= discriminator.learning_rate * 4"
            )
        kind = match.lastgroup or "end"
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        place = match.end()
    return [*found, _Token("end", "the end", len(text) + 1)]


class _Parser:
    """Recursive descent; each rule of the grammar is a method that returns what evaluates it."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._place, self._depth = text, _tokens(text), 0, 0
        self.names: set[str] = set()

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, *texts: str) -> str | None:
        """The next token, if it is one of these."""
        if self._next.kind in ("sign", "name") and self._next.text in texts:
            self._place += 1
            return self._tokens[self._place - 1].text
        return None

    def _error(self, expected: str) -> SpecError:
        given = self._next.text if self._next.kind == "end" else repr(self._next.text)
        return SpecError(f"{self._text!r}, column {self._next.column}: {expected} is expected, not {given}")

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._error("and, or, or the end")

    def _nested(self, rule: Callable[[], Callable]) -> Callable:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SpecError(f"{self._text!r} is nested deeper than {MAX_DEPTH} levels; write several constraints")
        found = rule()
        self._depth -= 1
        return found

    def condition(self) -> Condition:
        parts = [self._and_part()]
        while self._take("or"):
            parts.append(self._and_part())
        return parts[0] if len(parts) == 1 else lambda known: any(part(known) for part in parts)

    def _and_part(self) -> Condition:
        parts = [self._not_part()]
        while self._take("and"):
            parts.append(self._not_part())
        return parts[0] if len(parts) == 1 else lambda known: all(part(known) for part in parts)

    def _not_part(self) -> Condition:
        if self._take("not"):
            part = self._nested(self._not_part)
            return lambda known: not part(known)
        return self._comparison()

    def _comparison(self) -> Condition:
        # A parenthesis may hold a condition or begin a sum: what follows its end decides.
        if self._next.text == "(" and self._next.kind == "sign" and self._holds_condition():
            self._take("(")
            inside = self._nested(self.condition)
            if not self._take(")"):
                raise self._error("')'")
            return inside
        left, pairs = self.sum(), []
        while sign := self._take(*COMPARES):
            right = self.sum()
            pairs.append((left, COMPARES[sign], right))
            left = right
        if not pairs:
            raise self._error("a comparison (<, <=, >, >=, ==, !=)")
        return lambda known: all(_compare(known, *pair) for pair in pairs)

    def _holds_condition(self) -> bool:
        """Whether the parenthesis that begins here holds a comparison or a word such as and."""
        depth = 0
        for token in self._tokens[self._place :]:
            depth += (token.text == "(") - (token.text == ")") if token.kind == "sign" else 0
            if depth == 0:
                return False
            if (token.kind == "sign" and token.text in COMPARES) or (token.kind == "name" and token.text in _WORDS):
                return True
        return False

    def sum(self) -> Number:
        return self._chain({"+": operator.add, "-": operator.sub}, self._product)

    def _product(self) -> Number:
        return self._chain({"*": operator.mul, "/": operator.truediv}, self._factor)

    def _chain(self, operators: Mapping[str, Combine], part: Callable[[], Number]) -> Number:
        """Parts joined from left to right."""
        first, rest = part(), []
        while sign := self._take(*operators):
            rest.append((operators[sign], part()))
        return _chained(first, tuple(rest)) if rest else first

    def _factor(self) -> Number:
        if self._take("-"):
            inner = self._nested(self._factor)
            return lambda known: -inner(known)
        if self._take("("):
            inner = self._nested(self.sum)
            if not self._take(")"):
                raise self._error("')'")
            return inner
        token = self._next
        if token.kind == "number":
            self._place += 1
            value = float(token.text)
            return lambda known: value
        if token.kind == "name" and token.text not in _WORDS:
            self._place += 1
            self.names.add(token.text)
            return lambda known: float(known[token.text])
        raise self._error("a parameter, a number or '('")


def _chained(first: Number, rest: tuple[tuple[Combine, Number], ...]) -> Number:
    def value(known: Known) -> float:
        found = first(known)
        for combine, part in rest:
            found = combine(found, part(known))
        return found

    return value


def _compare(known: Known, left: Number, compare: Callable[[float, float], bool], right: Number) -> bool:
    try:
        first, second = left(known), right(known)
    except ZeroDivisionError:
        return False
    return math.isfinite(first) and math.isfinite(second) and compare(first, second)
