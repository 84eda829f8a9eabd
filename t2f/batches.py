"""Which images and captions each D step takes: a pure function of (seed, stage, draw), torch-free.

B batch, M captions of the split
"""

from dataclasses import dataclass

import numpy as np

from t2f.data import Split
from t2f.errors import DataError
from t2f.spec import StageSpec


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Row b: an image, one of its captions, and a caption of another image."""

    image_B: np.ndarray  # int64 index of the image
    caption_B: np.ndarray  # int64 index of a caption of that image
    wrong_B: np.ndarray  # int64 index of a caption of another image and with another text


class BatchPlan:
    """Batches of one stage on one split.

    Draw n takes the next images of an endless row of epochs, each a fresh permutation; everything random in it comes
    from (seed, resolution, n), so going on from any draw needs no state.
    """

    def __init__(self, stage: StageSpec, split: Split) -> None:
        if split.size < 2 or split.caption_text_group_M.min() == split.caption_text_group_M.max():
            raise DataError(
                f"the training split has {split.size} images and all captions read alike; matching-aware training "
                "needs at least two images with different captions"
            )
        self._stage = stage
        self._split = split
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def draw(self, number: int) -> Batch:
        """The batch of D step `number` (0, 1, ...) of the stage."""
        random = np.random.default_rng([self._stage.seed, self._stage.resolution, number, 1])
        first = number * self._stage.batch
        image_B = np.array([self._image_at(first + row) for row in range(self._stage.batch)], dtype=np.int64)
        offsets = self._split.caption_offsets
        counts = offsets[image_B + 1] - offsets[image_B]
        caption_B = offsets[image_B] + (random.random(len(image_B)) * counts).astype(np.int64)
        return Batch(image_B=image_B, caption_B=caption_B, wrong_B=wrong_captions(caption_B, self._split, random))

    def _image_at(self, place: int) -> int:
        epoch, row = divmod(place, self._split.size)
        if epoch != self._epoch:
            random = np.random.default_rng([self._stage.seed, self._stage.resolution, epoch, 2])
            self._epoch, self._order = epoch, random.permutation(self._split.size)
        return int(self._order[row])


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
