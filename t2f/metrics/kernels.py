"""Maximum mean discrepancies: squared distances between sets under a kernel, unbiased, so that they may be negative.

N and M vectors, F features
"""

import torch
from torch import Tensor


def unbiased_mmd(within_NN: Tensor, within_MM: Tensor, between_NM: Tensor) -> float:
    """MMD^2 from kernel values (Gretton et al. 2012, equation 3); the diagonals do not count."""

    def mean_off_diagonal(kernel_NN: Tensor) -> Tensor:
        count = len(kernel_NN)
        return (kernel_NN.sum() - kernel_NN.diagonal().sum()) / (count * (count - 1))

    if min(between_NM.shape) < 2:
        return float("nan")
    return float(mean_off_diagonal(within_NN) + mean_off_diagonal(within_MM) - 2 * between_NM.mean())


def gaussian_mmd(reals_NF: Tensor, fakes_MF: Tensor) -> float:
    """MMD^2 x 1000 under exp(-d^2 / (2 s^2)), where s is the median distance between reals."""
    reals, fakes = reals_NF.double(), fakes_MF.double()
    within = torch.cdist(reals, reals)
    pairs = within[torch.triu_indices(len(reals), len(reals), offset=1).unbind()]
    scale = 2 * float(pairs.median()) ** 2 if len(pairs) else 0.0
    if scale == 0:
        return float("nan")  # all reals are the same picture: there is no scale

    def kernel(distances: Tensor) -> Tensor:
        return torch.exp(-(distances**2) / scale)

    return 1e3 * unbiased_mmd(kernel(within), kernel(torch.cdist(fakes, fakes)), kernel(torch.cdist(reals, fakes)))


def kernel_inception_distance(reals_NF: Tensor, fakes_MF: Tensor) -> float:
    """KID (arXiv:1801.01401, section 4) x 1000: MMD^2 under (x.y / F + 1)^3, of whichever features are given."""
    reals, fakes = reals_NF.double(), fakes_MF.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    return 1e3 * unbiased_mmd(kernel(reals, reals), kernel(fakes, fakes), kernel(reals, fakes))
