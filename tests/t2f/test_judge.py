"""The judge: it learns to match, repeats, and refuses what is not its own."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256
from t2f.cli import ensure_judge
from t2f.errors import DataError
from t2f.judge import Judge, JudgeOptions, attribute_sizes, judge_path, load_judge, train_judge
from t2f.pairs import caption_tokens, reference_pairs
from t2f.probe import NO_JUDGE

OPTIONS = JudgeOptions(steps=120, batch=48)


@pytest.fixture(scope="module")
def judge(tiny_data) -> Judge:
    return train_judge(tiny_data, options=OPTIONS)


def test_it_learns_which_caption_fits(tiny_data, judge):
    split = tiny_data.split("train")
    pairs = reference_pairs(split, split.size)
    images = torch.from_numpy(split.images(16)[pairs.image_N])
    codes = judge.embed_all_images(images)
    right, wrong = (
        (codes * judge.embed_text(*caption_tokens(split, captions))).sum(dim=1).detach()
        for captions in (pairs.caption_N, pairs.wrong_N)
    )
    assert float((right > wrong).float().mean()) > 0.95
    found = judge.attributes(images).numpy() == split.attributes_NA[pairs.image_N]
    column = list(tiny_data.attribute_values).index("hair_colour")
    assert found[:, column].mean() > 0.9


def test_padding_and_neighbours_do_not_matter(tiny_data, judge):
    split = tiny_data.split("train")
    tokens, lengths = caption_tokens(split, np.arange(12))
    together = judge.embed_text(tokens, lengths)
    for row in range(12):
        alone = judge.embed_text(tokens[row : row + 1, : lengths[row]], lengths[row : row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(12), atol=1e-5)


def test_training_repeats_and_leaves_the_random_state_alone(tiny_data, judge):
    state = torch.random.get_rng_state()
    again = train_judge(tiny_data, options=OPTIONS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert tensors_sha256(again.state_dict()) == tensors_sha256(judge.state_dict())


def test_it_is_kept_with_the_data_and_refused_elsewhere(tiny_data, tmp_path):
    stored, sha256 = load_judge(tiny_data)
    assert tensors_sha256(stored.state_dict()) == sha256
    copy = tmp_path / "copy"
    shutil.copytree(tiny_data.path, copy)
    with pytest.raises(DataError, match="other data or by another version"):
        load_judge(replace(tiny_data, path=copy, key="0" * 64))
    path = judge_path(replace(tiny_data, path=copy))
    tensors, metadata = load_tensors(path)
    tensors["image_out.bias"] += 1
    save_tensors(path, tensors, metadata)
    with pytest.raises(DataError, match="do not have the recorded hash"):
        load_judge(replace(tiny_data, path=copy))
    path.unlink()
    with pytest.raises(DataError, match="has no judge"):
        load_judge(replace(tiny_data, path=copy))


def test_a_damaged_judge_is_trained_again(tiny_data, tmp_path):
    shutil.copytree(tiny_data.path, tmp_path / "copy")
    data = replace(tiny_data, path=tmp_path / "copy")
    path = judge_path(data)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="Run `t2f data prepare` again"):
        load_judge(data)
    assert ensure_judge(data, steps=3, quiet=True) == load_judge(data)[1]


def test_a_judge_of_other_shapes_is_refused(tiny_data, tmp_path):
    shutil.copytree(tiny_data.path, tmp_path / "copy")
    data = replace(tiny_data, path=tmp_path / "copy")
    tensors, metadata = load_tensors(judge_path(data))
    tensors = {name: tensor for name, tensor in tensors.items() if name != "image_out.bias"}
    save_tensors(judge_path(data), tensors, {**metadata, "sha256": tensors_sha256(tensors)})
    with pytest.raises(DataError, match="is no judge of this data"):
        load_judge(data)


def test_images_without_captions_do_not_change_it(mixed_data, judge):
    assert len(mixed_data.split("train").uncaptioned_N) == 20
    trained = train_judge(mixed_data, options=OPTIONS)
    assert tensors_sha256(trained.state_dict()) == tensors_sha256(judge.state_dict())


def test_data_without_captions_has_no_judge(bare_data):
    assert load_judge(bare_data) == (None, NO_JUDGE)
    assert ensure_judge(bare_data, steps=10) == NO_JUDGE
    assert not judge_path(bare_data).parent.exists()


def test_data_without_attributes_has_no_heads(tiny_data):
    plain = replace(tiny_data, attribute_values={})
    assert attribute_sizes(plain) == ()
    assert len(Judge(30, ()).attribute_heads) == 0


@pytest.mark.parametrize("steps", [3, 10])
def test_few_steps_are_enough_for_the_schedule(tiny_data, steps):
    judge = train_judge(tiny_data, options=JudgeOptions(steps=steps, batch=4))
    assert all(bool(weights.isfinite().all()) for weights in judge.parameters())
