"""The card goes with the model and says what it must not be used for."""

import json

import pytest

from t2f.card import card_of, card_text, read_card
from t2f.errors import CheckpointError
from t2f.generate import save_bundle
from t2f.networks import FaceModel
from tests.t2f.helpers import tiny_stages, write_bundle

SCORES = {"score": {"value": 0.5, "low": 0.4, "high": 0.6}, "swd": {"value": 12.25, "low": None, "high": None}}
SCORED_ON = {"split": "validation", "num_images": 500, "judge_sha256": "j" * 64}


def save(path, data, **more):
    stage = tiny_stages(data)[1]
    save_bundle(
        path,
        model=FaceModel(stage, len(data.vocabulary)),
        vocabulary=data.vocabulary,
        stage=stage,
        max_tokens=data.max_tokens,
        lineage={"sweep": "s", "trial": "s/T3", "stage_keys": ["k" * 64]},
        **more,
    )


def test_the_card_of_a_trained_model_says_all(tiny_data, tmp_path):
    save(tmp_path / "m", tiny_data, card=card_of(tiny_data, scores=SCORES, scored_on=SCORED_ON))
    card = read_card(tmp_path / "m")
    json.dumps(card)
    assert card["model"]["resolution"] == 8
    assert card["model"]["words"] == len(tiny_data.vocabulary) - 2
    assert card["data"]["key"] == tiny_data.key
    assert card["data"]["splits"]["train"]["images"] == tiny_data.split("train").size
    assert card["scores"] == SCORES
    text = card_text(card)
    for words in (
        "faces of 8 px",
        "s/T3",
        "tiny (imagefolder)",
        "captions cleaned: off",
        "0.500  (0.400 to 0.600)",
        "500 faces for captions of the validation split",
        "not evidence",
    ):
        assert words in text, words


def test_rules_that_cleaned_the_captions_are_named(tiny_data, tmp_path):
    tiny_data.manifest["cleaning"] = {"mode": "strict", "sha256": "c" * 64}
    try:
        save(tmp_path / "m", tiny_data, card=card_of(tiny_data, scores={}, scored_on={}))
    finally:
        del tiny_data.manifest["cleaning"]
    text = card_text(read_card(tmp_path / "m"))
    assert "captions cleaned: strict, rules cccccccccccc" in text
    assert "not measured" in text


def test_a_model_without_a_record_still_says_what_it_is_not_for(tiny_data, tmp_path):
    save(tmp_path / "m", tiny_data)
    assert "not recorded" in card_text(read_card(tmp_path / "m"))
    assert "not evidence" in card_text(read_card(tmp_path / "m"))


def test_models_without_words_have_cards(bare_data, tmp_path):
    write_bundle(tmp_path / "m", bare_data, {"text.encoder": "none"})
    assert "text encoder   none" in card_text(read_card(tmp_path / "m"))


def test_what_is_no_bundle_has_no_card(tmp_path):
    (tmp_path / "m").write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError):
        read_card(tmp_path / "m")
