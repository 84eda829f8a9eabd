"""The adversarial losses, matching-aware, each with its gradient penalty.

B batch, R resolution. A loss takes D's scores of three kinds of pairs: real images with their own captions (right),
real images with another image's caption (wrong), generated images with the caption they were made from (fake). In D's
loss they weigh 1, `mismatched_weight` and 1 - `mismatched_weight` (arXiv:1605.05396, algorithm 1): at full weight twice
the negatives would outweigh the positives and an unbounded critic's scores drift off.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from t2f.settings import LossSettings

# scores_B of images with the right captions.
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class PenaltyInputs:
    """What a gradient penalty may look at; both penalties differentiate D once more."""

    real: Tensor  # B3RR, requires a gradient
    right_B: Tensor  # D's scores of `real` with the right captions, their graph kept
    fake: Tensor  # B3RR, detached
    mix_B111: Tensor  # uniform in [0, 1)
    score: Score
    loss: LossSettings


@dataclass(frozen=True, kw_only=True)
class AdversarialLoss:
    """One entry of LOSSES: three functions of D's scores."""

    discriminator: Callable[[Tensor, Tensor, Tensor, LossSettings], Tensor]  # right_B, wrong_B, fake_B -> scalar
    generator: Callable[[Tensor], Tensor]  # fake_B -> scalar
    penalty: Callable[[PenaltyInputs], Tensor]  # -> scalar


def wasserstein_discriminator(right_B: Tensor, wrong_B: Tensor, fake_B: Tensor, loss: LossSettings) -> Tensor:
    """The critic's loss (arXiv:1704.00028 eq. 3, first part) with drift penalty (ProGAN section A.1)."""
    wrong, fake = loss.mismatched_weight, 1 - loss.mismatched_weight
    return wrong * wrong_B.mean() + fake * fake_B.mean() - right_B.mean() + loss.drift * right_B.square().mean()


def wasserstein_generator(fake_B: Tensor) -> Tensor:
    return -fake_B.mean()


def gradient_penalty(of: PenaltyInputs) -> Tensor:
    """lambda E[(|grad D(x)| - 1)^2] at random points between real and fake (arXiv:1704.00028 eq. 3, second part).

    The norm is taken over all channels and pixels of an image, in float32.
    """
    between = torch.lerp(of.real.detach(), of.fake, of.mix_B111).requires_grad_()
    (gradient,) = torch.autograd.grad(of.score(between).sum(), between, create_graph=True)
    norm_B = (gradient.float().square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()
    return of.loss.gradient_penalty * (norm_B - 1).square().mean()


def logistic_discriminator(right_B: Tensor, wrong_B: Tensor, fake_B: Tensor, loss: LossSettings) -> Tensor:
    """The non-saturating GAN's D loss (arXiv:1406.2661), softplus(-x) = -log sigmoid(x)."""
    wrong, fake = loss.mismatched_weight, 1 - loss.mismatched_weight
    negatives = wrong * functional.softplus(wrong_B).mean() + fake * functional.softplus(fake_B).mean()
    return negatives + functional.softplus(-right_B).mean()


def logistic_generator(fake_B: Tensor) -> Tensor:
    return functional.softplus(-fake_B).mean()


def r1_penalty(of: PenaltyInputs) -> Tensor:
    """gamma / 2 E[|grad D(x)|^2] at real images with their own captions (arXiv:1801.04406 eq. 9).

    It shares the forward pass of the loss itself.
    """
    (gradient,) = torch.autograd.grad(of.right_B.sum(), of.real, create_graph=True)
    return of.loss.r1_gamma / 2 * gradient.float().square().sum(dim=(1, 2, 3)).mean()


LOSSES: dict[str, AdversarialLoss] = {
    "wgan-gp": AdversarialLoss(
        discriminator=wasserstein_discriminator, generator=wasserstein_generator, penalty=gradient_penalty
    ),
    "logistic-r1": AdversarialLoss(
        discriminator=logistic_discriminator, generator=logistic_generator, penalty=r1_penalty
    ),
}
