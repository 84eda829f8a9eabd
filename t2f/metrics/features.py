"""Distances of sets of feature vectors: Frechet distance, precision and recall.

N and M vectors, F features
"""

import torch
from torch import Tensor

NEIGHBOURS = 3


def frechet_distance(reals_NF: Tensor, fakes_MF: Tensor) -> float:
    """Frechet distance of two Gaussians with the sets' means and covariances (arXiv:1706.08500, equation 6).

    Over Inception's pool features of many images this is the FID. Biased upwards for few images.
    """
    reals, fakes = reals_NF.double(), fakes_MF.double()
    if min(len(reals), len(fakes)) < 2:
        return float("nan")
    covariance_1, covariance_2 = torch.cov(reals.T), torch.cov(fakes.T)
    # trace sqrt(C1 C2) = trace sqrt(sqrt(C1) C2 sqrt(C1)), whose argument is symmetric.
    values, vectors = torch.linalg.eigh(covariance_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ covariance_2 @ root).clamp(min=0).sqrt().sum()
    means = (reals.mean(dim=0) - fakes.mean(dim=0)).square().sum()
    return max(0.0, float(means + covariance_1.trace() + covariance_2.trace() - 2 * both))


def precision_recall(reals_NF: Tensor, fakes_MF: Tensor) -> tuple[Tensor, Tensor]:
    """is_real_M and is_covered_N, bool, whose means are precision and recall (arXiv:1904.06991, equations 1 and 2).

    Precision: which fakes lie in a ball around a real that reaches to its third neighbour; recall: which reals lie in
    such a ball around a fake. Empty for fewer than 4 vectors.
    """
    if min(len(reals_NF), len(fakes_MF)) <= NEIGHBOURS:
        return torch.empty(0, dtype=torch.bool), torch.empty(0, dtype=torch.bool)
    between_NM = _distances(reals_NF, fakes_MF)
    radius_N, radius_M = _radii(reals_NF), _radii(fakes_MF)
    return (between_NM <= radius_N[:, None]).any(dim=0), (between_NM <= radius_M[None, :]).any(dim=1)


def _radii(vectors_NF: Tensor) -> Tensor:
    """Each vector's distance to its third neighbour, itself not counted."""
    return _distances(vectors_NF, vectors_NF).kthvalue(NEIGHBOURS + 1, dim=1).values


def _distances(ones_NF: Tensor, others_MF: Tensor) -> Tensor:
    return torch.cdist(ones_NF.double(), others_MF.double())
