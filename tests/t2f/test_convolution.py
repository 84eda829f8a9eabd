"""Our convolution against PyTorch's own: values, gradients, gradients of gradients."""

import pytest
import torch
from torch.nn import functional

from t2f.convolution import conv2d, input_gradients_only


def tensors(kernel: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 5, 4), (4, 3, kernel, kernel), (4,)]
    return tuple(torch.randn(shape, generator=random, dtype=dtype).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1), (3, 0), (4, 0)])
def test_first_and_second_derivatives_are_those_of_finite_differences(kernel, padding):
    x, weight, bias = tensors(kernel)

    def ours(*given: torch.Tensor) -> torch.Tensor:
        return conv2d(*given, padding=padding)

    assert torch.allclose(ours(x, weight, bias), functional.conv2d(x, weight, bias, padding=padding))
    assert torch.autograd.gradcheck(ours, (x, weight, bias))
    assert torch.autograd.gradgradcheck(ours, (x, weight, bias))


def penalty(convolution, x, weight, bias):
    """A gradient penalty through two convolutions, so that every second derivative has a part in it."""
    hidden = functional.leaky_relu(convolution(x, weight, bias, padding=1), 0.2)
    score = convolution(hidden.square(), weight.transpose(0, 1), None, padding=1).square().sum()
    (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    return gradient.square().sum()


def test_a_gradient_penalty_has_pytorchs_own_gradients():
    found, expected = gradients(conv2d), gradients(functional.conv2d)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10)


def gradients(convolution) -> tuple[torch.Tensor, ...]:
    leaves = tensors(3)
    return torch.autograd.grad(penalty(convolution, *leaves), leaves)


def test_input_gradients_only_leaves_the_weights_out_of_the_first_derivative_and_not_of_the_second():
    x, weight, bias = tensors(3)
    with input_gradients_only():
        value = penalty(conv2d, x, weight, bias)
    for ours, theirs in zip(torch.autograd.grad(value, (x, weight, bias)), gradients(conv2d), strict=True):
        assert torch.equal(ours, theirs)
    with input_gradients_only():
        conv2d(x, weight, bias, padding=1).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
    assert bias.grad is None


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_keep_the_memory_format(memory_format):
    x, weight, bias = tensors(3, torch.float32)
    x = x.detach().contiguous(memory_format=memory_format).requires_grad_()
    y = conv2d(x, weight, bias, padding=1)
    y.backward(torch.ones_like(y))
    assert y.is_contiguous(memory_format=memory_format)
    assert x.grad.is_contiguous(memory_format=memory_format)


def test_autocast_computes_in_bfloat16_and_keeps_float32_gradients():
    x, weight, bias = tensors(3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = conv2d(x, weight, bias, padding=1)
        assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert {t.grad.dtype for t in (x, weight, bias)} == {torch.float32}
    expected = functional.conv2d(x, weight, bias, padding=1)
    assert torch.allclose(y.float(), expected, rtol=0.05, atol=0.1)
