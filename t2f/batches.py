"""Which images and captions each D step takes: a pure function of (seed, stage, draw), torch-free.

B batch, M captions of the split
"""

import re
from dataclasses import dataclass

import numpy as np

from t2f.data import Split
from t2f.errors import DataError
from t2f.spec import StageSpec

NO_CAPTION = -1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Row b: an image, one of its captions, and a caption of another image."""

    image_B: np.ndarray  # int64 index of the image
    caption_B: np.ndarray  # int64 index of a caption of that image, or NO_CAPTION
    wrong_B: np.ndarray  # int64 index of a caption of another image and with another text, or NO_CAPTION
    mirror_B: np.ndarray  # bool: the image is to be mirrored


class BatchPlan:
    """Batches of one stage on one split.

    Draw n takes the next images of an endless row of epochs, each a fresh permutation; everything random in it comes
    from (seed, resolution, n), so going on from any draw needs no state. Images with and without captions are two rows
    of their own, of which every batch takes fixed shares.
    """

    def __init__(self, stage: StageSpec, split: Split) -> None:
        self._stage = stage
        self._split = split
        self._reads = stage.settings.text.encoder != "none"
        counts = np.diff(split.caption_offsets)
        captioned, uncaptioned = np.flatnonzero(counts > 0), np.flatnonzero(counts == 0)
        if self._reads:
            groups = split.caption_text_group_M
            if len(captioned) < 2 or groups.min() == groups.max():
                raise DataError(
                    f"the training split has {len(captioned)} images with captions, and too few different ones; "
                    "matching-aware training needs at least two images with different captions. Without captions train "
                    "with text.encoder: none"
                )
        elif split.size < 2:
            raise DataError(f"the training split has {split.size} images; training needs at least two")
        if not self._reads:
            captioned, uncaptioned = np.empty(0, dtype=np.int64), np.arange(split.size)
        share = stage.settings.data.uncaptioned_share if len(uncaptioned) else 0.0
        num_uncaptioned = round(share * stage.batch) if self._reads else stage.batch
        self._sources = (
            _Epochs(captioned, stage, stage.batch - num_uncaptioned, name=2),
            _Epochs(uncaptioned, stage, num_uncaptioned, name=3),
        )
        # A caption that says left or right would be wrong under a mirrored face.
        sided_M = np.array([bool(_SIDES.search(caption)) for caption in split.captions], dtype=bool)
        self._sided_N = np.zeros(split.size, dtype=bool)
        np.logical_or.at(self._sided_N, split.caption_image_M, sided_M)

    def draw(self, number: int) -> Batch:
        """The batch of D step `number` (0, 1, ...) of the stage."""
        stage, settings = self._stage, self._stage.settings
        random = np.random.default_rng([stage.seed, stage.resolution, number, 1])
        captioned_C, uncaptioned_U = (source.take(number) for source in self._sources)
        image_B = np.concatenate([captioned_C, uncaptioned_U])
        offsets = self._split.caption_offsets
        counts = offsets[captioned_C + 1] - offsets[captioned_C]
        caption_C = offsets[captioned_C] + (random.random(len(captioned_C)) * counts).astype(np.int64)
        wrong_C = wrong_captions(caption_C, self._split, random) if len(caption_C) else caption_C.copy()
        dropped_C = random.random(len(caption_C)) < settings.text.caption_dropout
        caption_C[dropped_C] = wrong_C[dropped_C] = NO_CAPTION
        none_U = np.full(len(uncaptioned_U), NO_CAPTION, dtype=np.int64)
        mirror_B = random.random(len(image_B)) < 0.5
        mirror_B &= settings.data.mirror == "on"
        return Batch(
            image_B=image_B,
            caption_B=np.concatenate([caption_C, none_U]),
            wrong_B=np.concatenate([wrong_C, none_U]),
            mirror_B=mirror_B & ~self._sided_N[image_B],
        )


_SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class _Epochs:
    """An endless row of permutations of some images, of which every draw takes the next `size`."""

    def __init__(self, images: np.ndarray, stage: StageSpec, size: int, *, name: int) -> None:
        self._images, self._stage, self._size, self._name = images, stage, size, name
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def take(self, number: int) -> np.ndarray:
        """int64 images of draw `number`, the same whatever was drawn before."""
        parts, place, end = [np.empty(0, dtype=np.int64)], number * self._size, (number + 1) * self._size
        while place < end:
            epoch, row = divmod(place, len(self._images))
            part = self._permutation(epoch)[row : row + end - place]
            parts.append(part)
            place += len(part)
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            random = np.random.default_rng([self._stage.seed, self._stage.resolution, epoch, self._name])
            self._epoch, self._order = epoch, random.permutation(self._images)
        return self._order


def wrong_captions(caption_B: np.ndarray, split: Split, random: np.random.Generator) -> np.ndarray:
    """For each caption another one, never of the same image and never with the same text: int64 wrong_B.

    A derangement of the batch, so that wrong captions are distributed as right ones are. Rows for which the batch holds
    no fitting caption draw one from the whole split.
    """
    image_M, group_M = split.caption_image_M, split.caption_text_group_M

    def clashes(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        return (image_M[rows] == image_M[others]) | (group_M[rows] == group_M[others])

    wrong_B = caption_B[random.permutation(len(caption_B))]
    for row in np.flatnonzero(clashes(caption_B, wrong_B)):
        # Swapping with a row where both sides then fit keeps it a permutation.
        partners = random.permutation(len(caption_B))
        here = clashes(np.full(len(partners), caption_B[row]), wrong_B[partners])
        there = clashes(caption_B[partners], np.full(len(partners), wrong_B[row]))
        fitting = partners[~here & ~there]
        if len(fitting):
            wrong_B[[row, fitting[0]]] = wrong_B[[fitting[0], row]]
    for row in np.flatnonzero(clashes(caption_B, wrong_B)):
        everyone = np.arange(len(image_M))
        fitting = everyone[~clashes(np.full(len(everyone), caption_B[row]), everyone)]
        if len(fitting) == 0:
            fitting = everyone[group_M != group_M[caption_B[row]]]
        wrong_B[row] = fitting[int(random.random() * len(fitting))]
    return wrong_B
