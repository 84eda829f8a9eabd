"""Bundles: complete, repeatable, refused when damaged."""

import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256
from t2f.data import Vocabulary
from t2f.description import FIELDS, described
from t2f.errors import CheckpointError, SpecError
from t2f.generate import Bundle, open_bundle, save_bundle
from t2f.networks import FaceModel
from tests.t2f.helpers import tiny_stages, write_bundle


@pytest.fixture
def bundle(tiny_data, tmp_path) -> Bundle:
    write_bundle(tmp_path / "model.safetensors", tiny_data)
    return open_bundle(tmp_path / "model.safetensors")


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
        (["a"], [0], float("nan")),
        (["a"] * 1025, [0], 1),
        (["\N{GRINNING FACE}"], [0], 1),
        (["\u0301\u0302"], [0], 1),
        (["a\0b"], [0], 1),
        (["a\ud800"], [0], 1),
        (["\u202e...\u202c"], [0], 1),
        (["a" * 10_001], [0], 1),
    ],
    ids=ascii,
)
def test_bad_wishes_are_refused(bundle, sentences, seeds, truncation):
    with pytest.raises(SpecError):
        bundle.draw(sentences, seeds=seeds, truncation=truncation)


@pytest.mark.parametrize(
    "sentence",
    [
        "xyzzy plugh",
        "long pink hair \N{GRINNING FACE}",
        "long\n pink\t hair",
        "שיער ארוך ورد",
        "cafe\u0301 hair o\u0301\u0302\u0303\u0304\u0305",
        "hair " * 2000,
        "h" * 10_000,
        "\u202ehair",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_whatever_else_is_typed_gives_a_face(bundle, sentence):
    assert bundle.draw([sentence], seeds=[0]).shape == (1, 3, 16, 16)
    assert all(isinstance(word, str) for word in bundle.unknown_words(sentence))


def test_words_beyond_what_is_read_are_counted(bundle):
    assert bundle.words_left_out("hair " * 130) == 130 - bundle.max_tokens
    assert bundle.words_left_out("hair") == 0
    assert len(bundle.unknown_words(" ".join(f"xx{number}" for number in range(90)))) == 20


def test_more_pixels_than_memory_is_for_are_refused(bundle):
    large = replace(bundle, stage=replace(bundle.stage, resolution=1024))
    with pytest.raises(SpecError, match="at most 128 can be drawn"):
        large.draw_latents(torch.zeros(129, 12))


# Bad files


def written(path, tensors, metadata, **changes):
    """A bundle whose description is whole again after the changes, as somebody who means harm would write it."""
    fields = {name: metadata[name] for name in FIELDS} | {"sha256": tensors_sha256(tensors)} | changes
    save_tensors(path, tensors, described(fields))
    return path


@pytest.fixture
def parts(bundle, tmp_path):
    return load_tensors(tmp_path / "model.safetensors")


def test_damaged_bundles_are_refused(parts, tmp_path):
    tensors, metadata = parts
    name = next(iter(tensors))
    save_tensors(tmp_path / "changed", {**tensors, name: tensors[name] + 1}, metadata)
    with pytest.raises(CheckpointError, match="recorded SHA-256"):
        open_bundle(tmp_path / "changed")
    for version in (0, 1, 3, None, "2"):
        save_tensors(tmp_path / "old", tensors, {**metadata, "bundle_version": version})
        with pytest.raises(CheckpointError, match="no model bundle of version"):
            open_bundle(tmp_path / "old")
    save_tensors(tmp_path / "words", tensors, {**metadata, "vocabulary": metadata["vocabulary"][::-1]})
    with pytest.raises(CheckpointError, match="its description does not have the recorded SHA-256"):
        open_bundle(tmp_path / "words")
    nan = {**tensors, name: torch.full_like(tensors[name], float("nan"))}
    with pytest.raises(CheckpointError, match="not finite"):
        open_bundle(written(tmp_path / "nan", nan, metadata))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.popitem(),
        lambda tensors: tensors.update({"generator.first.weight": torch.zeros(3, 3)}),
        lambda tensors: tensors.update({"generator.to_rgb.16.bias": torch.zeros(4)}),
        lambda tensors: tensors.update({"encoder.words.weight": tensors["encoder.words.weight"].double()}),
        lambda tensors: tensors.update({"one.more": torch.zeros(1)}),
    ],
)
def test_weights_of_other_shapes_are_refused(parts, tmp_path, change):
    tensors, metadata = parts
    change(tensors)
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        open_bundle(written(tmp_path / "other", tensors, metadata))


