"""The generator for drawing alone: the same function, with all that training needs folded away.

B batch, Z latent, F features, R resolution in px

Scales of equalized layers and summed upsampling kernels are multiplied out once, and every step overwrites what it no
longer needs. The pictures are those of `Generator` at alpha 1, up to the order of sums.
"""

import torch
from torch import Tensor
from torch.nn import functional

from t2f.layers import EqualizedConv2d, EqualizedUpConv2d, leaky_relu
from t2f.networks import Generator

# Faces at 64 px whose feature maps are in memory at once: more fall out of the processor's cache.
FACES_AT_64_PX = 16


def faces_at_once(resolution: int) -> int:
    """How many faces are best drawn in one pass."""
    return max(1, min(256, FACES_AT_64_PX * 64**2 // resolution**2))


class FrozenGenerator:
    """A generator at alpha 1 whose weights no longer change."""

    @torch.no_grad()
    def __init__(self, generator: Generator) -> None:
        first = generator.first
        self._first = (first.weight * first.scale, first.bias)
        self._first_conv = _folded(generator.first_conv)
        self._blocks = [(_folded(block.conv1), _folded(block.conv2)) for block in generator.blocks.values()]
        self._to_rgb = _folded(generator.to_rgb[str(generator.resolution)])

    @torch.no_grad()
    def __call__(self, latent_BZ: Tensor) -> Tensor:
        """images_B3RR from latent_BZ, which is left as it is; values about [-1, 1], not clamped."""
        x = functional.linear(_normalise(latent_BZ.clone()), *self._first).reshape(len(latent_BZ), -1, 4, 4)
        x = _activate(x.contiguous(memory_format=torch.channels_last))
        x = _activate(functional.conv2d(x, *self._first_conv, padding=1))
        for up, conv in self._blocks:
            x = _activate(functional.conv_transpose2d(x, *up, stride=2, padding=1))
            x = _activate(functional.conv2d(x, *conv, padding=1))
        return functional.conv2d(x, *self._to_rgb)


def to_pixels(images_B3RR: Tensor) -> Tensor:
    """uint8 pictures of images in [-1, 1], which are overwritten."""
    return images_B3RR.clamp_(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)


def _folded(layer: EqualizedConv2d) -> tuple[Tensor, Tensor]:
    """The kernels as they are multiplied with, and the bias."""
    weight = layer.upsampling_kernels() if isinstance(layer, EqualizedUpConv2d) else layer.weight * layer.scale
    return weight.contiguous(memory_format=torch.channels_last), layer.bias.detach()


def _activate(x_BFRR: Tensor) -> Tensor:
    return _normalise(leaky_relu(x_BFRR))


def _normalise(x: Tensor) -> Tensor:
    """`pixel_norm`, in place."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x.mul_(length.square_().div_(x.shape[1]).add_(1e-8).rsqrt_())
