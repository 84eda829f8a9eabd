"""Discriminator augmentation: the transforms of DiffAugment (arXiv:2006.10738), each applied with a probability (ADA).

B batch, R resolution in px, N random numbers a row, P = R * R pixels

D sees nothing but transformed images, and G learns through the transform: `apply` is differentiable. The real, the
mismatched and the generated image of one row take the same transform, drawn once by `draw_transform`. At strength 1
this is DiffAugment (section 3.2; ranges and order of its published code); below, each kind is applied to a row with
probability `strength`, as in ADA (arXiv:2006.06676, section 2.3), and `next_strength` is ADA's controller.

Every kind is an affine map of an image's pixels, so its second derivative is zero and a transform commutes with mixing
two images.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

# In the order of application, as published; each has one number a row that decides whether the row is touched.
KINDS = ("color", "translation", "cutout")
# One for each kind, three for the colours, row and column of the shift, row and column of the cutout.
NUMBERS_PER_ROW = len(KINDS) + 7


@dataclass(frozen=True, kw_only=True)
class Transform:
    """What one batch drew, an entry a row; a row that a kind does not touch has that kind's neutral values."""

    kinds: frozenset[str]  # those that may touch a row; empty: `apply` does nothing
    resolution: int  # of the images that it is for, since shift and cutout are in px
    brightness_B: Tensor  # float32, added, in [-.5, .5); neutral 0
    saturation_B: Tensor  # float32, factor of the distance to the pixel's own grey, in [0, 2); neutral 1
    contrast_B: Tensor  # float32, factor of the distance to the image's mean, in [.5, 1.5); neutral 1
    shift_B2: Tensor  # int64, px down and to the right, within an eighth of the side; neutral 0
    cutout_B2: Tensor  # int64, first row and column of the square, in [-R/4, 3R/4]; neutral R, beyond the edge

    def rows(self, which: slice) -> "Transform":
        """The transform of these rows of the batch, sharing memory."""
        tensors = {name: value[which] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **tensors)


def draw_transform(
    batch: int,
    resolution: int,
    *,
    kinds: frozenset[str],
    strength: float,
    generator: torch.Generator,
    device: torch.device | str,
) -> Transform:
    """A transform for `batch` images of `resolution` px, each of `kinds` touching a row with probability `strength`.

    kinds: of KINDS. strength: in [0, 1]. generator: on any device; it yields the same NUMBERS_PER_ROW numbers a row
    whatever the kinds and the strength, so that one kind turned off changes nothing for the others.
    """
    assert kinds <= set(KINDS)
    uniform_BN = torch.rand(batch, NUMBERS_PER_ROW, generator=generator, device=generator.device, dtype=torch.float32)
    applied_BN, color_BN, shift_BN, cutout_BN = uniform_BN.to(device).split([len(KINDS), 3, 2, 2], dim=1)
    color_B, translation_B, cutout_B = (
        (applied_B < strength) & (kind in kinds) for kind, applied_B in zip(KINDS, applied_BN.unbind(1), strict=True)
    )
    brightness_B, saturation_B, contrast_B = color_BN.unbind(1)
    # An eighth of the side, halves rounded up: 1 px at 4 px, where rounding down would leave nothing to move.
    reach = math.floor(resolution / 8 + 0.5)
    shift_B2 = (shift_BN * (2 * reach + 1)).long() - reach
    # The square's centre is uniform over the image's pixel corners, edges included, so up to 3/4 of it may lie outside.
    cutout_B2 = (cutout_BN * (resolution + 1)).long() - resolution // 4
    return Transform(
        kinds=kinds if strength > 0 else frozenset(),
        resolution=resolution,
        brightness_B=torch.where(color_B, brightness_B - 0.5, 0.0),
        saturation_B=torch.where(color_B, saturation_B * 2, 1.0),
        contrast_B=torch.where(color_B, contrast_B + 0.5, 1.0),
        shift_B2=torch.where(translation_B[:, None], shift_B2, 0),
        cutout_B2=torch.where(cutout_B[:, None], cutout_B2, resolution),
    )


