"""Gradients of depthwise convolutions, against float64."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.kernels.library import chosen_kernels, load, using

pytestmark = pytest.mark.skipif(load() is not None, reason=f"no kernels here: {load()}")
CPU = torch.device("cpu")


#: What maps and weights are made of, and how far from float64 the gradients of these numbers are.
TYPES = [(torch.float32, 1e-5), (torch.bfloat16, 8e-3)]


def shapes(
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Tensor, Tensor, dict[str, tuple[int, int]]]]:
    """Maps, weights, and how they are convolved, of all sizes."""
    draw = random.Random(0)
    generator = torch.Generator().manual_seed(0)
    found = 0
    while found < 120:
        channels = draw.choice([2, 3, 4, 7, 8, 12, 16, 20, 33])
        sides = draw.randint(1, 15), draw.randint(1, 15)
        kernel = draw.choice([1, 2, 3, 4, 5, 7, 9]), draw.choice([1, 3, 5, 6, 7])
        how = {
            "stride": (draw.randint(1, 3), draw.randint(1, 3)),
            "padding": (draw.randint(0, 4), draw.randint(0, 4)),
            "dilation": (draw.randint(1, 3), draw.randint(1, 3)),
        }
        reach = [how["dilation"][i] * (kernel[i] - 1) for i in (0, 1)]
        if any(sides[i] + 2 * how["padding"][i] <= reach[i] for i in (0, 1)):
            continue
        found += 1
        x = torch.randn(draw.randint(1, 20), channels, *sides, generator=generator)
        weight = torch.randn(channels, 1, *kernel, generator=generator)
        yield x.to(dtype).contiguous(memory_format=torch.channels_last), weight.to(dtype), how


def gradients(
    x: Tensor, weight: Tensor, how: dict[str, tuple[int, int]], *, twice: bool = False
) -> list[Tensor]:
    """Of the maps and the weight, and those of a norm of these gradients."""
    x, weight = x.clone(memory_format=torch.preserve_format), weight.clone()
    inputs = [x.requires_grad_(), weight.requires_grad_()]
    bias = torch.zeros(len(weight), dtype=x.dtype, requires_grad=True)
    out = F.conv2d(x, weight, bias, groups=len(weight), **how)
    found = torch.autograd.grad(
        (out**3).sum(), [*inputs, bias], create_graph=twice, materialize_grads=True
    )
    if not twice:
        return [each.detach() for each in found]
    norm = sum((each**2).sum() for each in found)
    assert isinstance(norm, Tensor)
    return [*found, *torch.autograd.grad(norm, inputs)]


def difference(found: Tensor, true: Tensor) -> float:
    return ((found.double() - true).abs().max() / true.abs().max().clamp(min=1e-9)).item()


def test_gradients_are_those_of_float64_for_all_shapes() -> None:
    for x, weight, how in shapes():
        true = gradients(x.double(), weight.double(), how)
        with using(chosen_kernels("auto", CPU)):
            found = gradients(x, weight, how)
        for one, other in zip(found, true, strict=True):
            assert one.shape == other.shape
            assert difference(one, other) < 1e-5, (x.shape, weight.shape, how)


@pytest.mark.parametrize(
    "case", [(3, 1, 1, 9), (3, 1, 1, 40), (3, 2, 1, 9), (5, 1, 1, 9), (5, 2, 1, 12), (3, 1, 2, 9)]
)
def test_those_of_bfloat16_are_as_near_as_rounding_lets_them(
    case: tuple[int, int, int, int],
) -> None:
    kernel, stride, dilation, side = case
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 24, side, side, generator=generator).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(24, 1, kernel, kernel, generator=generator).bfloat16()
    how = (stride, dilation * (kernel // 2), dilation, 24)
    out = F.conv2d(x, weight, None, *how)
    gradient = torch.randn(out.shape, generator=generator).bfloat16()

    def found(dtype: torch.dtype) -> tuple[Tensor, ...]:
        inputs = [each.to(dtype).requires_grad_() for each in (x, weight)]
        return torch.autograd.grad(F.conv2d(*inputs, None, *how), inputs, gradient.to(dtype))

    true = found(torch.float64)
    with using(chosen_kernels("auto", CPU)):
        own = found(torch.bfloat16)
    for one, other in zip(own, true, strict=True):
        assert one.dtype == torch.bfloat16
        assert difference(one, other) < 8e-3


@pytest.mark.parametrize(("dtype", "close"), TYPES)
def test_the_operations_themselves_are_those_of_float64(dtype: torch.dtype, close: float) -> None:
    kernels = torch.ops.paceline
    for x, weight, how in shapes(dtype):
        stride, padding, dilation = (how[name] for name in ("stride", "padding", "dilation"))
        out = F.conv2d(x.double(), weight.double(), None, stride, padding, dilation, len(weight))
        gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        x_double, weight_double = x.double().requires_grad_(), weight.double().requires_grad_()
        out = F.conv2d(x_double, weight_double, None, stride, padding, dilation, len(weight))
        true = torch.autograd.grad(out, [x_double, weight_double], gradient.double())
        of_x = kernels.depthwise_input_gradient(
            gradient, weight, list(x.shape), stride, padding, dilation
        )
        of_weight = kernels.depthwise_weight_gradient(
            x, gradient, list(weight.shape), stride, padding, dilation
        )
        assert difference(of_x, true[0]) < close, (x.shape, weight.shape, how)
        assert difference(of_weight, true[1]) < close, (x.shape, weight.shape, how)


@pytest.mark.parametrize("kernel", [3, 5])
def test_gradients_of_gradients_are_pytorchs(kernel: int) -> None:
    x = torch.randn(3, 16, 9, 9, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 1, kernel, kernel, generator=torch.Generator().manual_seed(1))
    how = {"stride": (1, 1), "padding": (kernel // 2,) * 2, "dilation": (1, 1)}
    true = gradients(x.double(), weight.double(), how, twice=True)
    with using(chosen_kernels("auto", CPU)):
        found = gradients(x, weight, how, twice=True)
    for one, other in zip(found, true, strict=True):
        assert difference(one.detach(), other.detach()) < 1e-5


def test_off_and_elsewhere_they_have_the_bits_of_pytorch() -> None:
    x = torch.randn(3, 16, 9, 9, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    how = {"stride": (1, 1), "padding": (2, 2), "dilation": (1, 1)}
    plain = [gradients(each, weight, how) for each in (x, last)]
    with using(chosen_kernels("auto", CPU)):
        assert all(map(torch.equal, gradients(x, weight, how), plain[0]))  # contiguous
        double = gradients(last.double(), weight.double(), how)
        with using("off"):
            assert all(map(torch.equal, gradients(last, weight, how), plain[1]))
        own = gradients(last, weight, how)
    assert not torch.equal(own[1], plain[1][1])  # that is, it was ours
    assert difference(own[1], double[1]) < 1e-5
    assert all(map(torch.equal, gradients(last, weight, how), plain[1]))


def test_the_number_of_threads_changes_no_bit() -> None:
    x = torch.randn(9, 40, 17, 17, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(40, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    how = {"stride": (2, 2), "padding": (2, 2), "dilation": (1, 1)}
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            gradient = F.conv2d(x, weight, None, **how, groups=40)
            found.append(
                torch.ops.paceline.depthwise_weight_gradient(
                    x, gradient.round(), list(weight.shape), *how.values()
                )
            )
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
