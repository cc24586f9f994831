"""Average pools, against float64."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.kernels.library import chosen_kernels, load, using
from supernets.kernels.pooling import AveragePool2d, average_pool

pytestmark = pytest.mark.skipif(load() is not None, reason=f"no kernels here: {load()}")


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    with using(chosen_kernels("auto", torch.device("cpu"))):
        yield


def everything(x: Tensor, window: tuple[int, int, int], gradient: Tensor) -> list[Tensor]:
    """The pooled maps, their gradient, and the gradient of its norm."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    gradient = gradient.clone().requires_grad_()
    out = average_pool(x, *window)
    (first,) = torch.autograd.grad(out, x, gradient.detach(), retain_graph=True)
    (graph,) = torch.autograd.grad(out, x, gradient, create_graph=True)
    (second,) = torch.autograd.grad((graph**2).sum(), gradient)
    return [out.detach(), first, graph.detach(), second]


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_maps_and_gradients_are_those_of_float64(dtype: torch.dtype, close: float) -> None:
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    for _ in range(100):
        size = draw.choice([1, 2, 3, 5])
        window = size, draw.randint(1, 3), draw.randint(0, size // 2)
        channels = draw.choice([1, 2, 3, 4, 7, 8, 12, 16, 20, 33])
        sides = [draw.randint(size, 14) for _ in range(2)]
        x = torch.randn(draw.randint(1, 9), channels, *sides, generator=generator).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        shape = F.avg_pool2d(x, *window).shape
        gradient = torch.randn(shape, generator=generator).to(dtype)
        found = everything(x, window, gradient)
        for one, true in zip(found, everything(x.double(), window, gradient.double()), strict=True):
            assert one.dtype == dtype and one.shape == true.shape
            error = (one.double() - true).abs().max() / true.abs().max()
            assert error < close, (x.shape, window)


def test_the_module_is_pytorchs_but_for_the_kernel() -> None:
    x = torch.randn(2, 8, 7, 7, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last)
    pool, plain = AveragePool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    assert torch.equal(pool(x), plain(x))  # not in channels_last
    assert torch.allclose(pool(last), plain(last), atol=1e-6)
    assert not torch.equal(pool(last), plain(last))  # that is, it was ours
    with torch.no_grad():  # as validation does
        assert torch.equal(pool(last), plain(last))
    with using("off"):
        assert torch.equal(pool(last), plain(last))


def test_the_number_of_threads_changes_no_bit() -> None:
    x = torch.randn(5, 24, 17, 13, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(everything(x, (3, 1, 1), x))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))