def apply(transform: Transform, images_B3RR: Tensor) -> Tensor:
    """The images transformed row by row, of the same shape and type.

    images_B3RR: about [-1, 1]; colours may leave that range, as in DiffAugment. What a shift uncovers and what is cut
    out is 0, which is mid grey: zero padding as published, where ADA would reflect. With no kinds or at strength 0 the
    result is `images_B3RR` itself.
    """
    assert images_B3RR.shape == (len(transform.brightness_B), 3, transform.resolution, transform.resolution)
    if "color" in transform.kinds:
        images_B3RR = _recolor(transform, images_B3RR)
    if "translation" in transform.kinds:
        images_B3RR = _roll(images_B3RR, transform.shift_B2)
    if "translation" in transform.kinds or "cutout" in transform.kinds:
        images_B3RR = images_B3RR * _kept(transform).to(images_B3RR.dtype)
    return images_B3RR


def _recolor(transform: Transform, images_B3RR: Tensor) -> Tensor:
    """Brightness, saturation, contrast, one after the other, in one pass.

    With pixel x, its grey m = mean of its channels and the image's mean M, y = x + b, z = s y + (1 - s) grey(y) and
    c z + (1 - c) mean(z) come to c s x + c (1 - s) m + (1 - c) M + b: saturation keeps every grey, contrast the mean.
    """
    dtype = images_B3RR.dtype
    brightness_B111, saturation_B111, contrast_B111 = (
        value_B.to(dtype).reshape(-1, 1, 1, 1)
        for value_B in (transform.brightness_B, transform.saturation_B, transform.contrast_B)
    )
    grey_B1RR = images_B3RR.mean(dim=1, keepdim=True)
    mean_B111 = grey_B1RR.mean(dim=(2, 3), keepdim=True)
    same_for_channels_B1RR = (
        contrast_B111 * (1 - saturation_B111) * grey_B1RR + (1 - contrast_B111) * mean_B111 + brightness_B111
    )
    return torch.addcmul(same_for_channels_B1RR, images_B3RR, contrast_B111 * saturation_B111)


def _roll(images_B3RR: Tensor, shift_B2: Tensor) -> Tensor:
    """Each image rolled down and to the right, what leaves on one side entering on the other.

    Rolling permutes the pixels, so the gradient's scatter never adds two of them: same bits on every device.
    """
    batch, channels, resolution, _ = images_B3RR.shape
    pixels_R = torch.arange(resolution, device=images_B3RR.device)
    row_BR, column_BR = ((pixels_R - shift_B2[:, :, None]) % resolution).unbind(1)
    source_B1P = (row_BR[:, :, None] * resolution + column_BR[:, None, :]).reshape(batch, 1, -1)
    return images_B3RR.flatten(2).gather(2, source_B1P.expand(-1, channels, -1)).reshape(images_B3RR.shape)


def _kept(transform: Transform) -> Tensor:
    """kept_B1RR: False where the shift moved a pixel in from beyond the edge, and in the square that is cut out."""
    resolution = transform.resolution
    pixels_R = torch.arange(resolution, device=transform.shift_B2.device)
    source_B2R = pixels_R - transform.shift_B2[:, :, None]
    inside_B2R = (source_B2R >= 0) & (source_B2R < resolution)
    square_B2R = pixels_R - transform.cutout_B2[:, :, None]
    cut_B2R = (square_B2R >= 0) & (square_B2R < resolution // 2)
    inside_BRR = inside_B2R[:, 0, :, None] & inside_B2R[:, 1, None, :]
    cut_BRR = cut_B2R[:, 0, :, None] & cut_B2R[:, 1, None, :]
    return (inside_BRR & ~cut_BRR)[:, None]


def next_strength(strength: float, *, sign_mean: float, target: float, images: int, images_for_full: float) -> float:
    """The strength after `images` more real images, one step of ADA's controller (arXiv:2006.06676, section 3).

    sign_mean: r_t = E[sign(D(real))] (eq. 1), in [-1, 1]: 0 where D does not tell its training images from generated
    ones, 1 where it knows them all. Above `target` the strength grows, below it falls, by images / images_for_full; it
    stays within [0, 1], where the paper clamps from below only, since above 1 nothing would change but the way back.
    It is made for the logistic loss, which fixes what the sign means; a Wasserstein critic's zero is arbitrary.
    """
    change = images / images_for_full
    if sign_mean > target:
        return min(strength + change, 1.0)
    if sign_mean < target:
        return max(strength - change, 0.0)
    return strength
