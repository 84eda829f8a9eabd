"""Bundles: complete, repeatable, refused when damaged."""

import numpy as np
import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256
from t2f.errors import CheckpointError, SpecError
from t2f.generate import Bundle, open_bundle, save_bundle
from t2f.networks import FaceModel
from tests.t2f.helpers import tiny_stages, write_bundle


@pytest.fixture
def bundle(tiny_data, tmp_path) -> Bundle:
    stage = tiny_stages(tiny_data)[2]
    saved = save_bundle(
        tmp_path / "model.safetensors",
        model=FaceModel(stage, len(tiny_data.vocabulary)),
        vocabulary=tiny_data.vocabulary,
        stage=stage,
        max_tokens=tiny_data.max_tokens,
        lineage={"data": "tiny"},
    )
    return open_bundle(saved.path)


def test_same_sentence_and_seed_same_face(bundle):
    sentences = ["long pink hair", "dark skin and round glasses"]
    faces = bundle.draw(sentences, seeds=[0, 1, 7])
    assert faces.shape == (6, 3, 16, 16)
    assert faces.dtype == np.uint8
    again = bundle.draw(sentences, seeds=[0, 1, 7])
    assert np.array_equal(again, faces)
    # In a smaller batch the sums are taken in another order, so a grey level may differ.
    alone = bundle.draw(sentences[1:], seeds=[7])[0]
    assert np.abs(alone.astype(int) - faces[5]).max() <= 1
    assert not np.array_equal(faces[0], faces[1])
    assert not np.array_equal(faces[0], faces[3])


def test_a_model_without_words_draws_from_noise_alone(tiny_data, tmp_path):
    write_bundle(tmp_path / "model.safetensors", tiny_data, {"text.encoder": "none"})
    bundle = open_bundle(tmp_path / "model.safetensors")
    assert not bundle.reads_words
    faces = bundle.draw([""], seeds=[0, 1, 2])
    assert len({face.tobytes() for face in faces}) == 3
    with pytest.raises(SpecError, match="trained without words"):
        bundle.draw(["long pink hair"], seeds=[0])


def test_truncation_zero_is_one_face_for_all_seeds(bundle):
    faces = bundle.draw(["long pink hair"], seeds=[0, 1], truncation=0.0)
    assert np.array_equal(faces[0], faces[1])


def test_unknown_words_are_named_with_the_nearest(bundle):
    assert bundle.unknown_words("long pinkk hair xyzzy") == {"pinkk": "pink", "xyzzy": None}
    assert bundle.lineage == {"data": "tiny"}


@pytest.mark.parametrize(
    ("sentences", "seeds", "truncation"),
    [
        (["  "], [0], 1.0),
        ([""], [0], 1.0),
        (["a"], [], 1.0),
        (["a"], [-1], 1.0),
        (["a"], [0], 1.5),
        (["a"] * 1025, [0], 1),
    ],
)
def test_bad_wishes_are_refused(bundle, sentences, seeds, truncation):
    with pytest.raises(SpecError):
        bundle.draw(sentences, seeds=seeds, truncation=truncation)


def test_damaged_bundles_are_refused(bundle, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors, metadata = load_tensors(path)
    name = next(iter(tensors))
    changed = {**tensors, name: tensors[name] + 1}
    save_tensors(tmp_path / "changed", changed, metadata)
    with pytest.raises(CheckpointError, match="recorded SHA-256"):
        open_bundle(tmp_path / "changed")
    save_tensors(tmp_path / "old", tensors, {**metadata, "bundle_version": 0})
    with pytest.raises(CheckpointError, match="no model bundle of version"):
        open_bundle(tmp_path / "old")
    nan = {**tensors, name: torch.full_like(tensors[name], float("nan"))}
    save_tensors(tmp_path / "nan", nan, {**metadata, "sha256": tensors_sha256(nan)})
    with pytest.raises(CheckpointError, match="not finite"):
        open_bundle(tmp_path / "nan")
    del tensors[name]
    save_tensors(tmp_path / "short", tensors, {**metadata, "sha256": tensors_sha256(tensors)})
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        open_bundle(tmp_path / "short")
