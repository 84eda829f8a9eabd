"""Batches: fair, repeatable, and never with a wrong caption that is right."""

import dataclasses

import numpy as np
import pytest

from t2f.batches import BatchPlan, wrong_captions
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
        for name in ("image_B", "caption_B", "wrong_B"):
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
