"""Which numbers the networks compute in: float32, or bfloat16 where that loses nothing that training needs."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: torch.device | str) -> AbstractContextManager:
    """A context in which convolutions and matrix products run in this precision; weights and sums stay float32.

    Scores, the minibatch standard deviation, pixel norm's sums and the penalties' norms are float32 in both, by code
    where they are computed.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def lstm_autocast(device: torch.device) -> AbstractContextManager:
    """For an LSTM inside `autocast`: on a CPU that knows no bfloat16 oneDNN has none in it, and it runs in float32."""
    if device.type == "cpu" and not _multiplies_bf16():
        return torch.autocast("cpu", enabled=False)
    return nullcontext()


@cache
def _multiplies_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
