import json
import pickle
import time

import numpy as np
import pytest

from t2f.data.options import PrepareOptions
from t2f.data.prepare import prepare
from t2f.data.prepared import PreparedData, prepared_key
from t2f.data.words import split_words
from t2f.errors import DataError
from tests.t2f.data.sources import write_source


def prepare_in(folder, **source_options):
    source = write_source(folder / "source", **source_options)
    options = PrepareOptions(max_resolution=8, min_count=1)
    return prepare(source, format="imagefolder", out=folder / "prepared", options=options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare_in(tmp_path_factory.mktemp("data"))


def test_captions_know_their_images(data):
    train = data.split("train")
    assert train.size == len(train.image_ids) == len(train.images(4)) == 6
    assert train.caption_offsets.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert train.caption_image_M.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert train.captions[2:4] == ("blue hair.", "a person with blue hair")
    for array in (train.caption_offsets, train.caption_image_M, train.caption_text_group_M, train.token_lengths_M):
        assert array.dtype == np.int64


def test_groups_are_equal_exactly_where_the_words_are(data):
    train = data.split("train")
    for first, group in zip(train.captions, train.caption_text_group_M, strict=True):
        for second, other in zip(train.captions, train.caption_text_group_M, strict=True):
            assert (split_words(first) == split_words(second)) == (group == other)


def test_tokens_are_the_encoded_captions(data):
    test = data.split("test")
    assert test.tokens_MT.dtype == np.uint16
    for caption, tokens, length in zip(test.captions, test.tokens_MT, test.token_lengths_M, strict=True):
        assert tokens[:length].tolist() == data.vocabulary.encode(caption, data.max_tokens)
        assert not tokens[length:].any()


def test_the_vocabulary_knows_the_training_captions_only(tmp_path):
    source = write_source(tmp_path / "source")
    metadata = source / "metadata.jsonl"
    lines = metadata.read_text().splitlines()
    lines[2] = lines[2].replace("a person", "a zebra")
    metadata.write_text("\n".join(lines))
    options = PrepareOptions(max_resolution=4, min_count=1)
    data = prepare(source, format="imagefolder", out=tmp_path / "prepared", options=options)
    assert data.vocabulary.unknown_words("a zebra person") == ["zebra"]


def test_attributes_are_places_in_sorted_values(data):
    assert data.attribute_values == {"age": ("old", "young"), "hair": ("blue", "green", "red")}
    assert data.split("train").attributes_NA.tolist() == [[1, 2], [0, 0], [1, 0], [0, 1], [1, 1], [0, 2]]


def test_without_attributes_and_held_out_images(tmp_path):
    source = write_source(tmp_path / "source", count=6, splits=False, attributes=False)
    options = PrepareOptions(max_resolution=4, validation_fraction=0, test_fraction=0)
    data = prepare(source, format="imagefolder", out=tmp_path / "prepared", options=options)
    assert data.attribute_values == {}
    assert data.split("train").attributes_NA.shape == (6, 0)
    empty = data.split("test")
    assert (empty.size, empty.captions, empty.images(4).shape) == (0, (), (0, 3, 4, 4))
    assert (len(empty.caption_offsets), len(empty.tokens_MT), len(empty.attributes_NA)) == (1, 0, 0)


def test_data_without_captions_is_split_like_other_data(bare_data):
    assert not bare_data.has_captions
    assert bare_data.vocabulary.words == ("<pad>", "<unknown>")
    sizes = {name: bare_data.split(name).size for name in ("train", "validation", "test")}
    assert sum(sizes.values()) == 96
    assert min(sizes.values()) > 2
    for name, size in sizes.items():
        split = bare_data.split(name)
        assert split.images(8).shape == (size, 3, 8, 8)
        assert (split.captions, split.tokens_MT.shape, split.attributes_NA.shape) == ((), (0, 1), (size, 0))
        assert split.caption_offsets.tolist() == [0] * (size + 1)
        assert split.captioned_N.tolist() == []
        assert split.uncaptioned_N.tolist() == list(range(size))


def test_all_images_of_described_data_are_captioned(data):
    assert data.has_captions
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert split.captioned_N.tolist() == list(range(split.size))
        assert split.uncaptioned_N.dtype == np.int64
        assert len(split.uncaptioned_N) == 0


def test_unknown_splits_and_resolutions_say_what_there_is(data):
    with pytest.raises(DataError, match="allowed: train, validation, test"):
        data.split("training")
    with pytest.raises(DataError, match=r"16 px images are wanted, but .* holds 4, 8 px; run `t2f data prepare`"):
        data.split("train").images(16)


def test_the_same_in_another_process(data):
    copy = pickle.loads(pickle.dumps(data))
    assert copy.key == data.key
    np.testing.assert_array_equal(copy.split("test").images(8), data.split("test").images(8))


def test_opening_is_quick(data):
    start = time.perf_counter()
    PreparedData.open(data.path).split("train")
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("name", ["train_8.npy", "vocabulary.json", "test_tokens.npy", "train_texts.json"])
def test_a_truncated_or_missing_file_is_refused(tmp_path, name):
    data = prepare_in(tmp_path)
    path = data.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{name} has .* bytes, but manifest.json says"):
        PreparedData.open(data.path)
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        PreparedData.open(data.path)


def test_a_file_that_goes_after_opening_is_said_to_be_missing(tmp_path):
    data = prepare_in(tmp_path)
    (data.path / "train_4.npy").unlink()
    with pytest.raises(DataError, match=r"train_4\.npy is missing; prepare the data again"):
        data.split("train").images(4)


def test_verify_finds_a_changed_byte(tmp_path):
    data = prepare_in(tmp_path)
    data.verify()
    path = data.path / "train_8.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train_8\.npy was changed or damaged"):
        PreparedData.open(data.path).verify()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: {**manifest, "prepare_version": 99}, "is of version 99, this program reads"),
        (lambda manifest: [manifest], "is of version None"),
        (lambda manifest: {name: manifest[name] for name in manifest if name != "files"}, "lacks 'files'"),
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path, change, reason):
    data = prepare_in(tmp_path)
    (data.path / "manifest.json").write_text(json.dumps(change(data.manifest)))
    with pytest.raises(DataError, match=reason):
        PreparedData.open(data.path)


def test_a_folder_that_is_not_prepared_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no prepared data set"):
        PreparedData.open(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not JSON in UTF-8"):
        PreparedData.open(tmp_path)


def test_the_key_of_a_folder_is_read_without_opening_it(tmp_path):
    data = prepare_in(tmp_path)
    assert prepared_key(data.path) == data.key
    assert prepared_key(tmp_path) is None
    (data.path / "manifest.json").write_text("{")
    assert prepared_key(data.path) is None
