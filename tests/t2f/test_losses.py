"""Losses and penalties against arithmetic that can be checked by eye."""

import math

import pytest
import torch

from t2f.losses import LOSSES, PenaltyInputs
from t2f.settings import LossSettings

RIGHT, WRONG, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25]), torch.tensor([-3.0, 1.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_wasserstein_is_matching_aware_with_drift():
    loss = LossSettings(name="wgan-gp", drift=0.001, mismatched_weight=0.5)
    found = LOSSES["wgan-gp"].discriminator(RIGHT, WRONG, FAKE, loss)
    expected = 0.5 * 0.375 + 0.5 * -1.0 - 0.5 + 0.001 * (4 + 1) / 2
    assert float(found) == pytest.approx(expected)
    assert float(LOSSES["wgan-gp"].generator(FAKE)) == pytest.approx(1.0)


def test_logistic_is_matching_aware():
    loss = LossSettings(name="logistic-r1", mismatched_weight=0.25)
    found = LOSSES["logistic-r1"].discriminator(RIGHT, WRONG, FAKE, loss)
    real = (softplus(-2.0) + softplus(1.0)) / 2
    wrong = (softplus(0.5) + softplus(0.25)) / 2
    fake = (softplus(-3.0) + softplus(1.0)) / 2
    assert float(found) == pytest.approx(real + 0.25 * wrong + 0.75 * fake, rel=1e-6)
    assert float(LOSSES["logistic-r1"].generator(FAKE)) == pytest.approx((softplus(3.0) + softplus(-1.0)) / 2)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_push_scores_the_right_way(name):
    scores = [s.clone().requires_grad_() for s in (RIGHT, WRONG, FAKE)]
    LOSSES[name].discriminator(*scores, LossSettings(name=name)).backward()
    assert (scores[0].grad < 0).all(), "D's loss falls as right pairs score higher"
    assert (scores[1].grad > 0).all()
    assert (scores[2].grad > 0).all()
    fake = FAKE.clone().requires_grad_()
    LOSSES[name].generator(fake).backward()
    assert (fake.grad < 0).all(), "G's loss falls as its faces score higher"


def critic(images: torch.Tensor) -> torch.Tensor:
    """A critic whose gradient is known: sum of cubes, so 3 x^2."""
    return images.pow(3).sum(dim=(1, 2, 3))


def penalty_inputs(loss: LossSettings) -> PenaltyInputs:
    random = torch.Generator().manual_seed(0)
    real = torch.randn(3, 3, 2, 2, generator=random).requires_grad_()
    fake = torch.randn(3, 3, 2, 2, generator=random)
    mix = torch.rand(3, 1, 1, 1, generator=random)
    return PenaltyInputs(real=real, right_B=critic(real), fake=fake, mix_B111=mix, score=critic, loss=loss)


def test_gradient_penalty_takes_the_norm_over_the_whole_image():
    of = penalty_inputs(LossSettings(name="wgan-gp", gradient_penalty=10.0))
    expected = 0.0
    for image in range(3):
        t = float(of.mix_B111[image])
        squares = 0.0
        for a, b in zip(of.real[image].flatten().tolist(), of.fake[image].flatten().tolist(), strict=True):
            squares += (3 * (a + t * (b - a)) ** 2) ** 2
        expected += 10 * (math.sqrt(squares) - 1) ** 2 / 3
    assert float(LOSSES["wgan-gp"].penalty(of).detach()) == pytest.approx(expected, rel=1e-4)


def test_r1_is_half_gamma_times_the_squared_gradient_at_reals():
    of = penalty_inputs(LossSettings(name="logistic-r1", r1_gamma=0.1))
    expected = sum(0.05 * (3 * value**2) ** 2 for value in of.real.flatten().tolist()) / 3
    found = LOSSES["logistic-r1"].penalty(of).detach()
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_penalties_reach_the_weights_through_the_second_derivative(name):
    weight = torch.tensor(0.7, requires_grad=True)

    def score(images: torch.Tensor) -> torch.Tensor:
        return (weight * images).pow(2).sum(dim=(1, 2, 3))

    real = torch.ones(2, 3, 2, 2, requires_grad=True)
    of = PenaltyInputs(
        real=real,
        right_B=score(real),
        fake=torch.ones(2, 3, 2, 2),
        mix_B111=torch.zeros(2, 1, 1, 1),
        score=score,
        loss=LossSettings(name=name),
    )

    def by_hand(w: float) -> float:
        squared = 12 * (2 * w * w) ** 2  # |grad|^2 at ones
        return 10 * (math.sqrt(squared) - 1) ** 2 if name == "wgan-gp" else 0.05 * squared

    LOSSES[name].penalty(of).backward()
    numeric = (by_hand(0.7 + 1e-5) - by_hand(0.7 - 1e-5)) / 2e-5
    assert float(weight.grad) == pytest.approx(numeric, rel=1e-3)
