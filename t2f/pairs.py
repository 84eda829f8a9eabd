"""The pairs of held-out images and captions that every evaluation of a data set looks at.

N pairs, T tokens
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from t2f.batches import wrong_captions
from t2f.data import Split
from t2f.probe import METRIC_VERSION
from t2f.reading import Reader
from t2f.text import Captions


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """N held-out images, one caption of each, and a wrong caption for each; no captions where the data has none."""

    image_N: np.ndarray
    caption_N: np.ndarray  # [N], or empty
    wrong_N: np.ndarray

    @cached_property
    def ordinals(self) -> np.ndarray:
        """int64 [N]: the images numbered from 0 on, in the order in which they come first."""
        _, first, place_N = np.unique(self.image_N, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[place_N]

    @property
    def num_distinct(self) -> int:
        """The first so many pairs are of different images; those that follow come again."""
        return len(np.unique(self.image_N))


@lru_cache(maxsize=8)
def reference_pairs(split: Split, num_images: int) -> Pairs:
    """The same pairs for everybody; images of a split smaller than asked for come again with other captions.

    Where some images have captions, the others are not looked at: they may come from elsewhere and look different.
    """
    random = np.random.default_rng([num_images, METRIC_VERSION])
    images = split.captioned_N if len(split.captioned_N) else split.uncaptioned_N
    whole, rest = divmod(num_images, len(images))
    image_N = np.concatenate([*[images] * whole, images[random.permutation(len(images))[:rest]]])
    if len(split.captioned_N) == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Pairs(image_N=image_N, caption_N=nothing, wrong_N=nothing)
    offsets = split.caption_offsets
    counts = offsets[image_N + 1] - offsets[image_N]
    caption_N = offsets[image_N] + (random.random(num_images) * counts).astype(np.int64)
    return Pairs(image_N=image_N, caption_N=caption_N, wrong_N=wrong_captions(caption_N, split, random))


def caption_tokens(split: Split, captions: np.ndarray) -> tuple[Tensor, Tensor]:
    """tokens_NT (int64) and lengths_N of these captions."""
    tokens_NT = torch.from_numpy(split.tokens_MT[captions].astype(np.int64))
    return tokens_NT, torch.from_numpy(split.token_lengths_M[captions])


def right_captions(split: Split, pairs: Pairs, reader: Reader) -> Captions:
    """The captions to draw the pairs' images from; none at all where there are no captions."""
    if len(pairs.caption_N) == 0:
        return reader.of_sentences([""] * len(pairs.image_N))
    return reader.of_split(split, pairs.caption_N)
