"""Agreement of elastic ResNet-50D with the authors' ``ofa`` package on the same weights."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.training.ofa_resnet50d import (
    OFA_RESNET50D,
    released_resnet50d,
    to_ofa_resnet_state_dict,
)
from supernets.training.released_files import read_released

pytest.importorskip("ofa", reason="needs the extra 'peers'")
from ofa.imagenet_classification.elastic_nn.networks import OFAResNets  # noqa: E402
from ofa.utils.pytorch_utils import count_net_flops, count_parameters  # noqa: E402

SIDE = 45  # of the images in pixels; odd, as pools round up
Pair = tuple[Any, ResNet50DSupernet]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Their supernet, far from its initial state, and ours by way of a file like the released."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        theirs = OFAResNets(
            n_classes=10,
            depth_list=[0, 1, 2],
            expand_ratio_list=[0.2, 0.25, 0.35],
            width_mult_list=[0.65, 0.8, 1.0],
        )
        norms = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.weight.add_(torch.rand_like(norm.weight) - 0.5)
            norm.bias.add_(torch.rand_like(norm.bias) - 0.5)
            norm.momentum = None  # cumulative average
        theirs.train()(torch.randn(8, 3, SIDE, SIDE))
    path = tmp_path_factory.mktemp("ofa") / "ofa_resnet50"
    torch.save({"state_dict": theirs.state_dict()}, path)
    return theirs.eval(), loaded(path)


def loaded(path: Path) -> ResNet50DSupernet:
    released = read_released(path, expected=OFA_RESNET50D.expected)
    return released_resnet50d(released, input_size=(3, SIDE, SIDE))


def images() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def drawn(num_archs: int) -> list[dict[str, list[Any]]]:
    rng = random.Random(3)
    return [{"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6}] + [
        {
            "d": [rng.choice([0, 2]), *rng.choices([0, 1, 2], k=4)],
            "e": rng.choices([0.2, 0.25, 0.35], k=18),
            "w": rng.choices([0, 1, 2], k=6),
        }
        for _ in range(num_archs)
    ]


@torch.no_grad()
def test_random_subnets_give_the_same_logits_and_costs(pair: Pair) -> None:
    theirs, ours = pair
    x = images()
    for each in drawn(3):
        theirs.set_active_subnet(**each)
        arch = ours.space.parse(json.dumps(each))
        expected, found = theirs(x), ours(x, arch)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert torch.equal(ours.extract(arch)(x), found)
        subnet = theirs.get_active_subnet(preserve_weight=False)
        params, macs = ours.count(np.array([arch.choices]))
        assert params[0] == count_parameters(subnet)
        # theirs is a sum in float32
        assert macs[0] == pytest.approx(count_net_flops(subnet, (1, 3, SIDE, SIDE)), rel=1e-6)


@torch.no_grad()
def test_a_static_full_network_is_read(pair: Pair, tmp_path: Path) -> None:
    theirs, _ = pair
    theirs.set_max_net()
    static = theirs.get_active_subnet().eval()
    torch.save(static.state_dict(), tmp_path / "static")
    ours = loaded(tmp_path / "static")
    expected = static(images())
    found = ours(images(), ours.space.extremes()[1])
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_their_network_has_the_names_that_ours_writes(pair: Pair) -> None:
    theirs, ours = pair
    found, own = theirs.state_dict(), to_ofa_resnet_state_dict(ours)
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())
