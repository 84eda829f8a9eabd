"""A 2-d convolution whose second derivatives cost what its first ones do.

PyTorch differentiates a convolution's backward pass with respect to the weights as a convolution with a kernel as large
as the picture, which no library is made for. Here all derivatives of any order are made of the same three operations,
each bilinear, so each one's derivatives are the other two:

    y = convolve(x, w)    gx = input_gradient(gy, w)    gw = weight_gradient(gy, x)

B batch, I input channels, O output channels, H height, W width, K kernel size
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_weights_matter = True


@contextmanager
def input_gradients_only() -> Iterator[None]:
    """Inside, a backward pass computes no gradients of weights and biases (they stay None).

    For torch.autograd.grad with respect to pictures: a Function written in Python cannot see that nobody asks for the
    others.
    """
    global _weights_matter
    before, _weights_matter = _weights_matter, False
    try:
        yield
    finally:
        _weights_matter = before


def conv2d(x_BIHW: Tensor, weight_OIKK: Tensor, bias_O: Tensor | None, *, padding: int) -> Tensor:
    """torch.nn.functional.conv2d of stride 1, in autocast's precision where that is on."""
    device = x_BIHW.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x_BIHW, weight_OIKK = x_BIHW.to(dtype), weight_OIKK.to(dtype)
        bias_O = None if bias_O is None else bias_O.to(dtype)
    return _Convolve.apply(x_BIHW, weight_OIKK, bias_O, padding)


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return torch.ops.aten.convolution(x, weight, bias, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        if not torch.is_grad_enabled():
            # Nobody will differentiate this: one call, in which the bias's gradient comes along with the weight's.
            mask = [needs_x, needs_weight and _weights_matter, needs_bias and _weights_matter]
            return *_backward(gy, x, weight, ctx.padding, mask), None
        gx = _InputGradient.apply(gy, weight, x, ctx.padding) if needs_x else None
        gw = _WeightGradient.apply(gy, x, weight, ctx.padding) if needs_weight and _weights_matter else None
        gb = gy.sum(dim=(0, 2, 3)) if needs_bias and _weights_matter else None
        return gx, gw, gb, None


class _InputGradient(Function):
    """x gives the shape and memory format only."""

    @staticmethod
    def forward(ctx: Any, gy: Tensor, weight: Tensor, x: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(gy, weight)
        ctx.padding = padding
        return _backward(gy, x, weight, padding, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, ggx: Tensor) -> tuple[Tensor | None, ...]:
        gy, weight = ctx.saved_tensors
        needs_gy, needs_weight, _, _ = ctx.needs_input_grad
        ggy = _Convolve.apply(ggx, weight, None, ctx.padding) if needs_gy else None
        gw = _WeightGradient.apply(gy, ggx, weight, ctx.padding) if needs_weight and _weights_matter else None
        return ggy, gw, None, None


class _WeightGradient(Function):
    """weight gives the shape and memory format only."""

    @staticmethod
    def forward(ctx: Any, gy: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(gy, x)
        ctx.padding = padding
        return _backward(gy, x, weight, padding, [False, True, False])[1]

    @staticmethod
    def backward(ctx: Any, ggw: Tensor) -> tuple[Tensor | None, ...]:
        gy, x = ctx.saved_tensors
        needs_gy, needs_x, _, _ = ctx.needs_input_grad
        ggy = _Convolve.apply(x, ggw, None, ctx.padding) if needs_gy else None
        gx = _InputGradient.apply(gy, ggw, x, ctx.padding) if needs_x else None
        return ggy, gx, None, None


def _backward(
    gy: Tensor, x: Tensor, weight: Tensor, padding: int, mask: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, weight and bias, of which the mask names the wanted ones."""
    bias_sizes = [len(weight)] if mask[2] else None
    return torch.ops.aten.convolution_backward(
        gy, x, weight, bias_sizes, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, mask
    )
