"""Widths, costs and weights of elastic ResNet-50D, against timm where it has the same network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models import ResNet
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.networks.resnet50d_subnet import resnet50d_subnet, scaled_channels
from supernets.spaces import ResNet50DSpace

SPACE = ResNet50DSpace()
SMALLEST, LARGEST = SPACE.extremes()
#: ResNet-50D's 3, 4, 6 and 3 bottlenecks, a quarter wide inside, at full width.
RESNET50D = SPACE.parse(
    "d=2,1,2,2,1;e=25,25,25,-,25,25,25,25,25,25,25,25,25,25,25,25,25,-;w=100,100,100,100,100,100"
)


def published(**settings: Any) -> ResNet50DSupernet:
    with torch.device("meta"):
        return ResNet50DSupernet(**{"num_classes": 1000, **settings})


def test_widths_are_those_of_ofa() -> None:
    channels = scaled_channels(1.0)
    assert channels.inner == (24, 32) and channels.stem == (40, 48, 64)
    assert channels.stages == (
        (168, 208, 256),
        (336, 408, 512),
        (664, 816, 1024),
        (1328, 1640, 2048),
    )
    assert channels.mids[0] == ((32, 40, 56), (40, 56, 72), (48, 64, 88))
    assert channels.mids[3] == ((264, 336, 464), (328, 408, 576), (408, 512, 720))
    for stage in channels.mids:
        assert all(len(set(mids)) == 3 for mids in stage)  # no two choices are the same


@pytest.mark.parametrize("width", [0.125, 0.25, 1.5])
def test_a_multiplier_changes_no_other_choice(width: float) -> None:
    whole, scaled = scaled_channels(1.0), scaled_channels(width)
    for ours, theirs in zip(
        (scaled.inner, scaled.stem, *scaled.stages, *(m for s in scaled.mids for m in s)),
        (whole.inner, whole.stem, *whole.stages, *(m for s in whole.mids for m in s)),
        strict=True,
    ):
        assert [float(channels) for channels in ours] == [width * channels for channels in theirs]


def test_costs_are_timms_resnet50d_but_for_the_skip_of_the_stem() -> None:
    """Its deep stem has the same three convolutions, without a skip around the second."""
    params, macs = published().count(np.array([RESNET50D.choices]))
    with torch.device("meta"):
        network = timm.create_model("resnet50d")
    assert params[0] == sum(parameter.numel() for parameter in network.parameters())
    assert params[0] == 25_576_264
    assert macs[0] == counted_macs(network, torch.empty(1, 3, 224, 224, device="meta"))


@torch.no_grad()
def counted_macs(network: nn.Module, x: Tensor) -> int:
    macs = []

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        assert isinstance(module.weight, Tensor)
        macs.append(module.weight.numel() * math.prod(out.shape[2:]))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(x)
    return sum(macs)


@pytest.mark.parametrize("strides", [(2, 2), (2, 1), (1, 1)])
def test_counts_are_exact_for_odd_images(strides: tuple[int, int]) -> None:
    supernet = published(input_size=(1, 37, 50), strides=strides, width=0.25)
    choices = SPACE.sample_choices(6, np.random.default_rng(0))
    params, macs = supernet.count(choices)
    for arch, num_params, num_macs in zip(SPACE.architectures(choices), params, macs, strict=True):
        with torch.device("meta"):
            network = supernet.build_subnet(arch)
        assert num_params == sum(parameter.numel() for parameter in network.parameters())
        assert num_macs == counted_macs(network, torch.empty(1, 1, 37, 50, device="meta"))


def test_the_weights_of_timms_resnet50d_give_its_maps() -> None:
    """From the pool on, as the stems differ by the skip; at an odd side, where pools round up."""
    torch.manual_seed(0)
    theirs = timm.create_model("resnet50d", num_classes=5).eval()
    network = create_subnet(RESNET50D, num_classes=5, input_size=(3, 64, 64)).eval()
    own = network.state_dict()
    for name, tensor in theirs.state_dict().items():
        if not name.startswith("conv1."):
            own[name] = tensor
    network.load_state_dict(own)
    x = torch.randn(1, 64, 19, 19, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            expected = getattr(theirs, stage)(x)
            x = getattr(network, stage)(x)
            assert torch.equal(x, expected)
        assert torch.equal(network.forward_head(x), theirs.forward_head(x))


def test_subnets_are_timms_class_and_know_their_features() -> None:
    for arch, stem, last in ((SMALLEST, 40, 1328), (LARGEST, 64, 2048)):
        with torch.device("meta"):
            network = published().build_subnet(arch)
        assert type(network) is ResNet
        assert [each["num_chs"] for each in network.feature_info][::4] == [stem, last]
        assert network.get_classifier().in_features == network.num_features == last
        assert ("layer" in dict(network.conv1.named_children())) == (arch == LARGEST)


def test_dropout_and_drop_path_are_timms(make_supernet: Callable[..., Supernet]) -> None:
    """The same random numbers drop the same images and features, at the same rates."""
    supernet = make_supernet("resnet50d").train()
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for arch in SPACE.architectures(SPACE.sample_choices(2, np.random.default_rng(0))):
        network = resnet50d_subnet(arch, **supernet.settings, dropout=0.4, drop_path=0.6).train()
        network.load_state_dict(supernet.extract(arch).state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(1)
            expected = network(x)
            torch.manual_seed(1)
            found = supernet(x, arch, dropout=0.4, drop_path=0.6)
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, supernet(x, arch), rtol=0.01)
        supernet.eval()
        assert torch.equal(supernet(x, arch, dropout=0.4, drop_path=0.6), supernet(x, arch))
        supernet.train()


def test_weights_start_by_fan_out_and_no_batchnorm_at_zero() -> None:
    """Bottlenecks of the supernet add little at first; a network alone starts as timm's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = create_supernet("resnet50d", num_classes=10, width=0.25)
        subnet = supernet.build_subnet(LARGEST)
    for network in (supernet, subnet):
        assert isinstance(network, nn.Module)
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                adds_little = network is supernet and name.endswith(".bn3")
                assert (module.weight == (0.1 if adds_little else 1)).all(), name
            elif isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
                fan_out = module.out_channels * math.prod(module.kernel_size)
                assert module.weight.std().item() == pytest.approx(
                    math.sqrt(2 / fan_out), rel=0.05
                ), name


