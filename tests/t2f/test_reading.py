"""Captions on their way to an encoder: the same whether they come from the data or from a person."""

import dataclasses

import numpy as np
import pytest
import torch

from t2f.errors import CheckpointError, SpecError
from t2f.generate import open_bundle, save_bundle
from t2f.networks import FaceModel
from t2f.reading import SentenceReader, WordReader, data_reader
from t2f.sentence import SentenceEncoder
from t2f.spec import StageSpec, TrainingSpec
from t2f.trainer import StageTrainer
from tests.t2f.bert_folder import tiny_bert
from tests.t2f.helpers import tiny_stages, tiny_training

CAPTIONS = np.array([3, 0, 7, 3])


@pytest.fixture
def training(tiny_data, tmp_path) -> TrainingSpec:
    """A tiny training that reads by a sentence encoder in a folder."""
    folder = tiny_bert(tmp_path / "bert")
    sentence = SentenceEncoder.open(folder).spec(str(folder))
    return dataclasses.replace(tiny_training(tiny_data, {"text.encoder": "sentence"}), sentence=sentence)


@pytest.fixture
def own_data(tiny_data, tmp_path):
    """The data in a place where embeddings may be kept."""
    (tmp_path / "data").mkdir()
    for path in tiny_data.path.iterdir():
        (tmp_path / "data" / path.name).symlink_to(path)
    return dataclasses.replace(tiny_data, path=tmp_path / "data")


def same(one: torch.Tensor, two: torch.Tensor) -> bool:
    return torch.allclose(one, two, atol=1e-6)


def test_words_read_from_the_data_and_from_a_person_are_the_same(tiny_data):
    split = tiny_data.split("train")
    reader = data_reader(tiny_stages(tiny_data)[0], tiny_data)
    assert isinstance(reader, WordReader)
    of_split, of_person = reader.of_split(split, CAPTIONS), reader.of_sentences([split.captions[c] for c in CAPTIONS])
    assert torch.equal(of_split.tokens_BT, of_person.tokens_BT)
    assert torch.equal(of_split.lengths_B, of_person.lengths_B)
    assert reader.of_sentences(["", "long pink hair"]).lengths_B.tolist() == [0, 3]


def test_sentence_embeddings_are_the_same_kept_and_fresh(own_data, training):
    split = own_data.split("train")
    reader = data_reader(training.stages()[0], own_data)
    assert isinstance(reader, SentenceReader)
    kept = reader.of_split(split, CAPTIONS).vectors_BS
    assert same(kept, reader.of_sentences([split.captions[c] for c in CAPTIONS]).vectors_BS)
    assert torch.equal(reader.of_sentences(["", "long pink hair"]).vectors_BS[0], torch.zeros(16))
    # Once they are kept, training does not need the encoder.
    gone = dataclasses.replace(training.sentence, where="gone")
    assert torch.equal(SentenceReader(spec=gone, data=own_data).of_split(split, CAPTIONS).vectors_BS, kept)
    with pytest.raises(CheckpointError, match="'gone' is no folder"):
        SentenceReader(spec=gone).of_sentences(["a man"])


def test_another_encoder_than_the_training_had_is_refused(training, tmp_path):
    other = dataclasses.replace(training.sentence, where=str(tiny_bert(tmp_path / "other", seed=1)))
    with pytest.raises(CheckpointError, match="bring that one back"):
        SentenceReader(spec=other).of_sentences(["a man"])


def test_a_training_with_a_sentence_encoder_goes_on_to_the_same_bits_and_draws(own_data, training, tmp_path):
    stage = training.stages()[0]
    whole, cut = StageTrainer(stage, own_data), StageTrainer(stage, own_data)
    for _ in range(6):
        whole.step()
    for _ in range(2):
        cut.step()
    state = {name: tensor.clone() for name, tensor in cut.state().items()}
    cut = StageTrainer(stage, own_data)
    cut.load(state)
    for _ in range(4):
        cut.step()
    assert cut.weights_sha256() == whole.weights_sha256()
    first = state["face_model.encoder.out.weight"]
    assert not torch.equal(whole.state()["face_model.encoder.out.weight"], first), "the projection learns"
    save_bundle(
        tmp_path / "model.safetensors",
        model=whole.ema,
        vocabulary=own_data.vocabulary,
        stage=stage,
        max_tokens=own_data.max_tokens,
        lineage={},
    )
    bundle = open_bundle(tmp_path / "model.safetensors")
    assert bundle.unknown_words("xyzzy") == {}, "a sentence encoder reads any word by its parts"
    faces = bundle.draw(["a man with a beard", "a woman with brown hair"], seeds=[0])
    assert not np.array_equal(faces[0], faces[1])


def test_the_encoder_is_part_of_the_key_and_its_place_is_not(training):
    stage = training.stages()[0]
    moved = dataclasses.replace(stage, sentence=dataclasses.replace(stage.sentence, where="elsewhere"))
    other = dataclasses.replace(stage, sentence=dataclasses.replace(stage.sentence, sha256="0" * 64))
    assert moved.key(None) == stage.key(None)
    assert other.key(None) != stage.key(None)
    assert StageSpec.from_json(stage.to_json()) == stage


def test_a_sentence_encoder_must_be_named(tiny_data):
    stage = tiny_stages(tiny_data, {"text.encoder": "sentence"})[0]
    with pytest.raises(SpecError, match="needs sentence_encoder"):
        FaceModel(stage, 10)
