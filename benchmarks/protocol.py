"""How the benchmark talks to one side: a process that serves one JSON request a line. No torch of its own.

Both sides import this module, each in its own environment, so it needs nothing but the standard library and torch.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Action = Callable[[dict[str, Any]], dict[str, Any]]


def timed(work: Callable[[], object], count: int) -> dict[str, float]:
    """Wall and process CPU seconds of one call, the mean over `count` calls one after another."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work()
    return {"wall": (time.perf_counter() - wall) / count, "cpu": (time.process_time() - cpu) / count}


def peak_bytes() -> int:
    """The most memory that this process has had resident (Linux counts kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def convolution_rate(request: dict[str, Any]) -> dict[str, float]:
    """FLOP/s of a plain oneDNN convolution: 3x3, 256 -> 256 channels, 16 images of 32 px; the better memory format.

    A multiplication and an addition are two operations; pixels beyond the edge count like others.
    """
    import torch  # not before the number of threads is set

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[request["precision"]]
    operations = 2 * 16 * 32 * 32 * 256 * 256 * 9
    rates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(16, 256, 32, 32).to(dtype).contiguous(memory_format=layout)
        weight = torch.randn(256, 256, 3, 3).to(dtype).contiguous(memory_format=layout)
        with torch.no_grad():
            torch.nn.functional.conv2d(x, weight, padding=1)
            runs = [timed(lambda x=x, w=weight: torch.nn.functional.conv2d(x, w, padding=1), 1) for _ in range(5)]
        rates.append(operations / statistics.median(run["cpu"] for run in runs))
    return {"rate": max(rates)}


def serve(actions: Mapping[str, Action]) -> None:
    """Answer requests {"do": name, ...} from standard input until it ends."""
    # Whatever a library prints must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(actions[request["do"]](request)), file=answers, flush=True)


def set_threads(count: int) -> None:
    """Threads of torch, and none that wait spinning; call it before anything imports torch."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch  # reads the environment when it is imported

    torch.set_num_threads(count)
