"""The ProxylessNAS supernet is timm's network for every path, and counts what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from timm.models import EfficientNet
from torch import Tensor, nn

from supernets.networks.factory import create_subnet
from supernets.networks.marked_costs import own_costs
from supernets.networks.proxylessnas import ProxylessNASSupernet
from supernets.networks.proxylessnas_subnet import timm_definition, timm_network
from supernets.networks.timm_batchnorm import FusedBatchNormAct2d
from supernets.spaces import Architecture

SMALL: dict[str, Any] = {
    "num_classes": 3,
    "width": 0.1,
    "input_size": (3, 16, 16),
    "strides": (1, 2, 2, 1, 2, 1, 1),
}


@pytest.fixture(scope="module")
def supernet() -> ProxylessNASSupernet:
    torch.manual_seed(0)
    return ProxylessNASSupernet(**SMALL)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def samples(supernet: ProxylessNASSupernet, num_archs: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [supernet.space.sample(rng) for _ in range(num_archs)]


def test_subnets_are_what_timm_builds(supernet: ProxylessNASSupernet, images: Tensor) -> None:
    for arch in samples(supernet, 3):
        subnet = supernet.eval().extract(arch)
        plain = timm_network(timm_definition(arch, **SMALL)).eval()
        assert type(subnet) is EfficientNet and str(subnet) == str(plain)
        plain.load_state_dict(subnet.state_dict())
        assert torch.equal(plain(images), supernet(images, arch))


def test_every_option_has_weights_of_its_own(supernet: ProxylessNASSupernet) -> None:
    """Those of a block are as large as the blocks of six networks, three for the first."""
    of_decisions = [
        sum(len(decision.options) - ("skip" in decision.options) for decision in decisions)
        for decisions in (supernet.space.decisions[:1], supernet.space.decisions[1:])
    ]
    assert of_decisions == [3, 6 * 21]
    storages = {parameter.data_ptr() for parameter in supernet.parameters()}
    assert len(storages) == len(list(supernet.parameters()))
    depthwise = [name for name, _ in supernet.named_parameters() if "conv_dw" in name]
    assert len(depthwise) == sum(of_decisions)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        {"num_classes": 1000},
        {
            "num_classes": 5,
            "width": 1.3,
            "input_size": (1, 33, 48),
            "strides": [2, 1, 2, 1, 2, 1, 2],
        },
    ],
)
def test_costs_are_those_that_run(settings: dict[str, Any]) -> None:
    with torch.device("meta"):
        supernet = ProxylessNASSupernet(**settings)
        archs = samples(supernet, 2)
        counted = zip(archs, *supernet.count(supernet.space.choices_of(archs)), strict=True)
        for arch, params, macs in counted:
            subnet = supernet.build_subnet(arch).eval()
            costs = own_costs(subnet, supernet.input_size)
            assert params == sum(each[0] for each in costs.values())
            assert macs == sum(each[1] for each in costs.values())


def test_one_of_them_is_what_timm_knows_as_mobilenet_v2_but_for_widths() -> None:
    """MobileNetV2 of 1.1 times the depth has other widths; its blocks are ours."""
    with torch.device("meta"):
        mobilenet = timm.create_model("mobilenetv2_100")
        supernet = ProxylessNASSupernet(num_classes=1000)
        text = "e1k3;e6k3,e6k3,-,-;e6k3,e6k3,e6k3,-;e6k3,e6k3,e6k3,e6k3;e6k3,e6k3,e6k3,-"
        subnet = supernet.build_subnet(supernet.space.parse(f"{text};e6k3,e6k3,e6k3,-;e6k3"))
    assert list(mobilenet.state_dict()) == list(subnet.state_dict())
    theirs = [type(module) for module in mobilenet.modules()]
    ours = [type(module) for module in subnet.modules()]
    assert theirs == [BatchNormAct2d if kind is FusedBatchNormAct2d else kind for kind in ours]


def test_blocks_with_a_shortcut_add_little_at_first(supernet: ProxylessNASSupernet) -> None:
    weights: dict[bool, set[float]] = {False: set(), True: set()}
    for module in supernet.modules():
        if hasattr(module, "has_skip") and hasattr(module, "bn3"):
            weights[module.has_skip] |= set(module.bn3.weight.tolist())
    assert weights == {False: {1.0}, True: {torch.tensor(0.1).item()}}
    fresh = supernet.build_subnet(samples(supernet, 1)[0])  # a network alone starts as timm's
    norms = [module for module in fresh.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((module.weight == 1).all() for module in norms)


def test_batchnorm_is_that_of_the_authors(supernet: ProxylessNASSupernet) -> None:
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_rates_of_dropping_are_those_of_timm(
    supernet: ProxylessNASSupernet, images: Tensor
) -> None:
    rates = {"dropout": 0.3, "drop_path": 0.5}
    supernet.train()
    for arch in samples(supernet, 3):
        extracted = supernet.extract(arch)
        subnet = create_subnet(arch, **rates, **supernet.settings)
        subnet.load_state_dict(extracted.state_dict())
        drops = []
        for network in (subnet, lambda x, arch=arch: supernet(x, arch, **rates)):
            torch.manual_seed(3)
            drops.append(network(images))
        assert torch.equal(*drops)
        plain = supernet(images, arch)
        assert torch.equal(extracted(images), plain)  # without any
        assert not torch.equal(drops[0], plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"strides": (2, 2, 2, 2, 2, 2, 1)},
            "for the stem and the 6 stages, of which four at most",
        ),
        ({"strides": (2, 2, 2)}, "strides must be 7 numbers"),
        ({"width": -1.0}, "width must be positive, got -1.0"),
        ({"input_size": (3, 8, 8)}, "Images of 8 pixels are smaller than the network's total"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProxylessNASSupernet(**{"num_classes": 3, **settings})
