import pytest

from t2f.data.cleaning import load_rules
from t2f.data.cleaning.clauses import clauses, sentences
from t2f.data.cleaning.tokens import tokenised, written

RULES = load_rules()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a man with a beard looks tired", ["a man", "with a beard", "looks tired"]),
        ("she has red hair and wears a hat", ["she has red hair", "and wears a hat"]),
        ("a short and neat beard", ["a short and neat beard"]),
        ("a man who is bald, probably in his 50s", ["a man", "who is bald", "probably in his 50s"]),
        ("he is probably old", ["he is probably old"]),
        ("smiling because he won (again)", ["smiling", "because he won", "again"]),
        ("a round looking chin", ["a round looking chin"]),
        ("a beard and a hat", ["a beard", "and a hat"]),
    ],
)
def test_clauses(text, wanted):
    tokens = tokenised(text)
    found = clauses(tokens, 0, len(tokens), RULES)
    assert [written(tokens[clause.start : clause.end]).strip() for clause in found] == wanted


def test_sentences_are_without_their_full_stops():
    assert sentences(tokenised("a man. bald! old")) == [(0, 2), (3, 4), (5, 6)]
    assert sentences(tokenised("...")) == []
