import pytest

from t2f.data.cleaning.tokens import mended, tokenised, written

HYPHENS = {"hyphen_after": frozenset(["middle"]), "hyphen_before": frozenset(["haired"])}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a  man ,old .", "a man, old."),
        ("in his 3 0 ' s", "in his 30s"),
        ("5 0 ies or 6 0 's", "50s or 60s"),
        ("2 5 years, 1 9 7 6", "25 years, 1976"),
        ("3 0 - 4 0 , 5 0 ish, 6 0 +", "30-40, 50ish, 60+"),
        ("she ' s tall, isn ' t she", "she's tall, isn't she"),
        ("red - haired, middle - aged man - late forties", "red-haired, middle-aged man - late forties"),
        ("salt - and - pepper hair", "salt-and-pepper hair"),
        ("brown / grey ( or so )", "brown/grey (or so)"),
        ("well . . . ! yes , , no", "well. yes, no"),
        ("a ' nice ' \"hat\"", "a nice hat"),
        ("his “hat” isn’t new — or is it", "his hat isn't new - or is it"),
        ("features ( i . e . nose )", "features (such as nose)"),
        (". , a man", "a man"),
        ("", ""),
    ],
)
def test_mending(text, wanted):
    assert mended(text, **HYPHENS) == wanted
    assert mended(wanted, **HYPHENS) == wanted


def test_tokens_know_their_place_and_are_written_back():
    text = "red-haired man (30s), isn't he? 3.5"
    tokens = tokenised(text)
    assert [token.text for token in tokens] == [
        "red-haired",
        "man",
        "(",
        "30s",
        ")",
        ",",
        "isn't",
        "he",
        "?",
        "3.5",
    ]
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert written(tokens) == text
