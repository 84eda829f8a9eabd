"""Several devices that train one stage together: each takes a part of every batch, gradients are averaged.

Random numbers are drawn for the whole batch on every rank, and each takes its rows: what a stage learns does not depend
on the number of devices, up to the order in which gradients are summed. Gradients are averaged here, once a step in one
buffer, and not by DistributedDataParallel, whose hooks do not fire for the second derivatives of a gradient penalty.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from t2f.errors import SpecError
from t2f.spec import StageSpec


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among those that train together; the default process group must exist if there are more."""

    rank: int = 0
    size: int = 1

    def rows(self, stage: StageSpec) -> slice:
        """This rank's rows of every batch; SpecError where groups of the minibatch deviation would cross ranks."""
        group = stage.settings.network.stddev_group
        if self.size > 1 and stage.batch % (self.size * group) != 0:
            raise SpecError(
                f"a batch of {stage.batch} at {stage.resolution} px cannot be shared by {self.size} devices: "
                f"each must take whole groups of network.stddev_group = {group} images, so give a multiple of "
                f"{self.size * group}"
            )
        part = stage.batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Sequence[nn.Parameter], more: Sequence[Tensor] = ()) -> None:
        """Make gradients and `more` (float32, changed in place) the means over all ranks."""
        if self.size == 1:
            return
        parts = [parameter.grad for parameter in parameters if parameter.grad is not None]
        parts += list(more)
        buffer = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(buffer)
        buffer /= self.size
        start = 0
        for part in parts:
            part.copy_(buffer[start : start + part.numel()].view_as(part))
            start += part.numel()


def run_on_ranks(work: Callable[..., None], size: int, *arguments: Any) -> None:
    """Run `work(ranks, *arguments)` in `size` processes that form one group; it must be importable and so must they.

    NCCL joins GPUs, a process each; gloo joins CPU processes. The first error ends all and is raised here.
    """
    with tempfile.TemporaryDirectory(prefix="t2f-ranks-") as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        multiprocessing.spawn(_enter, args=(work, size, meeting, arguments), nprocs=size)


def _enter(rank: int, work: Callable[..., None], size: int, meeting: str, arguments: tuple[Any, ...]) -> None:
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size)
    try:
        work(Ranks(rank=rank, size=size), *arguments)
    finally:
        dist.destroy_process_group()
