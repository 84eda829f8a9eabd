"""Layers against slow, obvious references."""

import math

import pytest
import torch

from t2f.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedUpConv2d,
    downsample,
    initialise,
    minibatch_stddev,
    pixel_norm,
    stream_seed,
    upsample,
)


def test_equalized_layers_scale_unit_weights_by_he():
    conv, linear = EqualizedConv2d(6, 5, 3, padding=1), EqualizedLinear(54, 5)
    for layer in (conv, linear):
        initialise(layer, seed=0, prefix="layer")
        assert layer.scale == pytest.approx(math.sqrt(2 / 54))
        assert not layer.bias.any()
    x = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    window = x.flatten(1)
    expected = window @ (conv.weight.flatten(1) * math.sqrt(2 / 54)).T
    # Without padding a 3x3 kernel on 3x3 pixels is a linear layer.
    conv.padding = 0
    assert torch.allclose(conv(x).flatten(1), expected, atol=1e-5)


def test_upsampling_convolution_is_upsampling_and_then_the_convolution():
    random = torch.Generator().manual_seed(0)
    joined, plain = EqualizedUpConv2d(3, 5).double(), EqualizedConv2d(3, 5, 3, padding=1).double()
    for layer in (joined, plain):
        initialise(layer, seed=0, prefix="layer")
        torch.nn.init.normal_(layer.bias, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 3, 4, 6, generator=random, dtype=torch.float64, requires_grad=True)
    found, expected = joined(x), plain(upsample(x))
    assert torch.allclose(found, expected)
    factor = torch.randn(expected.shape, generator=random, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((found * factor).sum(), [x, joined.weight, joined.bias]),
        torch.autograd.grad((expected * factor).sum(), [x, plain.weight, plain.bias]),
        strict=True,
    ):
        assert torch.allclose(ours, theirs)


def test_pixel_norm_gives_every_pixel_unit_length():
    x = torch.randn(2, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    y = pixel_norm(x)
    for image in range(2):
        for row in range(3):
            for column in range(3):
                vector = x[image, :, row, column]
                expected = vector / math.sqrt(float((vector**2).mean()) + 1e-8)
                assert torch.allclose(y[image, :, row, column], expected, atol=1e-6)


def test_pixel_norm_has_the_first_and_second_derivatives_of_finite_differences():
    x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pixel_norm, x)
    assert torch.autograd.gradgradcheck(pixel_norm, x)


def test_pixel_norm_of_bfloat16_sums_in_float32():
    x = torch.randn(2, 512, 2, 2, generator=torch.Generator().manual_seed(0)) * 30
    y = pixel_norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), pixel_norm(x), rtol=0.02, atol=0.01)


@pytest.mark.parametrize(("batch", "group", "size"), [(8, 4, 4), (4, 4, 4), (6, 4, 6), (3, 4, 3)])
def test_minibatch_stddev_is_the_mean_deviation_of_each_group(batch, group, size):
    x = torch.randn(batch, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    y = minibatch_stddev(x, group)
    assert y.shape == (batch, 6, 2, 2)
    assert torch.equal(y[:, :5], x)
    for first in range(0, batch, size):
        deviations = []
        for channel in range(5):
            for pixel in range(4):
                values = [float(x[i, channel].flatten()[pixel]) for i in range(first, first + size)]
                mean = sum(values) / size
                deviations.append(math.sqrt(sum((v - mean) ** 2 for v in values) / size + 1e-8))
        expected = sum(deviations) / len(deviations)
        assert torch.allclose(y[first : first + size, 5], torch.tensor(expected), atol=1e-5)


def test_upsample_repeats_and_downsample_averages():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert upsample(x).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]
    assert downsample(x).tolist() == [[[[2.5]]]]
    assert torch.equal(downsample(upsample(x)), x)


def test_initialisation_depends_on_seed_and_name_alone():
    def weights(seed: int, prefix: str) -> torch.Tensor:
        torch.manual_seed(len(prefix))  # the global state must not matter
        layer = EqualizedLinear(4, 4)
        initialise(layer, seed=seed, prefix=prefix)
        return layer.weight.detach()

    assert torch.equal(weights(0, "a"), weights(0, "a"))
    assert not torch.equal(weights(0, "a"), weights(1, "a"))
    assert not torch.equal(weights(0, "a"), weights(0, "b"))
    assert 0 <= stream_seed(3, "x") < 2**63
