"""The generator for drawing alone: the same function, with all that training needs folded away.

B batch, Z latent, F features, R resolution in px

Scales of equalized layers and summed upsampling kernels are multiplied out once, and every step overwrites what it no
longer needs. The pictures are those of `FaceModel.draw` at alpha 1, up to the order of sums.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional

from t2f.layers import EqualizedConv2d, EqualizedUpConv2d, leaky_relu
from t2f.networks import Generator

# Faces of 64 px that are drawn in one pass: fewer leave threads waiting for each other, more fall out of the caches.
FACES_AT_64_PX = 32


def faces_at_once(resolution: int) -> int:
    """How many faces are best drawn in one pass."""
    return max(1, min(256, FACES_AT_64_PX * 64**2 // resolution**2))


class FrozenGenerator:
    """A generator at alpha 1 whose weights no longer change."""

    @torch.no_grad()
    def __init__(self, generator: Generator) -> None:
        self._resolution = generator.resolution
        first = generator.first
        self._first = (first.weight * first.scale, first.bias)
        self._first_conv = _folded(generator.first_conv)
        self._blocks = [(_folded(block.conv1), _folded(block.conv2)) for block in generator.blocks.values()]
        weight, bias = _folded(generator.to_rgb[str(generator.resolution)])
        # From [-1, 1] to grey levels, and half of one more, so that cutting off rounds.
        self._to_pixels = (127.5 * weight, (127.5 * bias + 128)[:, None, None])

    def draw_many(self, latent_NZ: Tensor) -> Tensor:
        """uint8 images_N3RR, as many faces in one pass as is best.

        On several cores each pass has one thread: together they draw more than passes that share theirs.
        """
        parts = latent_NZ.split(faces_at_once(self._resolution))
        threads = min(len(parts), torch.get_num_threads()) if latent_NZ.device.type == "cpu" else 1
        if threads == 1:
            return torch.cat([self.draw(part_BZ).contiguous() for part_BZ in parts])
        # The number of threads that is set in a thread is that thread's own.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(lambda part_BZ: self.draw(part_BZ).contiguous(), parts)))

    @torch.no_grad()
    def draw(self, latent_BZ: Tensor) -> Tensor:
        """uint8 images_B3RR from latent_BZ, which is left as it is."""
        x = functional.linear(_normalise(latent_BZ.clone()), *self._first).reshape(len(latent_BZ), -1, 4, 4)
        x = _normalise(leaky_relu(x.contiguous(memory_format=torch.channels_last)))
        x = leaky_relu(functional.conv2d(x, *self._first_conv, padding=1))
        for up, conv in self._blocks:
            x = leaky_relu(functional.conv_transpose2d(_normalise(x), *up, stride=2, padding=1))
            x = leaky_relu(functional.conv2d(_normalise(x), *conv, padding=1))
        # The last norm is a factor for each pixel: cheaper to multiply into three colours than into all features.
        weight, bias = self._to_pixels
        return functional.conv2d(x, weight).mul_(_factor(x)).add_(bias).clamp_(0, 255).to(torch.uint8)


def _folded(layer: EqualizedConv2d) -> tuple[Tensor, Tensor]:
    """The kernels as they are multiplied with, and the bias."""
    weight = layer.upsampling_kernels() if isinstance(layer, EqualizedUpConv2d) else layer.weight * layer.scale
    return weight.contiguous(memory_format=torch.channels_last), layer.bias.detach()


def _normalise(x: Tensor) -> Tensor:
    """`pixel_norm`, in place."""
    return x.mul_(_factor(x))


def _factor(x: Tensor) -> Tensor:
    """What gives each pixel's features unit length: [B, 1, R, R]."""
    return torch.linalg.vector_norm(x, dim=1, keepdim=True).square_().div_(x.shape[1]).add_(1e-8).rsqrt_()
