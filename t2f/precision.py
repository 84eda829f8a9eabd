"""Which numbers the networks compute in: float32, or bfloat16 where that loses nothing that training needs."""

from contextlib import AbstractContextManager, nullcontext
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
