import pytest

from t2f.data.cleaning import load_rules
from t2f.data.cleaning.draft import Draft
from t2f.data.cleaning.tokens import tokenised, written

RULES = load_rules()


@pytest.mark.parametrize(
    ("text", "gone", "wanted"),
    [
        ("a clever and happy man", "clever", "a happy man"),
        ("a clever, round face", "clever", "a round face"),
        ("a clever old man", "clever", "an old man"),
        ("he looks clever and has a beard", "clever", "has a beard"),
        ("he is clever", "clever", ""),
        ("a beard (clever), bald", "clever", "a beard, bald"),
        ("bald and clever.", "clever", "bald"),
        ("bald. clever. old", "clever", "bald. old"),
        ("smiling slightly, clever", "clever", "smiling slightly"),
        ("a tall, clever man", "clever", "a tall man"),
        ("clever/bald", "clever", "bald"),
        ("bald or clever or old", "clever", "bald or old"),
    ],
)
def test_what_lost_its_hold_goes_too(text, gone, wanted):
    draft = Draft(tokens=tokenised(text), rules=RULES)
    place = next(place for place, token in enumerate(draft.tokens) if token.low == gone)
    draft.remove(place, place + 1, "personality")
    draft.tidy()
    assert written(draft.tokens) == wanted
    assert {removal.category for removal in draft.removals} == {"personality"}


def test_nothing_is_tidied_where_nothing_went():
    text = "something to look up to and"
    draft = Draft(tokens=tokenised(text), rules=RULES)
    draft.tidy()
    assert written(draft.tokens) == text
