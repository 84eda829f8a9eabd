"""The transforms against loops over pixels, what a strength means, and the controller's table."""

import math

import pytest
import torch
from torch import Tensor

from t2f.augment import KINDS, Transform, apply, draw_transform, next_strength

ALL = frozenset(KINDS)


def drawn(
    batch: int, resolution: int, kinds: frozenset[str] = ALL, strength: float = 1.0, *, seed: int = 0
) -> Transform:
    generator = torch.Generator().manual_seed(seed)
    return draw_transform(batch, resolution, kinds=kinds, strength=strength, generator=generator, device="cpu")


def images(batch: int, resolution: int, *, seed: int = 1) -> Tensor:
    return torch.rand(batch, 3, resolution, resolution, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def tensors(transform: Transform) -> dict[str, Tensor]:
    return {name: value for name, value in vars(transform).items() if isinstance(value, Tensor)}


def touched_rows(transform: Transform) -> dict[str, Tensor]:
    """Which rows a kind may have touched, as far as the values tell."""
    return {
        "color": transform.saturation_B != 1,
        "translation": (transform.shift_B2 != 0).any(dim=1),
        "cutout": (transform.cutout_B2 != transform.resolution).any(dim=1),
    }


def recolored(image: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    """DiffAugment's three steps, one after the other."""
    image = image + brightness
    grey = image.mean(dim=0, keepdim=True)
    image = (image - grey) * saturation + grey
    return (image - image.mean()) * contrast + image.mean()


def moved(image: Tensor, down: int, right: int) -> Tensor:
    out = torch.zeros_like(image)
    size = image.shape[-1]
    for row in range(size):
        for column in range(size):
            if 0 <= row + down < size and 0 <= column + right < size:
                out[:, row + down, column + right] = image[:, row, column]
    return out


def cut(image: Tensor, top: int, left: int) -> Tensor:
    out = image.clone()
    size = image.shape[-1]
    for row in range(size):
        for column in range(size):
            if top <= row < top + size // 2 and left <= column < left + size // 2:
                out[:, row, column] = 0
    return out


def by_loop(transform: Transform, images_B3RR: Tensor) -> Tensor:
    results = []
    for row, image in enumerate(images_B3RR):
        color = (transform.brightness_B[row], transform.saturation_B[row], transform.contrast_B[row])
        image = recolored(image, *(float(value) for value in color))
        image = moved(image, *transform.shift_B2[row].tolist())
        results.append(cut(image, *transform.cutout_B2[row].tolist()))
    return torch.stack(results)


@pytest.mark.parametrize("resolution", [4, 8, 32])
@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS], ids="+".join)
def test_each_kind_is_what_a_loop_over_pixels_makes(kinds, resolution):
    transform = drawn(12, resolution, frozenset(kinds))
    before = images(12, resolution)
    after = apply(transform, before)
    assert after.shape == before.shape
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, by_loop(transform, before), rtol=1e-5, atol=1e-6)
    assert not torch.equal(after, before)


