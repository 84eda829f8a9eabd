"""How near faces are to training images, and to each other: what copies and what repeats itself.

Pictures are compared pixel by pixel at 16 px or less, where details and noise no longer hide a copy.

N images, T training images, V pixels and channels
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

RESOLUTION = 16  # px at most
CHUNK = 4096  # training images at once
# A face counts as a copy where its nearest training image is this near: a share of held-out reals' median distance, ...
COPY = 0.35
# ... and nearer than all but this share of the held-out reals themselves are, some of which may be near duplicates.
RARE = 0.01


def small_pictures(images_N3RR: Tensor) -> Tensor:
    """vectors_NV in 0..1: the pictures at 16 px or less, by means of 2x2, 4x4 ... pixels."""
    resolution = images_N3RR.shape[-1]
    images = images_N3RR.float()
    if resolution > RESOLUTION:
        images = functional.avg_pool2d(images, resolution // RESOLUTION)
    return images.flatten(1) / 255


def nearest_training(vectors_NV: Tensor, training_T3RR: np.ndarray) -> Tensor:
    """distance_N to the nearest training image, mirrored or not; the images are of the vectors' resolution."""
    best_N = torch.full((len(vectors_NV),), torch.inf)
    resolution = training_T3RR.shape[-1]
    mirrored_NV = vectors_NV.reshape(-1, 3, resolution, resolution).flip(3).flatten(1)
    for start in range(0, len(training_T3RR), CHUNK):
        chunk_TV = torch.tensor(training_T3RR[start : start + CHUNK], dtype=torch.float32).flatten(1) / 255
        for ours_NV in (vectors_NV, mirrored_NV):
            found_N = torch.cdist(ours_NV, chunk_TV, compute_mode="use_mm_for_euclid_dist").min(dim=1).values
            best_N = torch.minimum(best_N, found_N)
    return best_N


def copies(distance_N: Tensor, reals_distance_N: Tensor) -> Tensor:
    """bool_N: which faces are copies of training images, judged by how near held-out reals are."""
    rare = float(torch.quantile(reals_distance_N, RARE))
    return distance_N < min(COPY * float(reals_distance_N.median()), rare)


def nearest_other(vectors_NV: Tensor) -> float:
    """The median distance of a picture to the nearest other one of the same set."""
    if len(vectors_NV) < 2:
        return float("nan")
    distances_NN = torch.cdist(vectors_NV, vectors_NV)
    return float(distances_NN.fill_diagonal_(torch.inf).min(dim=1).values.median())
