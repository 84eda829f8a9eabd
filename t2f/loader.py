"""What a step needs from the data, gathered one step ahead in a thread: a pure function of the draw's number.

B rows of this rank, U distinct captions, S sentence embedding, R resolution in px
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from t2f.batches import NO_CAPTION, BatchPlan
from t2f.data import Split
from t2f.reading import Reader
from t2f.spec import StageSpec
from t2f.text import Captions


@dataclass(frozen=True, kw_only=True)
class LoadedBatch:
    """One rank's rows of a batch. Captions are kept once each: a wrong caption is nearly always another row's own."""

    images_B3RR: Tensor  # uint8, mirrored already
    captions: Captions | None  # U of them; None where no row has any
    right_B: Tensor  # int64 rows of `captions`; U: no caption
    wrong_B: Tensor

    def to(self, device: torch.device) -> "LoadedBatch":
        """The same on a device."""
        if device.type == "cpu":
            return self
        return LoadedBatch(
            images_B3RR=self.images_B3RR.to(device, non_blocking=True),
            captions=None if self.captions is None else self.captions.to(device),
            right_B=self.right_B.to(device, non_blocking=True),
            wrong_B=self.wrong_B.to(device, non_blocking=True),
        )


class Loader:
    """Batches of one stage; `get(n)` returns draw n and begins to gather draw n + 1."""

    def __init__(self, stage: StageSpec, split: Split, rows: slice, reader: Reader) -> None:
        """rows: this rank's part of every batch."""
        self._plan = BatchPlan(stage, split)
        self._split, self._rows, self._reader = split, rows, reader
        self._images = split.images(stage.resolution)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._ahead: tuple[int, Future[LoadedBatch]] | None = None

    def get(self, number: int) -> LoadedBatch:
        """The rows of draw `number`."""
        if self._ahead is not None and self._ahead[0] == number:
            batch = self._ahead[1].result()
        else:
            if self._ahead is not None:
                self._ahead[1].result()  # the plan remembers its epoch, so only one thread may use it
            batch = self._gather(number)
        self._ahead = (number + 1, self._thread.submit(self._gather, number + 1))
        return batch

    def _gather(self, number: int) -> LoadedBatch:
        batch = self._plan.draw(number)
        images = torch.from_numpy(self._images[batch.image_B[self._rows]])
        mirror_B = torch.from_numpy(batch.mirror_B[self._rows])
        if bool(mirror_B.any()):
            images = torch.where(mirror_B[:, None, None, None], images.flip(-1), images)
        right_B, wrong_B = batch.caption_B[self._rows], batch.wrong_B[self._rows]
        distinct_U = np.unique(np.concatenate([right_B, wrong_B]))
        distinct_U = distinct_U[distinct_U != NO_CAPTION]
        return LoadedBatch(
            images_B3RR=images,
            captions=self._reader.of_split(self._split, distinct_U) if len(distinct_U) else None,
            right_B=_places(right_B, distinct_U),
            wrong_B=_places(wrong_B, distinct_U),
        )


def _places(captions_B: np.ndarray, distinct_U: np.ndarray) -> Tensor:
    """Where each caption is among the distinct ones; U for NO_CAPTION."""
    places_B = np.searchsorted(distinct_U, captions_B)
    places_B[captions_B == NO_CAPTION] = len(distinct_U)
    return torch.from_numpy(places_B)