@pytest.mark.parametrize(
    "change",
    [
        lambda stage: stage.pop("settings"),
        lambda stage: stage.update(resolution=17),
        lambda stage: stage["settings"].update({"network.latent": 1e9}),
        lambda stage: stage["settings"].update({"text.hidden": 4096, "text.layers": 8}),
        lambda stage: stage.update(settings=[]),
    ],
)
def test_descriptions_that_ask_for_another_model_are_refused(parts, tmp_path, change):
    tensors, metadata = parts
    change(metadata["stage"])
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        open_bundle(written(tmp_path / "other", tensors, metadata))


def test_descriptions_that_lack_something_are_refused(parts, tmp_path):
    tensors, metadata = parts
    for field, value in (("stage", []), ("vocabulary", {}), ("max_tokens", None), ("card", 1)):
        with pytest.raises(CheckpointError, match=f"lacks '{field}'"):
            open_bundle(written(tmp_path / "other", tensors, metadata, **{field: value}))
    with pytest.raises(CheckpointError, match="vocabulary"):
        open_bundle(written(tmp_path / "other", tensors, metadata, vocabulary=["a", "a"]))


def test_no_cut_and_no_flipped_bit_goes_unnoticed(bundle, tmp_path):
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    random = np.random.default_rng(0)
    damaged = tmp_path / "damaged"
    for place in [0, 3, 9, header - 1, header, len(whole) - 1, *random.integers(0, len(whole), 60)]:
        for content in (
            whole[:place],
            bytes([*whole[:place], whole[place] ^ (1 << random.integers(8))]) + whole[place + 1 :],
        ):
            damaged.write_bytes(content)
            try:
                found = open_bundle(damaged)
            except CheckpointError:
                continue
            # A flipped bit in what says nothing (a space of the header's padding) may leave the model as it was.
            assert found.sha256 == bundle.sha256
            assert found.vocabulary == bundle.vocabulary
            assert np.array_equal(found.draw(["hair"], seeds=[0]), bundle.draw(["hair"], seeds=[0]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps({"weights": [1.0]}),
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 60_000) + b"[" * 60_000,
        b"<html>" * 100,
    ],
    ids=["empty", "pickle", "huge header", "no tensors", "nested header", "html"],
)
def test_files_that_are_no_bundles_are_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        open_bundle(tmp_path / "x.safetensors")


def test_a_checkpoint_is_no_bundle(tmp_path):
    save_tensors(tmp_path / "state", {"step": torch.tensor(1)}, {"key": "k"})
    with pytest.raises(CheckpointError, match="no model bundle of version"):
        open_bundle(tmp_path / "state")


def test_a_bundle_says_where_it_comes_from(tiny_data, tmp_path):
    stage = tiny_stages(tiny_data)[0]
    save_bundle(
        tmp_path / "m",
        model=FaceModel(stage, 2),
        vocabulary=Vocabulary(("<pad>", "<unknown>")),
        stage=stage,
        max_tokens=5,
        lineage={"sweep": "s", "trial": "s/T1"},
    )
    found = open_bundle(tmp_path / "m")
    assert (found.resolution, found.max_tokens, found.lineage["trial"]) == (4, 5, "s/T1")
    assert found.stage == stage
