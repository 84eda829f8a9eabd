"""Sliced Wasserstein distances (ProGAN, arXiv:1710.10196, section 5) between sets of equal size.

N images, R resolution in px, P patches, D directions, L values of a descriptor

Sliced Wasserstein distances are means of absolute differences between sorted projections, times 1000.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from t2f.portions import portion

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
        reals_DN, fakes_DN = (sorted_rows((axes_LD.T @ vectors_NL.T).numpy()) for vectors_NL in (reals_NL, fakes_NL))
        total += float(np.abs(reals_DN - fakes_DN).mean(axis=1, dtype=np.float64).sum())
    return total / directions * 1e3


def sorted_rows(values_DN: np.ndarray) -> np.ndarray:
    """Every row sorted, in place, by as many threads as torch has."""
    # NumPy's vectorised sort is several times faster than torch's on a CPU, and lets other threads run.
    parts = np.array_split(values_DN, torch.get_num_threads())
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda part: part.sort(axis=1), parts))
    return values_DN


def pixel_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Sliced Wasserstein distance of whole images as vectors in [0, 1]: for 4 and 8 px."""
    reals_NL, fakes_NL = (images.flatten(1).float() / 255 for images in (reals_N3RR, fakes_N3RR))
    return sliced_wasserstein(reals_NL, fakes_NL, directions=directions, seed=seed)


def laplacian_swd(
    reals_N3RR: Tensor, fakes_N3RR: Tensor, *, directions: int = DIRECTIONS, seed: int = 0
) -> dict[int, float]:
    """ProGAN's SWD: resolution of each level of a Laplacian pyramid, down to 16 px -> distance of 7x7 patches there.

    As in the paper's code; only that both sets' patches are cut at the same places, so that no part of their difference
    is one of places.
    """
    levels = zip(level_descriptors(reals_N3RR, seed), level_descriptors(fakes_N3RR, seed), strict=True)
    return {
        resolution: sliced_wasserstein(reals_PL, fakes_PL, directions=directions, seed=seed)
        for (resolution, reals_PL), (_, fakes_PL) in levels
    }


def level_descriptors(images_N3RR: Tensor, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Resolution and descriptors_PL of each level of the pyramid, the finest first.

    Of whole sets only the patches are held, and what is left for the next level, which is as large as the images.
    """
    current = images_N3RR
    for level in count():
        resolution = current.shape[-1]
        places = patch_places(len(current), resolution, torch.Generator().manual_seed(seed + level))
        found_PYXC, current = level_patches(current, places)
        yield resolution, normalised(found_PYXC)
        if current is None:
            return


def level_patches(images_N3RR: Tensor, places_NP2: Tensor) -> tuple[Tensor, Tensor | None]:
    """The details' patches_PYXC, and what is left for the next level; a portion of the images at a time."""
    resolution = images_N3RR.shape[-1]
    is_last = resolution == SMALLEST_PYRAMID
    rest_N3rr = None if is_last else torch.empty(len(images_N3RR), 3, resolution // 2, resolution // 2)
    found = []
    for rows in torch.arange(len(images_N3RR)).split(portion(resolution)):
        details, smaller = split_details(images_N3RR[rows].float())
        found.append(patches(details, places_NP2[rows]))
        if not is_last:
            rest_N3rr[rows] = smaller
    return torch.cat(found), rest_N3rr


def laplacian_pyramid(images_N3RR: Tensor) -> list[Tensor]:
    """Details at R, R/2, ... and the remainder at 16 px."""
    pyramid, current = [], images_N3RR
    while current is not None:
        details, current = split_details(current)
        pyramid.append(details)
    return pyramid


def split_details(images_N3RR: Tensor) -> tuple[Tensor, Tensor | None]:
    """The details, and the images at half the resolution that they are missing from; at 16 px all is detail."""
    if images_N3RR.shape[-1] == SMALLEST_PYRAMID:
        return images_N3RR, None
    down, up = smoothing_matrices(images_N3RR.shape[-1])
    smaller = down @ images_N3RR @ down.T
    return images_N3RR - up @ smaller @ up.T, smaller


@lru_cache
def smoothing_matrices(resolution: int) -> tuple[Tensor, Tensor]:
    """down [R/2, R] and up [R, R/2]: one row of the kernel [1 4 6 4 1] / 16, edges mirrored, at every second pixel.

    down keeps every second smoothed pixel; up smooths pixels between which zeros were put, twice as bright. Products
    with small matrices are many times faster on a CPU than convolutions of three channels.
    """
    smooth = torch.zeros(resolution, resolution)
    for pixel in range(resolution):
        for offset, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
            mirrored = resolution - 1 - abs(resolution - 1 - abs(pixel + offset))
            smooth[pixel, mirrored] += weight / 16
    return smooth[::2].contiguous(), 2 * smooth[:, ::2].contiguous()


def patch_places(num_images: int, resolution: int, random: torch.Generator) -> Tensor:
    """int64 corners_NP2 (row, column) of random patches."""
    return torch.randint(resolution - PATCH + 1, (num_images, PATCHES_PER_IMAGE, 2), generator=random)


def patches(images_N3RR: Tensor, places_NP2: Tensor) -> Tensor:
    """patches_PYXC of all images, whose upper left corners are at these places."""
    steps = torch.arange(PATCH)
    rows = places_NP2[:, :, 0, None, None] + steps[:, None]
    columns = places_NP2[:, :, 1, None, None] + steps[None, :]
    images = torch.arange(len(images_N3RR))[:, None, None, None]
    return images_N3RR.permute(0, 2, 3, 1)[images, rows, columns].flatten(0, 1)


def normalised(patches_PYXC: Tensor) -> Tensor:
    """descriptors_PL, in place: each channel has mean 0 and deviation 1 over the whole set."""
    mean, deviation = patches_PYXC.mean(dim=(0, 1, 2)), patches_PYXC.std(dim=(0, 1, 2), unbiased=False)
    return patches_PYXC.sub_(mean).div_(deviation + 1e-8).flatten(1)


def image_distance(reals_N3RR: Tensor, fakes_N3RR: Tensor) -> float:
    """The structural distance of this resolution: SWD, averaged over levels, from 16 px on, pixel-space below."""
    if reals_N3RR.shape[-1] < SMALLEST_PYRAMID:
        return pixel_distance(reals_N3RR, fakes_N3RR)
    levels = laplacian_swd(reals_N3RR, fakes_N3RR)
    return sum(levels.values()) / len(levels)
