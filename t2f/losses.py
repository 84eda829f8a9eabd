"""The adversarial losses, matching-aware, each with its gradient penalty.

B batch, R resolution. A loss takes D's scores of three kinds of pairs: real images with their own captions (right),
real images with another image's caption (wrong), generated images with the caption they were made from (fake). In D's
loss they weigh 1, `mismatched_weight` and 1 - `mismatched_weight` (arXiv:1605.05396, algorithm 1): at full weight twice
the negatives would outweigh the positives and an unbounded critic's scores drift off. An image without a caption has no
wrong one: its fake weighs 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from t2f.convolution import input_gradients_only
from t2f.settings import LossSettings

# scores_B of images with the right captions.
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """D's scores of one batch, float32, and what its negatives weigh."""

    right_B: Tensor
    fake_B: Tensor
    wrong_B: Tensor | None  # None where no row has a wrong caption
    wrong_weight_B: Tensor  # in [0, 1]; a row's fake has the rest of 1

    def negatives(self, wrong_cost_B: Tensor | None, fake_cost_B: Tensor) -> Tensor:
        """The weighted mean of what mismatched and generated pairs cost."""
        total_B = (1 - self.wrong_weight_B) * fake_cost_B
        if wrong_cost_B is not None:
            total_B = total_B + self.wrong_weight_B * wrong_cost_B
        return total_B.mean()


@dataclass(frozen=True, kw_only=True)
class PenaltyInputs:
    """What a gradient penalty may look at; all penalties differentiate D once more."""

    real: Tensor  # B3RR; requires a gradient where the loss penalises "real"
    right_B: Tensor  # D's scores of `real` with the right captions, their graph kept
    fake: Tensor  # B3RR, no graph to G; requires a gradient where the loss penalises "fake"
    fake_B: Tensor  # D's scores of `fake`
    mix_B111: Tensor  # uniform in [0, 1)
    score: Score
    loss: LossSettings


@dataclass(frozen=True, kw_only=True)
class AdversarialLoss:
    """One entry of LOSSES: three functions of D's scores."""

    discriminator: Callable[[Scores, LossSettings], Tensor]  # -> scalar
    generator: Callable[[Tensor, Tensor | None], Tensor]  # fake_B, right_B where G is relativistic -> scalar
    penalty: Callable[[PenaltyInputs], Tensor]  # -> scalar
    penalised: frozenset[str] = field(default_factory=frozenset)  # inputs of D that `penalty` differentiates by
    generator_sees_reals: bool = False  # G's loss compares with D's scores of real images


def wasserstein_discriminator(scores: Scores, loss: LossSettings) -> Tensor:
    """The critic's loss (arXiv:1704.00028 eq. 3, first part) with drift penalty (ProGAN section A.1)."""
    drift = loss.drift * scores.right_B.square().mean()
    return scores.negatives(scores.wrong_B, scores.fake_B) - scores.right_B.mean() + drift


def wasserstein_generator(fake_B: Tensor, right_B: Tensor | None) -> Tensor:
    return -fake_B.mean()


def gradient_penalty(of: PenaltyInputs) -> Tensor:
    """lambda E[(|grad D(x)| - 1)^2] at random points between real and fake (arXiv:1704.00028 eq. 3, second part).

    The norm is taken over all channels and pixels of an image, in float32. One-sided, norms below 1 are free.
    """
    between = torch.lerp(of.real.detach(), of.fake, of.mix_B111).requires_grad_()
    scores_B = of.score(between)
    with input_gradients_only():
        (gradient,) = torch.autograd.grad(scores_B.sum(), between, create_graph=True)
    excess_B = (gradient.float().square().sum(dim=(1, 2, 3)) + 1e-12).sqrt() - 1
    if of.loss.sided == "one":
        excess_B = excess_B.clamp(min=0)
    return of.loss.gradient_penalty * excess_B.square().mean()


def logistic_discriminator(scores: Scores, loss: LossSettings) -> Tensor:
    """The non-saturating GAN's D loss (arXiv:1406.2661), softplus(-x) = -log sigmoid(x)."""
    wrong = None if scores.wrong_B is None else functional.softplus(scores.wrong_B)
    return scores.negatives(wrong, functional.softplus(scores.fake_B)) + functional.softplus(-scores.right_B).mean()


def logistic_generator(fake_B: Tensor, right_B: Tensor | None) -> Tensor:
    return functional.softplus(-fake_B).mean()


def relativistic_discriminator(scores: Scores, loss: LossSettings) -> Tensor:
    """Each real is to score above the fake, and above itself under a wrong caption (arXiv:2501.05441 eq. 2)."""
    wrong = None if scores.wrong_B is None else functional.softplus(scores.wrong_B - scores.right_B)
    return scores.negatives(wrong, functional.softplus(scores.fake_B - scores.right_B))


def relativistic_generator(fake_B: Tensor, right_B: Tensor | None) -> Tensor:
    assert right_B is not None
    return functional.softplus(right_B - fake_B).mean()


def hinge_discriminator(scores: Scores, loss: LossSettings) -> Tensor:
    """Scores beyond the margin of 1 cost nothing (arXiv:1705.02894 section 3)."""
    wrong = None if scores.wrong_B is None else functional.relu(1 + scores.wrong_B)
    return scores.negatives(wrong, functional.relu(1 + scores.fake_B)) + functional.relu(1 - scores.right_B).mean()


def squared_gradient(scores_B: Tensor, images_B3RR: Tensor) -> Tensor:
    """E[|grad D(x)|^2] at these images, in float32; it shares the forward pass that gave the scores."""
    with input_gradients_only():
        (gradient,) = torch.autograd.grad(scores_B.sum(), images_B3RR, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def r1_penalty(of: PenaltyInputs) -> Tensor:
    """gamma / 2 E[|grad D(x)|^2] at real images with their own captions (arXiv:1801.04406 eq. 9)."""
    return of.loss.r1_gamma / 2 * squared_gradient(of.right_B, of.real)


def r1_r2_penalty(of: PenaltyInputs) -> Tensor:
    """R1, and the same at generated images (arXiv:2501.05441 eq. 4)."""
    return r1_penalty(of) + of.loss.r2_gamma / 2 * squared_gradient(of.fake_B, of.fake)


LOSSES: dict[str, AdversarialLoss] = {
    "wgan-gp": AdversarialLoss(
        discriminator=wasserstein_discriminator, generator=wasserstein_generator, penalty=gradient_penalty
    ),
    "logistic-r1": AdversarialLoss(
        discriminator=logistic_discriminator,
        generator=logistic_generator,
        penalty=r1_penalty,
        penalised=frozenset({"real"}),
    ),
    "relativistic": AdversarialLoss(
        discriminator=relativistic_discriminator,
        generator=relativistic_generator,
        penalty=r1_r2_penalty,
        penalised=frozenset({"real", "fake"}),
        generator_sees_reals=True,
    ),
    # Hinge's G loss is WGAN's (arXiv:1705.02894 eq. 5).
    "hinge": AdversarialLoss(
        discriminator=hinge_discriminator,
        generator=wasserstein_generator,
        penalty=r1_penalty,
        penalised=frozenset({"real"}),
    ),
}
