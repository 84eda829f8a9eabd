"""Distances between sets of images; all take uint8 images_N3RR and compare sets of equal size.

N images, R resolution in px, P patches, D directions, L values of a descriptor

Sliced Wasserstein distances are means of absolute differences between sorted projections, times 1000.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

PATCH = 7  # px on a side (ProGAN section 5)
PATCHES_PER_IMAGE = 128
DIRECTIONS = 512  # 4 x 128
SMALLEST_PYRAMID = 16  # px; below it the pyramid is undefined and pixels are compared instead


def sliced_wasserstein(reals_NL: Tensor, fakes_NL: Tensor, *, directions: int, seed: int) -> float:
    """Mean over random unit directions of the 1-D Wasserstein distance between projections, times 1000."""
    random = torch.Generator().manual_seed(seed)
    total, chunk = 0.0, 64  # directions at once: bounds the memory
    for start in range(0, directions, chunk):
        width = min(chunk, directions - start)
        axes_LD = functional.normalize(torch.randn(reals_NL.shape[1], width, generator=random), dim=0)
        # NumPy's vectorised sort is several times faster than torch's on a CPU.
        reals_DN = np.sort((axes_LD.T @ reals_NL.T).numpy(), axis=1)
        fakes_DN = np.sort((axes_LD.T @ fakes_NL.T).numpy(), axis=1)
        total += float(np.abs(reals_DN - fakes_DN).mean(axis=1, dtype=np.float64).sum())
    return total / directions * 1e3


def pixel_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Sliced Wasserstein distance of whole images as vectors in [0, 1]: for 4 and 8 px."""
    reals_NL, fakes_NL = (images.flatten(1).float() / 255 for images in (reals_N3RR, fakes_N3RR))
    return sliced_wasserstein(reals_NL, fakes_NL, directions=directions, seed=seed)


def laplacian_swd(reals_N3RR: Tensor, fakes_N3RR: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """ProGAN's SWD: 7x7 patches of each level of a Laplacian pyramid down to 16 px, averaged over levels."""
    levels = zip(laplacian_pyramid(reals_N3RR.float()), laplacian_pyramid(fakes_N3RR.float()), strict=True)
    distances = []
    for level, (reals, fakes) in enumerate(levels):
        # The same places for both sets: their difference is then not one of places.
        random = torch.Generator().manual_seed(seed + level)
        places = patch_places(len(reals), reals.shape[-1], random)
        distances.append(
            sliced_wasserstein(
                normalised_patches(reals, places), normalised_patches(fakes, places), directions=directions, seed=seed
            )
        )
    return sum(distances) / len(distances)


def laplacian_pyramid(images_N3RR: Tensor) -> list[Tensor]:
    """Details at R, R/2, ... and the remainder at 16 px."""
    pyramid, current = [], images_N3RR
    while current.shape[-1] > SMALLEST_PYRAMID:
        smaller = _blur(current)[:, :, ::2, ::2]
        zeros = torch.zeros_like(current)
        zeros[:, :, ::2, ::2] = smaller
        pyramid.append(current - _blur(zeros) * 4)
        current = smaller
    return [*pyramid, current]


def _blur(images_N3RR: Tensor) -> Tensor:
    """The binomial kernel [1 4 6 4 1] outer itself / 256, edges mirrored."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = functional.pad(images_N3RR, (2, 2, 2, 2), mode="reflect")
    horizontal = functional.conv2d(padded, row.expand(3, 1, 1, 5), groups=3)
    return functional.conv2d(horizontal, row.reshape(5, 1).expand(3, 1, 5, 1), groups=3)


def patch_places(num_images: int, resolution: int, random: torch.Generator) -> Tensor:
    """int64 corners_NP2 (row, column) of random patches."""
    return torch.randint(resolution - PATCH + 1, (num_images, PATCHES_PER_IMAGE, 2), generator=random)


def normalised_patches(images_N3RR: Tensor, places_NP2: Tensor) -> Tensor:
    """descriptors_PL: patches in which each channel has mean 0 and deviation 1 over the whole set."""
    steps = torch.arange(PATCH)
    rows = places_NP2[:, :, 0, None, None] + steps[:, None]
    columns = places_NP2[:, :, 1, None, None] + steps[None, :]
    images = torch.arange(len(images_N3RR))[:, None, None, None]
    patches_NPYXC = images_N3RR.permute(0, 2, 3, 1)[images, rows, columns]
    patches = patches_NPYXC.flatten(0, 1)
    mean, deviation = patches.mean(dim=(0, 1, 2)), patches.std(dim=(0, 1, 2), unbiased=False)
    return ((patches - mean) / (deviation + 1e-8)).flatten(1)


COLOUR_BINS = 8  # a channel


def colour_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor) -> float:
    """Hellinger distance of the joint RGB histograms, 0 (equal) to 1 (no colour in common).

    SWD normalises each set by its own mean and cannot see that all colours are off; this can.
    """
    overlap = (colour_histogram(reals_N3RR).sqrt() * colour_histogram(fakes_N3RR).sqrt()).sum()
    return float((1 - overlap).clamp(min=0).sqrt())


def colour_histogram(images_N3RR: Tensor) -> Tensor:
    """Shares of 8x8x8 colours that sum to 1; a value between two bin centres counts for both, so bins have no edges."""
    places_3P = images_N3RR.permute(1, 0, 2, 3).flatten(1).float() / 255 * (COLOUR_BINS - 1)
    low_3P = places_3P.floor().clamp(max=COLOUR_BINS - 2)
    part_3P = places_3P - low_3P
    low_3P = low_3P.long()
    histogram = torch.zeros(COLOUR_BINS**3, dtype=torch.float64)
    for corner in range(8):
        index, weight = 0, torch.ones(places_3P.shape[1])
        for channel in range(3):
            high = corner >> channel & 1
            index = index * COLOUR_BINS + low_3P[channel] + high
            weight = weight * (part_3P[channel] if high else 1 - part_3P[channel])
        histogram.index_add_(0, index, weight.double())
    return histogram / histogram.sum()


def image_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """The structural distance of this resolution: SWD from 16 px on, pixel-space below."""
    if reals_N3RR.shape[-1] >= SMALLEST_PYRAMID:
        return laplacian_swd(reals_N3RR, fakes_N3RR, directions=directions, seed=seed)
    return pixel_distance(reals_N3RR, fakes_N3RR, directions=directions, seed=seed)
