"""Layers of ProGAN (arXiv:1710.10196): equalized learning rate, pixel norm, minibatch standard deviation.

B batch, C channels, H height, W width, F features, K kernel size
"""

import hashlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2f.convolution import conv2d


class EqualizedConv2d(nn.Module):
    """A convolution whose weights are N(0, 1) and scaled by He's constant at each use (ProGAN section 4.1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, padding: int = 0, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.padding = padding
        self.scale = gain / math.sqrt(inputs * kernel * kernel)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return conv2d(x_BCHW, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedUpConv2d(EqualizedConv2d):
    """`upsample`, then a 3x3 convolution with padding 1, in one: 4 / 9 of the multiplications.

    Of the nine pixels under the kernel only four differ, so their weights can be summed beforehand. What is left is a
    transposed convolution with a 4x4 kernel and stride 2 (ProGAN's own code does the same).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def upsampling_kernels(self) -> Tensor:
        """The kernels of the transposed convolution: [inputs, outputs, 4, 4]."""
        outputs, inputs = self.weight.shape[:2]
        # Along one side the kernel of weights a b c becomes c, b + c, a + b, a.
        side_34 = self.weight.new_tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
        sums = torch.einsum("au,bv->abuv", side_34, side_34).mul_(self.scale).reshape(9, 16)
        return (self.weight.permute(1, 0, 2, 3).reshape(-1, 9) @ sums).reshape(inputs, outputs, 4, 4)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return functional.conv_transpose2d(x_BCHW, self.upsampling_kernels(), self.bias, stride=2, padding=1)


class EqualizedLinear(nn.Module):
    """A linear layer with the same scaling."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x_BF: Tensor) -> Tensor:
        return functional.linear(x_BF, self.weight * self.scale, self.bias)


def leaky_relu(x: Tensor) -> Tensor:
    """Slope 0.2 below 0. Overwrites x, which must be a layer's fresh output: nothing else of it is needed later."""
    return functional.leaky_relu(x, 0.2, inplace=True)


def pixel_norm(x: Tensor) -> Tensor:
    """x divided by the root mean square over dimension 1: each pixel's feature vector gets unit length (eq. in 4.2)."""
    return _PixelNorm.apply(x)[0]


class _PixelNorm(torch.autograd.Function):
    """Written out since it is bound by memory: plain PyTorch goes over the picture more than twice as often.

    The factor is an output too, so that the backward pass is made of outputs and can itself be differentiated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        # The squares are summed in float32, whatever x is.
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        factor = torch.rsqrt(length.square_().div_(x.shape[1]).add_(1e-8)).to(x.dtype)
        y = x * factor
        ctx.save_for_backward(y, factor)
        return y, factor

    @staticmethod
    def backward(ctx: Any, gy: Tensor, gfactor: Tensor) -> Tensor:
        """With s the factor, ds/dx_i = -s^3 x_i / C, so gx = s (gy - y mean(gy y)), and -gs s^2 y / C from s itself."""
        y, factor = ctx.saved_tensors
        along = (gy * y).mean(dim=1, keepdim=True) + gfactor * factor / y.shape[1]
        return torch.addcmul(gy, y, along, value=-1) * factor


def minibatch_stddev(x_BCHW: Tensor, group: int) -> Tensor:
    """One more channel: the standard deviation over a group of images, averaged over features and pixels (section 3).

    Groups are runs of `group` neighbouring images; where the batch does not divide, the whole batch is one group.
    """
    batch, channels, height, width = x_BCHW.shape
    size = group if batch % group == 0 else batch
    # In float32: squares of differences are what bfloat16 is worst at.
    grouped = x_BCHW.float().reshape(batch // size, size, channels, height, width)
    # Not Tensor.var, which takes ten times as long over a dimension that is not the last.
    variance = (grouped - grouped.mean(dim=1, keepdim=True)).square().mean(dim=1)
    deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat_interleave(size).reshape(batch, 1, 1, 1).expand(batch, 1, height, width)
    return torch.cat([x_BCHW, channel.to(x_BCHW.dtype)], dim=1)


def upsample(x_BCHW: Tensor) -> Tensor:
    """Twice as large, each pixel repeated."""
    return functional.interpolate(x_BCHW, scale_factor=2, mode="nearest")


def downsample(x_BCHW: Tensor) -> Tensor:
    """Half as large, 2x2 means."""
    return functional.avg_pool2d(x_BCHW, 2)


def initialise(module: nn.Module, *, seed: int, prefix: str) -> None:
    """Fill every parameter from (seed, its full name): nothing depends on which other layers exist or were made before.

    Equalized layers draw N(0, 1) and zero biases; an LSTM keeps PyTorch's U(-1/sqrt(hidden), 1/sqrt(hidden)) and an
    embedding N(0, 1).
    """
    for name, parameter in module.named_parameters():
        generator = torch.Generator().manual_seed(stream_seed(seed, f"{prefix}.{name}"))
        owner = module.get_submodule(name.rpartition(".")[0])
        with torch.no_grad():
            if isinstance(owner, nn.LSTM):
                bound = 1 / math.sqrt(owner.hidden_size)
                parameter.uniform_(-bound, bound, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(generator=generator)


def stream_seed(seed: int, name: str) -> int:
    """A 63-bit seed for one named stream of random numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
