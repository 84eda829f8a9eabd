import pytest

from t2f.data.cleaning import clean, load_rules
from t2f.errors import SpecError


def own(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_rules(path)


def test_the_same_lists_have_the_same_hash(tmp_path):
    built_in = load_rules()
    assert built_in.sha256 == load_rules().sha256
    more = own(tmp_path, "visible: [elfin]\n")
    assert (more.name, built_in.name) == ("mine.yaml", "built-in")
    assert more.sha256 != built_in.sha256


def test_own_words_are_added(tmp_path):
    rules = own(tmp_path, "remove: {occupation: {noun: [barista]}, personality: {word: [zany]}}\nvisible: [elfin]\n")
    assert clean("a zany barista with elfin ears", "strict", rules).text == "a person with elfin ears"
    assert clean("some elfin one there", "strict", load_rules()).text is None
    assert clean("bald baristas with elfin ears", "strict", rules).text == "bald people with elfin ears"


def test_words_are_taken_away(tmp_path):
    caption = "a charming old woman"
    assert clean(caption, "strict", load_rules()).text == "an old woman"
    rules = own(
        tmp_path,
        "without: {remove: {attractiveness: {word: [charming]}, personality: {word: [charming]}}, typos: [wiht]}\n",
    )
    assert clean(caption, "strict", rules).text == caption
    assert "wiht" not in rules.typos


def test_the_modes_are_data_too(tmp_path):
    rules = own(tmp_path, "light: [occupation]\n")
    assert clean("a nurse with grey hair", "light", rules).text == "a person with grey hair"


def test_words_near_to_visible_ones_count_as_mistyped():
    rules = load_rules()
    assert rules.shows("glassses")
    assert rules.shows("moustahce")
    for other in ("weather", "walking", "country", "interesting"):
        assert not rules.shows(other), other


@pytest.mark.parametrize(
    "word", ["reddish", "bigger", "rounder", "beards", "blue-eyed", "50ish", "30-40", "40s", "tightly"]
)
def test_forms_of_visible_words_are_known(word):
    assert load_rules().shows(word)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("visibel: [x]", "the key 'visibel' is not known; did you mean 'visible'"),
        ("remove: {ocupation: {noun: [x]}}", "remove: the key 'ocupation' is not known; did you mean 'occupation'"),
        ("remove: {occupation: {nouns: [x]}}", "occupation: the key 'nouns' is not known; did you mean 'noun'"),
        ("remove: {occupation: [x]}", "occupation must hold 'key: value' lines"),
        ("visible: elfin", "visible must be a list of words"),
        ("visible: [Elfin]", "'Elfin' must be a word or words in lower case"),
        ("visible: [3]", "3 must be a word or words"),
        ("visible: ['a, b']", "must be a word or words in lower case, with single spaces and no marks"),
        ("light: [looks]", "light: 'looks' is no category"),
        ("typos: {teh: the, the: teh}", "is a typo too"),
        ("hedge_verbs: {deems: seems}", "holds the hedge 'seems'"),
        ("remove: {status: {noun: [woman]}}", "'woman' cannot be a noun that goes"),
        ("without: {visible: [unlisted]}", "without: visible: 'unlisted' is not in that list"),
        ("without: {remove: {crime: {noun: [theif]}}}", "'theif' is not in that list; did you mean 'thief'"),
        ("visible: [a]\nvisible: [b]", "given twice"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, said):
    with pytest.raises(SpecError, match=r"mine\.yaml") as caught:
        own(tmp_path, text)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match="none.yaml cannot be read"):
        load_rules(tmp_path / "none.yaml")
