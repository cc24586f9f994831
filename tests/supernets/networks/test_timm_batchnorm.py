"""BatchNorm and activations of timm's networks, with and without kernels."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from supernets.kernels.library import chosen_kernels, load, using
from supernets.networks.factory import create_subnet
from supernets.networks.timm_batchnorm import FusedBatchNormAct2d, fuse_batchnorm
from supernets.spaces import MobileNetV3Space, ProxylessNASSpace, SearchSpace

CPU = torch.device("cpu")


def found(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """Maps, gradients and buffers after a step."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = norm(x)
    gradients = torch.autograd.grad((out**2).sum(), [x, *norm.parameters()])
    return [out.detach(), *gradients, *norm.buffers()]


def images() -> Tensor:
    x = torch.randn(4, 16, 6, 5, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


def both(**settings: object) -> tuple[nn.Module, nn.Module]:
    """timm's layer and the fused one, of the same weights."""
    theirs = BatchNormAct2d(16, eps=1e-3, **settings)
    nn.init.uniform_(theirs.weight), nn.init.normal_(theirs.bias)
    fused = nn.Sequential(copy.deepcopy(theirs))
    fuse_batchnorm(fused)
    assert type(fused[0]) is FusedBatchNormAct2d
    assert fused[0].state_dict().keys() == theirs.state_dict().keys()
    return theirs, fused[0]


@pytest.mark.skipif(load() is not None, reason="no kernels here")
@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.Hardswish, None])
def test_kernels_give_what_timm_does(act: Callable[[], nn.Module] | None) -> None:
    theirs, fused = both(act_layer=act, apply_act=act is not None)
    with using(chosen_kernels("auto", CPU)):
        own = found(fused, images())
    expected = found(theirs, images())
    assert all(
        torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(own, expected, strict=True)
    )
    assert not torch.equal(own[0], expected[0])  # that is, it was ours


@pytest.mark.parametrize("settings", [{}, {"act_layer": nn.SiLU}, {"momentum": None}])
def test_off_and_where_they_do_not_fit_the_bits_are_timms(settings: dict[str, object]) -> None:
    theirs, fused = both(**settings)
    x = images() if settings else images().contiguous()  # not in channels_last
    with using(chosen_kernels("auto", CPU)):
        assert all(map(torch.equal, found(fused, x), found(theirs, x)))
    assert all(map(torch.equal, found(fused, images()), found(theirs, images())))
    fused.eval(), theirs.eval()
    with using(chosen_kernels("auto", CPU)):
        assert torch.equal(fused(images()), theirs(images()))


@pytest.mark.parametrize("space", [MobileNetV3Space(), ProxylessNASSpace()], ids=lambda s: s.name)
def test_subnets_of_timms_blocks_have_it_everywhere(space: SearchSpace) -> None:

    network = create_subnet(space.sample(np.random.default_rng(0)), num_classes=10)
    norms = [child for child in network.modules() if isinstance(child, nn.BatchNorm2d)]
    assert norms and all(type(norm) is FusedBatchNormAct2d for norm in norms)