def test_draws_fill_the_published_ranges():
    for resolution, reach in ((4, 1), (8, 1), (16, 2), (64, 8)):
        transform = drawn(6000, resolution)
        expected = {
            "brightness_B": (-0.5, 0.5),
            "saturation_B": (0, 2),
            "contrast_B": (0.5, 1.5),
            "shift_B2": (-reach, reach),
            "cutout_B2": (-resolution // 4, resolution * 3 // 4),
        }
        for name, (low, high) in expected.items():
            value = getattr(transform, name)
            assert low <= value.min() <= value.max() <= high
            assert value.double().mean() == pytest.approx((low + high) / 2, abs=(high - low) * 0.02)
            if not value.is_floating_point():
                assert value[:, 0].unique().tolist() == value[:, 1].unique().tolist() == list(range(low, high + 1))


def test_cutout_takes_a_square_of_half_the_side_where_it_lies_inside():
    transform = drawn(64, 8, frozenset({"cutout"}))
    inside_B = ((transform.cutout_B2 >= 0) & (transform.cutout_B2 <= 4)).all(dim=1)
    assert inside_B.any()
    zeros_B = (apply(transform, torch.ones(64, 3, 8, 8)) == 0).sum(dim=(1, 2, 3))
    assert (zeros_B[inside_B] == 3 * 16).all()
    assert (zeros_B >= 3 * 4).all(), "a quarter of the square is inside at least"


def test_real_and_generated_image_of_a_row_take_the_same_transform():
    transform = drawn(16, 16)
    real, generated = images(16, 16, seed=1), images(16, 16, seed=2)
    hidden_real, hidden_generated = (apply(transform, each) == 0 for each in (real, generated))
    assert torch.equal(hidden_real, hidden_generated)
    assert hidden_real.any()
    # Affine: what a gradient penalty mixes may be transformed before or after.
    torch.testing.assert_close(
        apply(transform, torch.lerp(real, generated, 0.3)),
        torch.lerp(apply(transform, real), apply(transform, generated), 0.3),
    )


def test_rows_are_slices_of_the_whole():
    transform, before = drawn(11, 8, strength=0.6), images(11, 8)
    whole = apply(transform, before)
    for which in (slice(0, 4), slice(4, 8), slice(8, 11), slice(5, 6), slice(1, None, 3)):
        assert torch.equal(apply(transform.rows(which), before[which]), whole[which])


@pytest.mark.parametrize(("kinds", "strength"), [(ALL, 0.0), (frozenset(), 1.0)])
def test_nothing_to_do_returns_the_very_tensor(kinds, strength):
    before = images(4, 8)
    assert apply(drawn(4, 8, kinds, strength), before) is before


def test_a_transform_of_other_images_is_refused():
    with pytest.raises(AssertionError):
        apply(drawn(4, 8), images(4, 16))
    with pytest.raises(AssertionError):
        apply(drawn(1, 8), images(4, 8))


def test_strength_is_the_share_of_rows_that_each_kind_touches():
    rows = 4000
    touched = touched_rows(drawn(rows, 64, strength=0.5))
    # A drawn shift is (0, 0) once in 17 * 17, which looks untouched.
    expected = {"color": 0.5, "translation": 0.5 * (1 - 1 / 289), "cutout": 0.5}
    for kind, share in expected.items():
        bound = 4 * math.sqrt(rows * share * (1 - share))
        assert abs(int(touched[kind].sum()) - rows * share) < bound
    both = int((touched["color"] & touched["cutout"]).sum())
    assert abs(both - rows / 4) < 4 * math.sqrt(rows * 3 / 16), "kinds are drawn independently"


def test_untouched_rows_keep_their_bits():
    transform, before = drawn(64, 8, strength=0.3), images(64, 8)
    untouched_B = ~torch.stack(list(touched_rows(transform).values())).any(dim=0)
    assert 0 < untouched_B.sum() < 64
    assert torch.equal(apply(transform, before)[untouched_B], before[untouched_B])


def test_one_kind_off_or_another_strength_leaves_the_other_numbers_alone():
    whole, neutral = drawn(32, 16), drawn(32, 16, strength=0.0)
    own = {
        "color": {"brightness_B", "saturation_B", "contrast_B"},
        "translation": {"shift_B2"},
        "cutout": {"cutout_B2"},
    }
    for kind in KINDS:
        for name, value in tensors(drawn(32, 16, frozenset({kind}))).items():
            assert torch.equal(value, getattr(whole if name in own[kind] else neutral, name))
    weak = drawn(32, 16, strength=0.5)
    touched_B = weak.saturation_B != 1
    assert torch.equal(weak.saturation_B[touched_B], whole.saturation_B[touched_B])


def test_draws_come_from_the_generator_alone_and_always_as_many():
    everyone = torch.get_rng_state()
    states = []
    for kinds, strength in ((ALL, 1.0), (frozenset({"cutout"}), 0.5), (frozenset(), 0.0)):
        generator = torch.Generator().manual_seed(3)
        transform = draw_transform(5, 8, kinds=kinds, strength=strength, generator=generator, device="cpu")
        apply(transform, images(5, 8))
        states.append(generator.get_state())
    assert torch.equal(torch.get_rng_state(), everyone)
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])
    again = tensors(drawn(5, 8, seed=3))
    assert all(torch.equal(value, again[name]) for name, value in tensors(drawn(5, 8, seed=3)).items())
    assert not torch.equal(drawn(5, 8, seed=4).saturation_B, again["saturation_B"])


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS], ids="+".join)
def test_first_and_second_derivatives(kinds):
    transform = drawn(3, 4, frozenset(kinds), seed=2)
    before = images(3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply(transform, x), before)
    # The cube makes the second derivative other than zero, as a discriminator behind the transform does.
    assert torch.autograd.gradgradcheck(lambda x: apply(transform, x).pow(3), before)


def test_a_gradient_penalty_reaches_the_weights_through_the_transform():
    transform = drawn(4, 8)
    before = images(4, 8).requires_grad_()
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad((weight * apply(transform, before)).pow(2).sum(), before, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad.isfinite().all()
    assert (weight.grad > 0).all()


@pytest.mark.parametrize(
    ("strength", "sign_mean", "images_seen", "expected"),
    [
        (0.0, 0.7, 64, 0.064),
        (0.5, 0.7, 64, 0.564),
        (0.5, 0.5, 64, 0.436),
        (0.5, 0.6, 64, 0.5),
        (0.5, -1.0, 0, 0.5),
        (0.99, 1.0, 64, 1.0),
        (0.01, 0.0, 64, 0.0),
        (1.0, 0.0, 64, 0.936),
        (0.3, 0.7, 5000, 1.0),
    ],
)
def test_next_strength(strength, sign_mean, images_seen, expected):
    found = next_strength(strength, sign_mean=sign_mean, target=0.6, images=images_seen, images_for_full=1000.0)
    assert found == pytest.approx(expected)
    assert 0 <= found <= 1
