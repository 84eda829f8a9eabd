"""Losses and penalties against arithmetic that can be checked by eye."""

import math
from dataclasses import replace

import pytest
import torch

from t2f.losses import LOSSES, PenaltyInputs, Scores
from t2f.settings import LossSettings

RIGHT, WRONG, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25]), torch.tensor([-3.0, 1.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def scores(wrong_weight: float, right=RIGHT, wrong=WRONG, fake=FAKE) -> Scores:
    return Scores(right_B=right, wrong_B=wrong, fake_B=fake, wrong_weight_B=torch.full((2,), wrong_weight))


def test_wasserstein_is_matching_aware_with_drift():
    found = LOSSES["wgan-gp"].discriminator(scores(0.5), LossSettings(name="wgan-gp", drift=0.001))
    expected = 0.5 * 0.375 + 0.5 * -1.0 - 0.5 + 0.001 * (4 + 1) / 2
    assert float(found) == pytest.approx(expected)
    assert float(LOSSES["wgan-gp"].generator(FAKE, None)) == pytest.approx(1.0)


def test_logistic_is_matching_aware():
    found = LOSSES["logistic-r1"].discriminator(scores(0.25), LossSettings(name="logistic-r1"))
    real = (softplus(-2.0) + softplus(1.0)) / 2
    wrong = (softplus(0.5) + softplus(0.25)) / 2
    fake = (softplus(-3.0) + softplus(1.0)) / 2
    assert float(found) == pytest.approx(real + 0.25 * wrong + 0.75 * fake, rel=1e-6)
    assert float(LOSSES["logistic-r1"].generator(FAKE, None)) == pytest.approx((softplus(3.0) + softplus(-1.0)) / 2)


def test_relativistic_compares_each_real_with_its_fake_and_its_wrong_caption():
    found = LOSSES["relativistic"].discriminator(scores(0.25), LossSettings(name="relativistic"))
    wrong = (softplus(0.5 - 2.0) + softplus(0.25 + 1.0)) / 2
    fake = (softplus(-3.0 - 2.0) + softplus(1.0 + 1.0)) / 2
    assert float(found) == pytest.approx(0.25 * wrong + 0.75 * fake, rel=1e-6)
    generator = LOSSES["relativistic"].generator(FAKE, RIGHT)
    assert float(generator) == pytest.approx((softplus(2.0 + 3.0) + softplus(-1.0 - 1.0)) / 2, rel=1e-6)


def test_hinge_is_free_beyond_the_margin():
    found = LOSSES["hinge"].discriminator(scores(0.5), LossSettings(name="hinge"))
    expected = (0.0 + 2.0) / 2 + 0.5 * (1.5 + 1.25) / 2 + 0.5 * (0.0 + 2.0) / 2
    assert float(found) == pytest.approx(expected)
    assert float(LOSSES["hinge"].generator(FAKE, None)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_without_a_wrong_caption_weighs_its_fake_fully(name):
    """Row 1 has none: whatever stands in its place counts for nothing, and with none at all wrong_B may be missing."""
    weights = torch.tensor([0.5, 0.0])
    costs = []
    for other in (0.25, 77.0):
        wrong = torch.tensor([0.5, other])
        given = Scores(right_B=RIGHT, wrong_B=wrong, fake_B=FAKE, wrong_weight_B=weights)
        costs.append(float(LOSSES[name].discriminator(given, LossSettings(name=name))))
    assert costs[0] == costs[1]
    alone = Scores(right_B=RIGHT, wrong_B=None, fake_B=FAKE, wrong_weight_B=torch.zeros(2))
    same = float(LOSSES[name].discriminator(alone, LossSettings(name=name)))
    assert same == pytest.approx(float(LOSSES[name].discriminator(scores(0.0), LossSettings(name=name))))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_push_scores_the_right_way(name):
    # Inside hinge's margin, where every score still counts.
    right, wrong, fake = (torch.tensor(values).requires_grad_() for values in ([0.5, -1.0], [0.5, 0.25], [-0.5, 1.0]))
    LOSSES[name].discriminator(scores(0.5, right, wrong, fake), LossSettings(name=name)).backward()
    assert (right.grad < 0).all(), "D's loss falls as right pairs score higher"
    assert (wrong.grad > 0).all()
    assert (fake.grad > 0).all()
    fake = FAKE.clone().requires_grad_()
    LOSSES[name].generator(fake, RIGHT).backward()
    assert (fake.grad < 0).all(), "G's loss falls as its faces score higher"


def critic(images: torch.Tensor) -> torch.Tensor:
    """A critic whose gradient is known: sum of cubes, so 3 x^2."""
    return images.pow(3).sum(dim=(1, 2, 3))


def penalty_inputs(loss: LossSettings) -> PenaltyInputs:
    random = torch.Generator().manual_seed(0)
    real = torch.randn(3, 3, 2, 2, generator=random).requires_grad_()
    fake = torch.randn(3, 3, 2, 2, generator=random).requires_grad_("fake" in LOSSES[loss.name].penalised)
    mix = torch.rand(3, 1, 1, 1, generator=random)
    return PenaltyInputs(
        real=real, right_B=critic(real), fake=fake, fake_B=critic(fake), mix_B111=mix, score=critic, loss=loss
    )


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


def test_the_one_sided_penalty_leaves_small_gradients_alone():
    def flat(images: torch.Tensor) -> torch.Tensor:
        return 0.1 * images.sum(dim=(1, 2, 3))  # a norm of .1 * sqrt(12) = .35

    found = {}
    for sided in ("one", "two"):
        of = penalty_inputs(LossSettings(name="wgan-gp", sided=sided))
        found[sided] = float(LOSSES["wgan-gp"].penalty(replace(of, score=flat)).detach())
    assert found["one"] == 0
    assert found["two"] == pytest.approx(10 * (0.1 * math.sqrt(12) - 1) ** 2, rel=1e-4)


def test_r2_is_the_same_at_fakes():
    of = penalty_inputs(LossSettings(name="relativistic", r1_gamma=0.1, r2_gamma=0.4))
    real = sum(0.05 * (3 * value**2) ** 2 for value in of.real.flatten().tolist()) / 3
    fake = sum(0.2 * (3 * value**2) ** 2 for value in of.fake.flatten().tolist()) / 3
    assert float(LOSSES["relativistic"].penalty(of).detach()) == pytest.approx(real + fake, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_penalties_reach_the_weights_through_the_second_derivative(name):
    weight = torch.tensor(0.7, requires_grad=True)

    def score(images: torch.Tensor) -> torch.Tensor:
        return (weight * images).pow(2).sum(dim=(1, 2, 3))

    real, fake = (torch.ones(2, 3, 2, 2, requires_grad=True) for _ in range(2))
    of = PenaltyInputs(
        real=real,
        right_B=score(real),
        fake=fake,
        fake_B=score(fake),
        mix_B111=torch.zeros(2, 1, 1, 1),
        score=score,
        loss=LossSettings(name=name),
    )

    def by_hand(w: float) -> float:
        squared = 12 * (2 * w * w) ** 2  # |grad|^2 at ones
        if name == "wgan-gp":
            return 10 * (math.sqrt(squared) - 1) ** 2
        return 0.05 * squared * len(LOSSES[name].penalised)

    LOSSES[name].penalty(of).backward()
    numeric = (by_hand(0.7 + 1e-5) - by_hand(0.7 - 1e-5)) / 2e-5
    assert float(weight.grad) == pytest.approx(numeric, rel=1e-3)
