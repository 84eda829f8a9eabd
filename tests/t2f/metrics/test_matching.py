"""R-precision: who may be a wrong caption, and what counts as a hit."""

import numpy as np
import torch

from t2f.metrics import matching
from t2f.metrics.matching import hits, note, wrong_table
from t2f.pairs import reference_pairs


def words(split, caption: int) -> set[int]:
    return set(split.tokens_MT[caption, : split.token_lengths_M[caption]].tolist())


def test_no_wrong_caption_may_be_right(tiny_data):
    split = tiny_data.split("train")
    pairs = reference_pairs(split, 60)
    table = wrong_table(split, pairs)
    assert table.shape == (60, 19), "so few pairs have no 99 others"
    for row, wrong in enumerate(table):
        assert len(set(wrong)) == 19
        for place in wrong:
            own, other = pairs.caption_N[row], pairs.caption_N[place]
            assert pairs.image_N[row] != pairs.image_N[place]
            common, either = words(split, own) & words(split, other), words(split, own) | words(split, other)
            assert len(common) < 0.75 * len(either), "a near duplicate"
            same = split.attributes_NA[pairs.image_N[row]] == split.attributes_NA[pairs.image_N[place]]
            assert not same.all()


def test_near_duplicates_are_left_out(tiny_data, monkeypatch):
    split = tiny_data.split("train")
    pairs = reference_pairs(split, 61)
    before = wrong_table(split, pairs)
    monkeypatch.setattr(matching, "ALIKE", 0.3)
    alike = sum(
        len(words(split, pairs.caption_N[row]) & words(split, pairs.caption_N[place]))
        >= 0.3 * len(words(split, pairs.caption_N[row]) | words(split, pairs.caption_N[place]))
        for row in range(61)
        for place in before[row]
    )
    assert alike > 0, "the case must have some"
    wrong_table.cache_clear()
    after = wrong_table(split, pairs)
    assert after is None or not np.array_equal(after, before)
    wrong_table.cache_clear()


def test_with_many_images_it_is_one_against_99_and_with_few_undefined(tiny_data, monkeypatch):
    split = tiny_data.split("train")
    assert wrong_table(split, reference_pairs(split, 150)).shape == (150, 19), "images that come again are no others"
    monkeypatch.setattr(matching, "CANDIDATES", (30, 19))
    assert wrong_table(split, reference_pairs(split, 151)).shape == (151, 30)
    assert wrong_table(tiny_data.split("validation"), reference_pairs(tiny_data.split("validation"), 16)) is None


def test_a_hit_is_above_every_wrong_caption():
    text_NJ = torch.eye(4)
    images_NJ = torch.tensor([[1.0, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 1, 0], [1, 0, 0, 0.5]])
    wrong_NK = np.array([[1, 2], [0, 2], [0, 1], [1, 2]])
    assert hits(images_NJ, text_NJ, wrong_NK).tolist() == [1, 0, 1, 1]


def test_the_note_says_against_how_many():
    said = note(np.array([1.0, 0.0] * 50), 19)
    assert said == "1 against 19, chance 5%; deviation over 10 folds 0.000"
