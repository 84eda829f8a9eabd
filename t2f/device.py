"""Which device a training uses, and the class of machines that give the same bits."""

import platform
from functools import cache
from pathlib import Path

import torch


def configure(*, threads: int) -> None:
    """Fix the number of threads: left to the environment it would change the bits from one machine to the next."""
    torch.set_num_threads(threads)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def numerics_class(device: torch.device) -> str:
    """What the bits depend on besides the recipe: device, instruction set, torch build, threads, precision, devices."""
    if device.type == "cuda":
        model, level, threads = torch.cuda.get_device_name(device), "cuda", 0
    else:
        model, level, threads = cpu_model(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{model} | {level} | torch {torch.__version__} | {threads} threads | fp32 | 1 device"


@cache
def cpu_model() -> str:
    """The processor's name as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
