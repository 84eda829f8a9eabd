import itertools
import random

from t2f.data.readers.attributes import SENTENCES_PER_IMAGE, sentences
from t2f.data.words import split_words
from tests.t2f.data.layouts import CELEBA_NAMES


def some_attributes(seed):
    chance = random.Random(seed)
    return {name: chance.random() < 0.3 for name in CELEBA_NAMES}


def test_the_same_image_gets_the_same_sentences_and_others_get_others():
    attributes = some_attributes(1)
    assert sentences(attributes, image_id="a") == sentences(dict(attributes), image_id="a")
    assert sentences(attributes, image_id="a") != sentences(attributes, image_id="b")


def test_the_sentences_of_an_image_differ():
    for seed in range(50):
        said = sentences(some_attributes(seed), image_id=str(seed))
        assert len(said) >= SENTENCES_PER_IMAGE - 1


def test_what_is_said_is_true():
    truths = {
        "smiling": "Smiling",
        "blond": "Blond_Hair",
        "bald": "Bald",
        "hat": "Wearing_Hat",
        "glasses": "Eyeglasses",
        "eyeglasses": "Eyeglasses",
        "earrings": "Wearing_Earrings",
        "moustache": "Mustache",
        "lipstick": "Wearing_Lipstick",
        "man": "Male",
        "goatee": "Goatee",
    }
    for seed in range(200):
        attributes = some_attributes(seed)
        for sentence in sentences(attributes, image_id=str(seed)):
            words = split_words(sentence)
            for word, attribute in truths.items():
                assert word not in words or attributes[attribute], (sentence, attribute)
            assert ("woman" in words) <= (not attributes["Male"])
            assert ("young" in words) <= attributes["Young"]
            assert ("older" in words) <= (not attributes["Young"])
            assert "beard" not in words or attributes["Male"]


def test_origin_attractiveness_and_the_photograph_are_never_said():
    silent = dict.fromkeys(("Attractive", "Blurry", "Asian", "White", "Black", "Indian", "Harsh Lighting"), True)
    spoken = {"Male": False, "Young": True}
    for seed in range(50):
        assert sentences(spoken | silent, image_id=str(seed)) == sentences(spoken, image_id=str(seed))


def test_names_of_both_data_sets_mean_the_same():
    ours = {"5_o_Clock_Shadow": True, "Wearing_Hat": True, "Male": True, "No_Beard": False}
    theirs = {"5 o' Clock Shadow": True, "Wearing Hat": True, "Male": True, "No Beard": False}
    assert sentences(ours, image_id="x") == sentences(theirs, image_id="x")


def test_ages_of_lfw():
    def words(**attributes):
        given = {name.replace("_", " "): value for name, value in attributes.items()}
        return {
            word for seed in range(20) for text in sentences(given, image_id=str(seed)) for word in split_words(text)
        }

    assert "boy" in words(Male=True, Child=True)
    assert "baby" in words(Male=True, Baby=True)
    assert "elderly" in words(Male=False, Senior=True)
    assert "person" in words()


def test_articles_fit():
    for seed in range(100):
        for sentence in sentences(some_attributes(seed), image_id=str(seed)):
            words = split_words(sentence)
            for word, following in itertools.pairwise(words):
                assert word != "a" or following[0] not in "aeio", sentence
                assert word != "an" or following[0] in "aeio", sentence
