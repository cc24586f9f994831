"""BatchNorm of train mode with its activation, against float64."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.kernels.batchnorm import batch_norm_act, can_fuse
from supernets.kernels.library import chosen_kernels, load, using
from supernets.networks.batchnorm import BatchNorm2d

pytestmark = pytest.mark.skipif(load() is not None, reason=f"no kernels here: {load()}")
ACTIVATIONS = [None, F.relu, F.relu6, F.hardswish]
Run = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    with using(chosen_kernels("auto", torch.device("cpu"))):
        yield


def plain(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    activation: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    out = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=0.1, eps=1e-3)
    return out if activation is None else activation(out)


def fused(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    activation: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    assert can_fuse(x, activation, mean, variance, weight, bias)
    return batch_norm_act(
        x, mean, variance, weight, bias, momentum=0.1, eps=1e-3, activation=activation
    )


def everything(
    run: Run, x: Tensor, affine: bool, activation: object, *, half: bool = False
) -> list[Tensor]:
    """The maps, running statistics, gradients and their gradients; maps are bfloat16 if half."""
    channels = x.shape[1]
    dtype = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    inputs = [x.clone(memory_format=torch.preserve_format).requires_grad_()]
    inputs += [drawn(channels).requires_grad_(), drawn(channels).requires_grad_()]
    mean, variance = drawn(channels), drawn(channels) ** 2
    weight, bias = inputs[1:] if affine else (None, None)
    out = run(inputs[0], mean, variance, weight, bias, activation)
    of = inputs if affine else inputs[:1]
    gradient = drawn(*x.shape).contiguous(memory_format=torch.channels_last)
    gradient = gradient.to(torch.bfloat16 if half else dtype).to(x.dtype)
    first = torch.autograd.grad(out, of, gradient, retain_graph=True)
    graph = torch.autograd.grad(out, of, gradient, create_graph=True)
    norm = torch.stack([(each**2).sum() for each in graph]).sum()
    second = torch.autograd.grad(norm, of, allow_unused=True, materialize_grads=True)
    return [each.detach() for each in (out, mean, variance, *first, *graph, *second)]


@pytest.mark.parametrize("half", [False, True])
def test_all_it_computes_is_that_of_float64(half: bool) -> None:
    draw, close = random.Random(0), 1e-2 if half else 2e-4
    for number in range(80):
        shape = (
            draw.randint(1, 12),
            draw.choice([2, 3, 4, 7, 8, 12, 16, 20, 40]),
            draw.randint(2, 13),
        )
        x = torch.randn(
            *shape, draw.randint(2, 13), generator=torch.Generator().manual_seed(number)
        )
        x = (x * draw.choice([0.3, 1, 10]) + draw.choice([0, 3])).contiguous(
            memory_format=torch.channels_last
        )
        x = x.to(torch.bfloat16 if half else torch.float32)
        affine, activation = draw.random() < 0.7, draw.choice(ACTIVATIONS)
        true = everything(plain, x.double(), affine, activation, half=half)
        found = everything(fused, x, affine, activation, half=half)
        theirs = everything(plain, x, affine, activation, half=half)
        for one, other, exact in zip(found, theirs, true, strict=True):
            assert one.dtype == other.dtype
            scale = exact.abs().max().clamp(min=1e-6)
            error = ((one.double() - exact).abs().max() / scale).item()
            # a value beside a kink of the activation may fall on its other side, in both
            allowed = max(close, 3 * ((other.double() - exact).abs().max() / scale).item())
            assert error < allowed, (x.shape, affine, activation)


def test_the_module_fuses_and_counts_as_before() -> None:
    torch.manual_seed(0)
    norm, twin = BatchNorm2d(16), BatchNorm2d(16)
    x = torch.randn(4, 12, 6, 6).contiguous(memory_format=torch.channels_last)
    out = norm(x, activation=F.hardswish)
    with using("off"):
        expected = twin(x, activation=F.hardswish)
    assert torch.allclose(out, expected, atol=1e-5)
    assert norm.num_batches_tracked == twin.num_batches_tracked == 1
    for name, buffer in twin.named_buffers():
        assert torch.allclose(norm.get_buffer(name), buffer, atol=1e-6), name
    norm.eval(), twin.eval()
    twin.load_state_dict(norm.state_dict())
    with using("off"):
        assert torch.equal(norm(x, activation=F.relu), twin(x).relu())


def test_what_it_does_not_compute_is_left_to_pytorch() -> None:
    x = torch.randn(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    assert can_fuse(x, F.relu, None, torch.ones(4)) and can_fuse(x.bfloat16(), F.relu)
    assert not can_fuse(x.bfloat16(), F.relu, torch.ones(4), torch.ones(4).bfloat16())
    assert not can_fuse(x.contiguous(), F.relu)
    assert not can_fuse(x.double(), F.relu)
    assert not can_fuse(x, F.gelu)
    assert not can_fuse(x[:1, :, :1, :1].contiguous(memory_format=torch.channels_last), F.relu)
    with using("off"):
        assert not can_fuse(x, F.relu)


def test_the_number_of_threads_changes_no_bit() -> None:
    x = torch.randn(40, 24, 17, 17, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            inputs = [x.clone(memory_format=torch.preserve_format), torch.ones(24), torch.zeros(24)]
            for each in inputs:
                each.requires_grad_()
            out = batch_norm_act(
                inputs[0], None, None, *inputs[1:], momentum=0.1, eps=1e-5, activation=F.relu
            )
            found.append([out, *torch.autograd.grad((out**2).sum(), inputs)])
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))
