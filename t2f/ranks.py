"""Several devices that train one stage together: each takes a part of every batch, gradients are averaged.

Random numbers are drawn for the whole batch on every rank, and each takes its rows: what a stage learns does not depend
on the number of devices, up to the order in which gradients are summed. Gradients are averaged here, once a step in one
buffer, and not by DistributedDataParallel, whose hooks do not fire for the second derivatives of a gradient penalty.
"""

import signal
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn
from torch.multiprocessing.spawn import ProcessException

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
        """Make gradients and `more` (float32, changed in place) the means over all ranks.

        A rank whose rows did not need a parameter (captions that were all dropped) counts as a gradient of zero; one
        that no rank needed keeps none.
        """
        if self.size == 1:
            return
        needed = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        parts = [parameter.grad for parameter in parameters] + list(more)
        parts.append(needed.to(parts[0].device))
        buffer = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(buffer)
        buffer /= self.size
        start = 0
        for part in parts:
            part.copy_(buffer[start : start + part.numel()].view_as(part))
            start += part.numel()
        for parameter, share in zip(parameters, parts[-1].tolist(), strict=True):
            if share == 0:
                parameter.grad = None


def run_on_ranks(work: Callable[..., None], size: int, *arguments: Any) -> None:
    """Run `work(ranks, *arguments)` in `size` processes that form one group; it must be importable and so must they.

    A size of 1 is this process, and its errors are its own.

    NCCL joins GPUs, a process each; gloo joins CPU processes. The first error ends all: RuntimeError with its
    traceback, or with the signal that ended the process.
    """
    if size == 1:
        work(Ranks(), *arguments)
        return
    with tempfile.TemporaryDirectory(prefix="t2f-ranks-") as name:
        folder = Path(name)
        context = multiprocessing.spawn(_enter, args=(work, size, folder, arguments), nprocs=size, join=False)
        try:
            while not context.join():
                pass
        except ProcessException as error:
            number, what = _what_came_first(context, folder, error)
            raise RuntimeError(f"device {number + 1} of {size} failed{what}") from error


def _what_came_first(context: multiprocessing.SpawnContext, folder: Path, error: ProcessException) -> tuple[int, str]:
    """The rank that failed first, and how. The others fail too, because it left the group: their errors say nothing."""
    for rank, process in enumerate(context.processes):
        # The others are terminated.
        if process.exitcode is not None and process.exitcode < 0 and process.exitcode != -signal.SIGTERM:
            return rank, f": its process was ended by {signal.Signals(-process.exitcode).name}"
    first = min(folder.glob("error-*"), key=lambda path: path.stat().st_mtime_ns, default=None)
    if first is not None:
        return int(first.name.removeprefix("error-")), f":\n{first.read_text()}"
    return error.error_index, f": {error}"


def _enter(rank: int, work: Callable[..., None], size: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=(folder / "meeting").as_uri(), rank=rank, world_size=size)
    try:
        work(Ranks(rank=rank, size=size), *arguments)
        dist.barrier()  # nobody leaves a group in which another still waits
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()
