"""MS-SSIM: how alike two pictures are in structure; between pictures of one set it tells how little they vary.

As in the TensorFlow models' code that ProGAN used: 5 scales, an 11x11 Gaussian window that shrinks with small pictures,
exponents of Wang, Simoncelli and Bovik (2003), no padding.

N pairs, R resolution in px
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from t2f.portions import portion

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from the finest scale to the coarsest
WINDOW, SIGMA = 11, 1.5  # px
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(ones_N3RR: Tensor, others_N3RR: Tensor) -> Tensor:
    """float64 similarity_N of pairs of pictures in 0..255, 1 for equal ones; from 16 px on."""
    size = portion(ones_N3RR.shape[-1])
    pairs = zip(ones_N3RR.split(size), others_N3RR.split(size), strict=True)
    return torch.cat([_ms_ssim(ones.float(), others.float()) for ones, others in pairs])


def _ms_ssim(ones: Tensor, others: Tensor) -> Tensor:
    product_N = torch.ones(len(ones), dtype=torch.float64)
    for scale, weight in enumerate(WEIGHTS):
        similarity_N, contrast_N = _ssim(ones, others)
        factor_N = similarity_N if scale == len(WEIGHTS) - 1 else contrast_N
        product_N *= factor_N.double().clamp(min=0) ** weight  # a negative base has no power
        if scale < len(WEIGHTS) - 1:
            ones, others = functional.avg_pool2d(ones, 2), functional.avg_pool2d(others, 2)
    return product_N


def _ssim(ones_N3RR: Tensor, others_N3RR: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its part of contrast and structure, each averaged over a picture."""
    stacked = torch.cat([ones_N3RR, others_N3RR, ones_N3RR**2, others_N3RR**2, ones_N3RR * others_N3RR])
    mean_1, mean_2, square_1, square_2, product = _window(stacked).chunk(5)
    variance = square_1 - mean_1**2 + square_2 - mean_2**2
    covariance = product - mean_1 * mean_2
    contrast = (2 * covariance + C2) / (variance + C2)
    luminance = (2 * mean_1 * mean_2 + C1) / (mean_1**2 + mean_2**2 + C1)
    return (luminance * contrast).mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _window(images_N3RR: Tensor) -> Tensor:
    """Gaussian means without padding; the window is no larger than the picture, and its sigma shrinks with it."""
    matrix = _window_matrix(images_N3RR.shape[-1])
    return matrix @ images_N3RR @ matrix.T


@lru_cache
def _window_matrix(resolution: int) -> Tensor:
    """[R - size + 1, R]: one row of the window at each of its places."""
    size = min(WINDOW, resolution)
    sigma = SIGMA * size / WINDOW
    distance = torch.arange(size) - (size - 1) / 2
    row = torch.exp(-(distance**2) / (2 * sigma**2))
    matrix = torch.zeros(resolution - size + 1, resolution)
    for place in range(len(matrix)):
        matrix[place, place : place + size] = row / row.sum()
    return matrix
