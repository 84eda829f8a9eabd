"""Which device a training uses, and the class of machines that give the same bits."""

import torch

from t2f.errors import SpecError
from t2f.precision import Precision, is_emulated
from t2f.processor import cpu_model


def configure(*, threads: int) -> None:
    """Fix the number of threads: left to the environment it would change the bits from one machine to the next."""
    torch.set_num_threads(threads)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def require_devices(count: int) -> None:
    """SpecError where a training on so many devices cannot be had here; without GPUs it runs in as many processes."""
    available = torch.cuda.device_count()
    if count < 1 or (available and count > available):
        allowed = f"1 to {available}, the GPUs of this machine" if available else "a whole number from 1"
        raise SpecError(f"--devices {count} is not allowed; it must be {allowed}")


def numerics_class(device: torch.device, *, precision: Precision = "fp32", devices: int = 1) -> str:
    """What the bits depend on besides the recipe: device, instruction set, torch build, threads, precision, devices."""
    if device.type == "cuda":
        model, level, threads = torch.cuda.get_device_name(device), "cuda", 0
    else:
        model, level, threads = cpu_model(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    kind = f"{precision} emulated" if is_emulated(precision, device) else precision
    count = f"{devices} device{'s' if devices > 1 else ''}"
    return f"{model} | {level} | torch {torch.__version__} | {threads} threads | {kind} | {count}"