def test_narrow_and_shallow_paths_leave_the_statistics_of_the_rest_alone(
    make_supernet: Callable[..., Supernet],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
) -> None:
    supernet = make_supernet("resnet50d").train()
    before = weights_of(supernet)
    supernet(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), SMALLEST)
    in_path = {
        name: tensor.shape for name, tensor in supernet.extract(SMALLEST).state_dict().items()
    }
    for name, tensor in supernet.state_dict().items():
        if "running" not in name:
            continue
        num_active = in_path[name][0] if name in in_path else 0
        assert torch.equal(tensor[num_active:], before[name][num_active:]), name
        assert not (tensor[:num_active] == before[name][:num_active]).any(), name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"width": 0.3}, "width must be a positive multiple of 0.125, got 0.3"),
        ({"width": 0.0}, "width must be a positive multiple of 0.125, got 0.0"),
        ({"width": math.nan}, "width must be a positive multiple of 0.125, got nan"),
        ({"input_size": (0, 32, 32)}, "input_size must start with the channels"),
        ({"strides": (2, 2, 2)}, "strides must be 2 numbers, each 1 or 2, for the stem and the"),
        ({"strides": (2, 3)}, "strides must be 2 numbers"),
        ({"input_size": (3, 31, 64)}, "Images of 31 pixels are smaller than .* stride of 32"),
        ({"input_size": (3, 8, 8), "strides": (1, 2)}, "stride of 16; .* smaller strides"),
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        ResNet50DSupernet(**{"num_classes": 10, **wrong})
