"""Batches: fair, repeatable, and never with a wrong caption that is right."""

import dataclasses

import numpy as np
import pytest

from t2f.batches import NO_CAPTION, BatchPlan, wrong_captions
from t2f.errors import DataError
from tests.t2f.helpers import tiny_stages


def test_every_epoch_shows_every_image_once(tiny_data):
    split = tiny_data.split("train")
    stage = dataclasses.replace(tiny_stages(tiny_data)[0], batch=7)
    plan = BatchPlan(stage, split)
    shown = np.concatenate([plan.draw(n).image_B for n in range(2 * split.size)])[: 4 * split.size]
    for epoch in shown.reshape(4, split.size):
        assert sorted(epoch) == list(range(split.size))


def test_a_draw_depends_on_nothing_but_its_number(tiny_data):
    split, stage = tiny_data.split("train"), tiny_stages(tiny_data)[1]
    there, back = BatchPlan(stage, split), BatchPlan(stage, split)
    forward = [there.draw(n) for n in range(40)]
    for n in reversed(range(40)):
        again = back.draw(n)
        for name in ("image_B", "caption_B", "wrong_B", "mirror_B"):
            assert np.array_equal(getattr(forward[n], name), getattr(again, name))
    other_seed = BatchPlan(dataclasses.replace(stage, seed=1), split).draw(0)
    assert not np.array_equal(other_seed.image_B, forward[0].image_B)


def test_right_captions_are_of_the_image_and_wrong_ones_never_fit(tiny_data):
    split = tiny_data.split("train")
    plan = BatchPlan(tiny_stages(tiny_data)[0], split)
    for n in range(200):
        batch = plan.draw(n)
        assert np.array_equal(split.caption_image_M[batch.caption_B], batch.image_B)
        assert (split.caption_image_M[batch.wrong_B] != batch.image_B).all()
        assert (split.caption_text_group_M[batch.wrong_B] != split.caption_text_group_M[batch.caption_B]).all()


def test_wrong_captions_are_a_derangement_where_the_batch_allows_it(tiny_data):
    split = tiny_data.split("train")
    plan = BatchPlan(tiny_stages(tiny_data)[0], split)
    for n in range(50):
        batch = plan.draw(n)
        assert sorted(batch.wrong_B) == sorted(batch.caption_B)


def test_a_batch_without_fitting_captions_draws_them_from_the_split(tiny_data):
    split = tiny_data.split("train")
    # Captions 0.. of image 0 only: nothing in the batch is another image's.
    own = np.arange(split.caption_offsets[0], split.caption_offsets[1])
    wrong = wrong_captions(own, split, np.random.default_rng(0))
    assert (split.caption_image_M[wrong] != 0).all()


def test_data_with_one_text_is_refused(tiny_data):
    split = tiny_data.split("train")
    same = dataclasses.replace(split, caption_text_group_M=np.zeros_like(split.caption_text_group_M))
    with pytest.raises(DataError, match="at least two images with different captions"):
        BatchPlan(tiny_stages(tiny_data)[0], same)


def without_captions(split, images: int):
    """The split with the captions of its first images taken away."""
    first = split.caption_offsets[images]
    offsets = np.maximum(split.caption_offsets - first, 0)
    return dataclasses.replace(
        split,
        captions=split.captions[first:],
        caption_offsets=offsets,
        caption_image_M=split.caption_image_M[first:],
        caption_text_group_M=split.caption_text_group_M[first:],
        tokens_MT=split.tokens_MT[first:],
        token_lengths_M=split.token_lengths_M[first:],
    )


def test_uncaptioned_images_take_their_share_of_every_batch(tiny_data):
    split = without_captions(tiny_data.split("train"), 20)
    stage = tiny_stages(tiny_data, {"data.uncaptioned_share": 0.25})[0]
    plan = BatchPlan(stage, split)
    shown = []
    for n in range(30):
        batch = plan.draw(n)
        assert (batch.caption_B[:6] != NO_CAPTION).all()
        assert (batch.caption_B[6:] == NO_CAPTION).all()
        assert (batch.wrong_B[6:] == NO_CAPTION).all()
        assert (batch.image_B[:6] >= 20).all()
        shown += batch.image_B[6:].tolist()
    assert sorted(shown) == sorted([*range(20)] * 3), "each uncaptioned image once an epoch"


def test_without_words_every_image_is_shown_and_no_caption(tiny_data):
    split = without_captions(tiny_data.split("train"), 20)
    plan = BatchPlan(tiny_stages(tiny_data, {"text.encoder": "none"})[0], split)
    batches = [plan.draw(n) for n in range(split.size)]
    assert sorted(np.concatenate([batch.image_B for batch in batches])) == sorted([*range(split.size)] * 8)
    assert all((batch.caption_B == NO_CAPTION).all() and (batch.wrong_B == NO_CAPTION).all() for batch in batches)


def test_caption_dropout_takes_right_and_wrong_away_together(tiny_data):
    split = tiny_data.split("train")
    plan = BatchPlan(tiny_stages(tiny_data, {"text.caption_dropout": 0.3})[0], split)
    batches = [plan.draw(n) for n in range(200)]
    dropped = np.concatenate([batch.caption_B for batch in batches]) == NO_CAPTION
    assert np.array_equal(dropped, np.concatenate([batch.wrong_B for batch in batches]) == NO_CAPTION)
    assert 0.25 < dropped.mean() < 0.35
    whole = BatchPlan(tiny_stages(tiny_data)[0], split).draw(0)
    assert np.array_equal(whole.image_B, batches[0].image_B), "dropout must not change which images are drawn"


def test_faces_whose_caption_knows_left_from_right_are_not_mirrored(tiny_data):
    split = tiny_data.split("train")
    sided = dataclasses.replace(
        split, captions=tuple(f"Left, {c}" if image % 2 else f"leftover {c}" for c, image in _captions_of(split))
    )
    plan = BatchPlan(tiny_stages(tiny_data, {"data.mirror": "on"})[0], sided)
    batches = [plan.draw(n) for n in range(200)]
    images = np.concatenate([batch.image_B for batch in batches])
    mirrored = np.concatenate([batch.mirror_B for batch in batches])
    assert not mirrored[images % 2 == 1].any()
    assert 0.45 < mirrored[images % 2 == 0].mean() < 0.55
    assert not any(BatchPlan(tiny_stages(tiny_data)[0], sided).draw(n).mirror_B.any() for n in range(20))


def _captions_of(split):
    return zip(split.captions, split.caption_image_M, strict=True)
