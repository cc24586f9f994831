"""Agreement with the authors' own ``ofa`` package, of the extra ``peers``, on the same weights."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.cost.analytic import CostModel
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.spaces import Architecture
from supernets.training.channel_sorting import sort_channels
from supernets.training.ofa_checkpoints import load_ofa_checkpoint, to_ofa_state_dict

pytest.importorskip("ofa", reason="needs the extra 'peers'")
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3  # noqa: E402
from ofa.utils.pytorch_utils import count_net_flops, count_parameters  # noqa: E402

NUM_SUBNETS = 2  # beside the full network; benchmarks/ofa_agreement.py compares more
SIDE = 64  # of the images in pixels
Pair = tuple[Any, MobileNetV3Supernet]


@pytest.fixture(scope="module", params=[1.0, 1.2])
def width(request: pytest.FixtureRequest) -> float:
    width: float = request.param
    return width


@pytest.fixture(scope="module")
def saved(width: float, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Their supernet, far from its initial state, and a file of its weights."""
    path = tmp_path_factory.mktemp("ofa") / f"ofa_mbv3_d234_e346_k357_w{width}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = OFAMobileNetV3(
            n_classes=1000,
            dropout_rate=0,
            width_mult=width,
            ks_list=[3, 5, 7],
            expand_ratio_list=[3, 4, 6],
            depth_list=[2, 3, 4],
        )
        randomise(theirs)
    torch.save({"state_dict": theirs.state_dict()}, path)
    return theirs, path


@pytest.fixture
def pair(saved: tuple[Any, Path]) -> Pair:
    """Their supernet and ours with the same weights, both as they were saved."""
    theirs, path = saved
    theirs.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    return theirs.float().eval(), load_ofa_checkpoint(path)


@torch.no_grad()
def randomise(theirs: nn.Module) -> None:
    """BatchNorm and kernel transforms as training might leave them, so that images matter."""
    for name, parameter in theirs.named_parameters():
        if "matrix" in name:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        elif "bn" in name:
            parameter.add_(torch.rand_like(parameter) - 0.5)
    norms = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # cumulative average
    theirs.train()(images(16))
    for norm in norms:
        norm.momentum = 0.1
        norm.running_mean.add_(torch.randn_like(norm.running_mean) * norm.running_var.sqrt() * 0.1)
        norm.running_var.mul_(torch.rand_like(norm.running_var) * 0.5 + 0.75)


def images(num_images: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    contrast = torch.linspace(0.5, 1.5, num_images).reshape(-1, 1, 1, 1)
    return (torch.randn(num_images, 3, SIDE, SIDE, generator=generator) * contrast).to(dtype)


def activate(theirs: Any, ours: MobileNetV3Supernet, num_archs: int) -> Iterator[Architecture]:
    """Sets their supernet to one architecture after another, the full network first."""
    theirs.set_max_net()
    yield ours.space.parse(json.dumps({"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5}))
    state = random.getstate()
    random.seed(2)
    archs = [theirs.sample_active_subnet() for _ in range(num_archs)]
    random.setstate(state)
    for arch in archs:
        theirs.set_active_subnet(**arch)
        yield ours.space.parse(json.dumps(arch))


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_random_subnets_give_the_same_logits(pair: Pair) -> None:
    theirs, ours = pair
    x = images()
    with torch.no_grad():
        for arch in activate(theirs, ours, NUM_SUBNETS):
            expected = theirs(x)
            assert relative_error(expected.mean(0), expected) > 1e-3  # images tell apart
            assert relative_error(ours(x, arch), expected) < 1e-4
            assert relative_error(ours.extract(arch)(x), expected) < 1e-4
            assert relative_error(theirs.get_active_subnet().eval()(x), expected) < 1e-4


def test_float64_leaves_no_doubt(pair: Pair) -> None:
    theirs, ours = (net.double() for net in pair)
    x = images(dtype=torch.float64)
    with torch.no_grad():
        for arch in activate(theirs, ours, NUM_SUBNETS):
            expected = theirs(x)
            assert relative_error(ours(x, arch), expected) < 1e-11
            assert relative_error(ours.extract(arch)(x), expected) < 1e-11


def test_counts_agree(pair: Pair) -> None:
    theirs, ours = pair
    for arch in activate(theirs, ours, NUM_SUBNETS):
        subnet = theirs.get_active_subnet(preserve_weight=False)
        cost = CostModel(ours).measure(arch)
        assert cost.params == count_parameters(subnet)
        # theirs is a sum in float32
        assert cost.macs == pytest.approx(count_net_flops(subnet, (1, 3, 224, 224)), rel=1e-6)


def test_a_training_step_moves_the_same_weights(pair: Pair) -> None:
    theirs, ours = (net.double().train() for net in pair)
    x, y = images(dtype=torch.float64), torch.arange(4)
    for arch in activate(theirs, ours, 1):
        losses = []
        for net, args in ((theirs, ()), (ours, (arch,))):
            net.zero_grad()
            loss = F.cross_entropy(net(x, *args), y)
            loss.backward()
            losses.append(loss)
            torch.optim.SGD(net.parameters(), lr=0.01).step()
        torch.testing.assert_close(losses[1], losses[0])
        after = to_ofa_state_dict(ours)
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(after[name], tensor, rtol=1e-7, atol=1e-9, msg=name)


def test_a_static_full_network_is_read(pair: Pair, tmp_path: Path) -> None:
    theirs, _ = pair
    theirs.set_max_net()
    static = theirs.get_active_subnet().eval()
    torch.save(static.state_dict(), tmp_path / "static")
    ours = load_ofa_checkpoint(tmp_path / "static").double()
    x = images(dtype=torch.float64)
    with torch.no_grad():
        full = next(activate(theirs, ours, 0))
        assert relative_error(ours(x, full), static.double()(x)) < 1e-11


def test_their_network_reads_what_ours_writes(pair: Pair) -> None:
    theirs, ours = pair
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(1.01)
    theirs.load_state_dict(to_ofa_state_dict(ours))
    found = theirs.state_dict()
    assert all(torch.equal(found[name], t) for name, t in to_ofa_state_dict(ours).items())


def test_channels_are_sorted_alike(pair: Pair) -> None:
    """Before any narrower ratio is trained; in float64, where no two channels tie."""
    theirs, ours = (net.double() for net in pair)
    theirs.re_organize_middle_weights(expand_ratio_stage=0)
    sort_channels(ours, (6,))
    found = to_ofa_state_dict(ours)
    assert all(torch.equal(found[name], t) for name, t in theirs.state_dict().items())
