"""Which numbers a training computes with."""

import torch


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for forward passes: under "bf16" convolutions and matrix products take bfloat16, weights stay float32.

    bfloat16 has float32's range, so no loss scaling is needed.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
