"""The grammar of constraints: what it accepts means what a slow reference says, and everything else has an error."""

import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.search.constraints import MAX_LENGTH, parse_constraint
from t2f.errors import SpecError

NAMES = ("generator.learning_rate", "loss.drift", "text.layers")
ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

numbers = st.recursive(
    st.one_of(
        st.tuples(st.just("number"), st.integers(0, 20).map(lambda n: n / 4)),
        st.tuples(st.just("name"), st.sampled_from(NAMES)),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("minus"), inner),
        st.tuples(st.sampled_from(sorted(ARITHMETIC)), inner, inner),
    ),
    max_leaves=6,
)
conditions = st.recursive(
    st.tuples(st.sampled_from(sorted(COMPARE)), numbers, numbers),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(("and", "or")), inner, inner),
    ),
    max_leaves=5,
)


def number_text(tree) -> str:
    """Fully parenthesised, so that the reference needs to know nothing of precedence."""
    if tree[0] in ("number", "name"):
        return str(tree[1])
    if tree[0] == "minus":
        return f"-({number_text(tree[1])})"
    return f"({number_text(tree[1])}) {tree[0]} ({number_text(tree[2])})"


def condition_text(tree) -> str:
    if tree[0] == "not":
        return f"not ({condition_text(tree[1])})"
    if tree[0] in ("and", "or"):
        return f"({condition_text(tree[1])}) {tree[0]} ({condition_text(tree[2])})"
    return f"{number_text(tree[1])}{tree[0]}{number_text(tree[2])}"


def number_value(tree, known) -> float:
    if tree[0] == "number":
        return tree[1]
    if tree[0] == "name":
        return known[tree[1]]
    if tree[0] == "minus":
        return -number_value(tree[1], known)
    return ARITHMETIC[tree[0]](number_value(tree[1], known), number_value(tree[2], known))


def condition_value(tree, known) -> bool:
    if tree[0] == "not":
        return not condition_value(tree[1], known)
    if tree[0] == "and":
        return condition_value(tree[1], known) and condition_value(tree[2], known)
    if tree[0] == "or":
        return condition_value(tree[1], known) or condition_value(tree[2], known)
    try:
        return COMPARE[tree[0]](number_value(tree[1], known), number_value(tree[2], known))
    except ZeroDivisionError:
        return False


def names_of(tree) -> set[str]:
    if tree[0] == "name":
        return {tree[1]}
    return set().union(*(names_of(part) for part in tree[1:] if isinstance(part, tuple)))


@settings(max_examples=300)
@given(conditions, st.tuples(*[st.integers(-8, 8).map(lambda n: n / 2)] * 3))
def test_a_constraint_means_what_it_says(tree, values):
    known = dict(zip(NAMES, values, strict=True))
    text = condition_text(tree)
    if not names_of(tree):
        with pytest.raises(SpecError, match="speaks of no parameter"):
            parse_constraint(text)
        return
    constraint = parse_constraint(text)
    assert constraint.names == names_of(tree)
    assert constraint.holds(known) == condition_value(tree, known)


@given(st.text(alphabet="ab.<>=!+-*/() 1e2andornot", max_size=30))
def test_any_text_is_a_constraint_or_one_error(text):
    try:
        constraint = parse_constraint(text)
    except SpecError:
        return
    assert constraint.holds(dict.fromkeys(constraint.names, 1.0)) in (True, False)


@pytest.mark.parametrize(
    ("text", "known", "holds"),
    [
        ("a <= b * 4", {"a": 4, "b": 1}, True),
        ("a - b - 1 == 1", {"a": 4, "b": 2}, True),
        ("a / b / 2 == 1", {"a": 8, "b": 4}, True),
        ("a + b * 2 == 5", {"a": 1, "b": 2}, True),
        ("-a * 2 < b", {"a": 1, "b": -1}, True),
        ("1 < a < 3", {"a": 3}, False),
        ("1 < a and a < 3 or a == 7", {"a": 7}, True),
        ("not a < 1 and a < 3", {"a": 5}, False),
        ("(a + 1) * 2 > 3", {"a": 1}, True),
        ("((a) > (0))", {"a": 1}, True),
        ("1 / a > 0", {"a": 0}, False),
        ("not 1 / a > 0", {"a": 0}, True),
        ("a*1e308*10 > 1", {"a": 1}, False),
        ("a >= 1e-4", {"a": 1e-4}, True),
    ],
)
def test_precedence_chains_and_what_is_no_number(text, known, holds):
    assert parse_constraint(text).holds(known) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: a parameter, a number or '(' is expected, not the end"),
        ("a", "column 2: a comparison (<, <=, >, >=, ==, !=) is expected, not the end"),
        ("a <", "column 4: a parameter, a number or '(' is expected, not the end"),
        ("a = 1", "column 3: '=' is not allowed; write == to compare"),
        ("a < 1 & b < 1", "column 7: '&' is not allowed; write and"),
        ("a < 1 b", "column 7: and, or, or the end is expected, not 'b'"),
        ("(a < 1", "column 7: ')' is expected, not the end"),
        ("(a + 1 < 2", "column 11: ')' is expected, not the end"),
        ("a < 1)", "column 6: and, or, or the end is expected, not ')'"),
        ("a ** 2 < 1", "column 4: a parameter, a number or '(' is expected, not '*'"),
        ("__import__('os') < 1", 'column 12: "\'" is not allowed'),
        ("a.b() < 1", "column 4: a comparison (<, <=, >, >=, ==, !=) is expected, not '('"),
        ("1 < 2", "speaks of no parameter"),
        ("and < 1", "column 1: a parameter, a number or '(' is expected, not 'and'"),
        ("(" * 60 + "a" + ")" * 60 + " < 1", "nested deeper than 50 levels"),
        ("a < " + "1" * MAX_LENGTH, "characters is not allowed"),
    ],
    ids=lambda text: text[:25],
)
def test_mistakes_are_named_with_their_column(text, message):
    with pytest.raises(SpecError) as caught:
        parse_constraint(text)
    assert message in str(caught.value)


def test_a_long_sum_is_no_deep_one():
    constraint = parse_constraint("+".join(["a"] * 400) + " == 400")
    assert constraint.holds({"a": 1})
