"""Which numbers the networks compute in: float32, or bfloat16 where that loses nothing that training needs."""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
log = logging.getLogger(__name__)


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
    if device.type == "cpu" and not _onednn_has_bf16():
        return torch.autocast("cpu", enabled=False)
    return nullcontext()


@cache
def processor_multiplies_bf16() -> bool:
    """Whether this processor has instructions for it; on another one bfloat16 is emulated, many times slower."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def is_emulated(precision: Precision, device: torch.device) -> bool:
    """Whether this precision costs time on this device instead of saving it."""
    return precision == "bf16" and device.type == "cpu" and not processor_multiplies_bf16()


@cache  # said once a process
def warn_if_emulated(precision: Precision, device: torch.device) -> None:
    if is_emulated(precision, device):
        log.warning(
            "compute.precision: bf16 is emulated on this processor, which has neither avx512_bf16 nor AMX: "
            "fp32 is many times faster here"
        )


@cache
def _onednn_has_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
