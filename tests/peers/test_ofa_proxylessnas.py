"""Agreement of ProxylessNAS networks with the authors' package ``ofa`` on the same weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.networks.proxylessnas import ProxylessNASSupernet
from supernets.spaces import Architecture

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
pytest.importorskip("ofa", reason="needs the extra 'peers'")
from ofa.utils.pytorch_utils import count_net_flops, count_parameters  # noqa: E402
from ofa_proxylessnas_peer import randomise, same_network, their_network  # noqa: E402

SIDE = 64
NUM_ARCHS = 3


@pytest.fixture(scope="module")
def supernet() -> ProxylessNASSupernet:
    torch.manual_seed(0)
    supernet = ProxylessNASSupernet(num_classes=10, width=0.5, input_size=(3, SIDE, SIDE))
    return randomise(supernet)


@pytest.fixture(scope="module")
def archs(supernet: ProxylessNASSupernet) -> list[Architecture]:
    choices = supernet.space.sample_choices(NUM_ARCHS, np.random.default_rng(0))
    return supernet.space.architectures(choices)


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, SIDE, SIDE, generator=generator).to(dtype)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@torch.no_grad()
def test_the_same_weights_give_the_same_logits(
    supernet: ProxylessNASSupernet,
    archs: list[Architecture],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    ours, x = supernet.to(dtype).eval(), images(dtype)
    for arch in archs:
        expected = same_network(ours, arch)(x)
        assert relative_error(expected.mean(0), expected) > 1e-3  # images tell apart
        assert relative_error(ours(x, arch), expected) < tolerance
        assert torch.equal(ours.extract(arch)(x), ours(x, arch))


def test_counts_agree(supernet: ProxylessNASSupernet, archs: list[Architecture]) -> None:
    params, macs = supernet.count(supernet.space.choices_of(archs))
    for arch, own_params, own_macs in zip(archs, params, macs, strict=True):
        theirs = their_network(supernet.float(), arch)
        assert own_params == count_parameters(theirs)
        expected = count_net_flops(theirs, (1, 3, SIDE, SIDE))
        assert own_macs == pytest.approx(expected, rel=1e-6)  # theirs is a sum in float32


def test_their_description_of_a_network_is_read(
    supernet: ProxylessNASSupernet, archs: list[Architecture]
) -> None:
    for arch in archs:
        config: dict[str, Any] = their_network(supernet, arch).config
        assert supernet.space.parse(json.dumps(config)) == arch


def test_gradients_agree(supernet: ProxylessNASSupernet, archs: list[Architecture]) -> None:
    ours, x, y = supernet.double().train(), images(torch.float64), torch.arange(4)
    theirs = same_network(ours, archs[0]).train()
    subnet = ours.extract(archs[0])
    for network in (theirs, subnet):
        F.cross_entropy(network(x), y).backward()
    found = [parameter.grad for parameter in subnet.parameters()]
    for gradient, parameter in zip(found, theirs.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-7, atol=1e-10)
