"""The elastic Vision Transformer is timm's for every architecture, and uses no other weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.layers import Attention
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from supernets.networks.base import Supernet
from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.vit import ViTSupernet
from supernets.networks.vit_subnet import timm_arguments, timm_definition
from supernets.spaces import Architecture
from supernets.training.optimizers import create_optimizer
from supernets.training.standalone_config import RetrainConfig
from supernets.training.supernet_config import TrainConfig

SMALL: dict[str, Any] = {"num_classes": 3, "preset": "digits", "input_size": (1, 8, 8)}


@pytest.fixture
def supernet() -> ViTSupernet:
    torch.manual_seed(0)
    return ViTSupernet(**SMALL)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def samples(supernet: ViTSupernet, num_archs: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [supernet.space.sample(rng) for _ in range(num_archs)]


def meta_supernet(**settings: Any) -> ViTSupernet:
    """One without weights."""
    with torch.device("meta"):
        return ViTSupernet(**settings)


def test_subnets_are_of_timms_classes_alone(supernet: ViTSupernet) -> None:
    subnet = supernet.extract(supernet.space.parse("e=48;d=3;h=2,3,4;r=1,2,4"))
    assert type(subnet) is VisionTransformer
    assert {type(module).__module__.split(".")[0] for module in subnet.modules()} == {
        "timm",
        "torch",
    }
    attentions = [module for module in subnet.modules() if type(module) is Attention]
    assert [(each.num_heads, each.head_dim) for each in attentions] == [(2, 16), (3, 16), (4, 16)]


def test_equal_layers_are_what_timm_builds_from_its_arguments(images: Tensor) -> None:
    supernet = ViTSupernet(**SMALL).eval()
    arch = supernet.space.parse("e=48;d=3;h=3,3,3;r=2,2,2")
    arguments = timm_arguments(timm_definition(arch, **SMALL))
    assert arguments == {
        **{"img_size": [8, 8], "in_chans": 1, "num_classes": 3, "patch_size": 4},
        **{"embed_dim": 48, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0},
    }
    plain = VisionTransformer(**arguments).eval()
    plain.load_state_dict(supernet.extract(arch).state_dict())
    assert torch.equal(plain(images), supernet(images, arch))


@pytest.mark.parametrize(
    "notation",
    [
        "e=48;d=2;h=3,2;r=2,2",
        "e=48;d=2;h=3,3;r=2,4",
        "e=64;d=2;h=3,3;r=2,2",
    ],
)
def test_other_layers_are_beyond_timms_arguments(supernet: ViTSupernet, notation: str) -> None:
    assert timm_arguments(timm_definition(supernet.space.parse(notation), **SMALL)) is None


def test_weights_of_timms_largest_network_are_a_supernet(images: Tensor) -> None:
    supernet = ViTSupernet(**SMALL).eval()
    largest = supernet.space.extremes()[1]
    plain = VisionTransformer(**timm_arguments(timm_definition(largest, **SMALL))).eval()
    supernet.load_state_dict(plain.state_dict())
    assert torch.equal(plain(images), supernet(images, largest))


def test_deit_tiny_is_one_of_the_default_space() -> None:
    supernet = meta_supernet(num_classes=1000)
    heads, ratios = ",".join("3" * 12), ",".join("4" * 12)
    arch = supernet.space.parse(f"e=192;d=12;h={heads};r={ratios}")
    with torch.device("meta"):
        deit = timm.create_model("deit_tiny_patch16_224").eval()
    subnet = supernet.build_subnet(arch).state_dict()
    assert {name: tensor.shape for name, tensor in deit.state_dict().items()} == {
        name: tensor.shape for name, tensor in subnet.items()
    }
    params, macs = supernet.count(np.array([arch.choices]))
    assert (params[0], macs[0]) == (5_717_416, 1_253_683_200)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 5, "preset": "digits", "head_dim": 5, "input_size": (2, 8, 12)},
        pytest.param({"num_classes": 1000}, marks=pytest.mark.slow),
        pytest.param({"num_classes": 1000, "preset": "base"}, marks=pytest.mark.slow),
    ],
)
def test_costs_are_those_that_run(settings: dict[str, Any]) -> None:
    supernet = meta_supernet(**settings).eval()
    x = torch.zeros(1, *supernet.input_size, device="meta")
    archs = [supernet.space.extremes()[1], *samples(supernet, 1)]
    for arch, params, macs in zip(
        archs, *supernet.count(supernet.space.choices_of(archs)), strict=True
    ):
        subnet = supernet.extract(arch)
        assert params == sum(p.numel() for p in subnet.parameters())
        for network in (subnet, lambda images, arch=arch: supernet(images, arch)):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:  # on meta it sees all
                network(x)
            assert 2 * macs == counter.get_total_flops()


def test_gradients_are_of_the_first_heads_and_channels(
    supernet: ViTSupernet, images: Tensor
) -> None:
    arch = supernet.space.parse("e=48;d=2;h=2,3;r=1,4")
    subnet = supernet.extract(arch)
    supernet(images, arch).square().sum().backward()
    subnet(images).square().sum().backward()
    for i, heads in enumerate((2, 3)):
        found = supernet.get_parameter(f"blocks.{i}.attn.qkv.weight").grad
        expected = subnet.get_parameter(f"blocks.{i}.attn.qkv.weight").grad
        assert found is not None and expected is not None
        by_head = found.reshape(3, 4, 16, 64)  # queries, keys, values
        used = by_head[:, :heads, :, :48].reshape(3 * heads * 16, 48)
        assert torch.equal(used, expected) and used.any()
        by_head[:, :heads, :, :48] = 0
        assert not by_head.any()
    assert all(parameter.grad is None for parameter in supernet.blocks[2:].parameters())


def test_rates_of_dropping_are_those_of_timm(supernet: ViTSupernet, images: Tensor) -> None:
    rates = {"dropout": 0.3, "drop_path": 0.5}
    for arch in samples(supernet, 5):
        subnet = create_subnet(arch, **rates, **supernet.settings)
        subnet.load_state_dict(supernet.extract(arch).state_dict())
        drops = []
        for network in (subnet, lambda x, arch=arch: supernet(x, arch, **rates)):
            torch.manual_seed(3)
            drops.append(network(images))
        assert torch.equal(*drops)
        assert not torch.equal(drops[0], supernet(images, arch))


def test_weights_start_as_those_of_timm() -> None:
    torch.manual_seed(0)
    own = create_supernet("vit", num_classes=10, preset="cifar", input_size=(3, 32, 32))
    plain = own.build_subnet(own.space.extremes()[1]).state_dict()
    for name, tensor in own.state_dict().items():
        expected = plain[name]
        assert tensor.shape == expected.shape
        assert tensor.std().item() == pytest.approx(expected.std().item(), rel=0.2, abs=1e-8), name
        assert abs(tensor.mean() - expected.mean()) <= 8 * expected.std() / math.sqrt(len(tensor))


@pytest.mark.parametrize("config", [TrainConfig, RetrainConfig])
def test_positions_never_decay(supernet: ViTSupernet, config: Callable[..., Any]) -> None:
    """A supernet and its subnets are trained alike."""
    own = {"pos_embed", "cls_token"}
    for network in (supernet, supernet.build_subnet(supernet.space.extremes()[0])):
        for decay_all in (True, False):
            recipe = config(opt="adamw", decay_bn_bias=decay_all)
            optimizer = create_optimizer(network, recipe)
            decayed = {
                id(parameter)
                for group in optimizer.param_groups
                if group["weight_decay"] > 0
                for parameter in group["params"]
            }
            names = {name for name, p in network.named_parameters() if id(p) in decayed}
            assert names == {
                name
                for name, parameter in network.named_parameters()
                if name not in own and (decay_all or parameter.dim() > 1)
            }


def test_there_is_nothing_to_recalibrate(make_supernet: Callable[..., Supernet]) -> None:
    supernet = make_supernet("vit")
    assert not supernet.needs_recalibration
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in supernet.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (3, 30, 32)}, "Images of 30x32 pixels must be of whole patches of 4"),
        ({"patch_size": 5}, "must be of whole patches of 5 pixels a side; choose another --patch"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"depths": (300,)}, "depths must be at most 256, got 300"),
        ({"mlp_ratios": ("4",)}, "mlp_ratios must be a number, got '4'"),
        ({"heads": 4}, "heads must be a list of numbers, got 4"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"preset": "giant"}, "Unknown preset 'giant'; choose from tiny, small, base"),
        pytest.param(
            {"embed_dims": (4096,), "depths": (256,)}, "weights alone are", marks=pytest.mark.slow
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    whole = {"num_classes": 3, "preset": "cifar", "input_size": (3, 32, 32), **settings}
    with pytest.raises(ValueError, match=message):
        create_supernet("vit", **whole)
    with pytest.raises(ValueError, match=message):
        create_subnet(Architecture("vit", (0,) * 18), **whole)
