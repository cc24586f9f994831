"""Spaces, supernets and subnets by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from supernets.networks import factory
from supernets.networks.base import Supernet
from supernets.networks.factory import (
    chosen_amp,
    create_relaxed_network,
    create_subnet,
    create_supernet,
    default_amp,
)
from supernets.spaces import Architecture
from supernets.spaces.factory import create_space, spaces_with


@pytest.fixture
def tiny(tiny_settings: dict[str, Any], tiny_elastic_settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a tiny supernet of every space."""
    cells = {"num_classes": 3, "channels": 4, "layers": 3, "input_size": (3, 8, 8)}
    return {
        "nasbench201": tiny_settings,
        "mobilenetv3": tiny_elastic_settings,
        "nasnet": cells,
        "darts": cells,
        "nasbench_macro": {"num_classes": 3, "stem_channels": 4, "input_size": (3, 8, 8)},
        "resnet50d": {
            "num_classes": 3,
            "width": 0.125,
            "input_size": (3, 16, 16),
            "strides": (2, 1),
        },
        "proxylessnas": {
            "num_classes": 3,
            "width": 0.1,
            "strides": (1, 1, 2, 2, 1, 1, 1),
            "input_size": (3, 8, 8),
        },
        "vit": {
            "num_classes": 3,
            "embed_dims": (16, 20, 24),
            "depths": (2, 3),
            "heads": (1, 2, 3),
            "mlp_ratios": (1.0, 2.0),
            "head_dim": 8,
            "patch_size": 2,
            "input_size": (3, 8, 8),
        },
    }


@pytest.mark.parametrize("name", spaces_with("has_networks"))
def test_every_name_gives_its_supernet(name: str, tiny: dict[str, Any]) -> None:
    supernet = create_supernet(name, **tiny[name])
    assert isinstance(supernet, Supernet)
    assert supernet.space.name == name
    assert {key: supernet.settings[key] for key in tiny[name]} == tiny[name]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("nasbench201", {}),
        ("mobilenetv3", {}),
        ("mobilenetv3", {"resolutions": (24, 32)}),
        ("nasnet", {}),
        ("nasbench_macro", {}),
        ("resnet50d", {}),
        ("proxylessnas", {}),
        ("vit", {}),
        ("darts", {"auxiliary": True, "input_size": (3, 29, 29)}),
    ],
)
def test_subnet_equals_what_the_supernet_builds(
    name: str, more: dict[str, Any], tiny: dict[str, Any]
) -> None:
    supernet = create_supernet(name, **{**tiny[name], **more})
    images = torch.randn(2, *supernet.input_size)
    arch = supernet.space.sample(np.random.default_rng(0))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        subnet = create_subnet(arch, **supernet.settings).eval()  # its bn_mode is the supernet's
        torch.manual_seed(5)
        built = supernet.build_subnet(arch).eval()
    assert subnet.state_dict().keys() == built.state_dict().keys()
    assert torch.equal(subnet(images), built(images))


def test_depthwise_convolutions_are_in_float32_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are in bfloat16 wherever the hardware has it."""
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(factory, "has_bfloat16", lambda device, has=has_bfloat16: has)
        assert default_amp("nasbench201", torch.device("cpu")) == has_bfloat16
        for name in ("mobilenetv3", "nasnet", "darts"):  # of depthwise convolutions
            assert default_amp(name, torch.device("cuda")) == has_bfloat16
            assert not default_amp(name, torch.device("cpu"))


def test_autocast_is_what_is_asked_for_where_the_device_has_it() -> None:
    cpu, without = torch.device("cpu"), torch.device("meta")
    assert chosen_amp(True, "mobilenetv3", cpu)
    assert not chosen_amp(None, "mobilenetv3", cpu)
    assert not chosen_amp(False, "nasbench201", without)
    assert not chosen_amp(None, "nasbench201", without)
    with pytest.raises(ValueError, match="does not have for meta"):
        chosen_amp(True, "nasbench201", without)


def test_unknown_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_supernet("darts7", num_classes=3)
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_subnet(Architecture("darts7", (0,)), num_classes=3)


def test_settings_are_checked_by_the_supernet() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        create_supernet("nasbench201", num_classes=0)
    with pytest.raises(ValueError, match="need num_classes; pass that of the data"):
        create_supernet("nasbench201")
    with pytest.raises(ValueError, match=r"Unknown space \['darts'\]; choose from"):
        create_supernet(["darts"])  # type: ignore[arg-type]


@pytest.mark.parametrize("create", [create_supernet, create_relaxed_network])
def test_unknown_settings_are_refused_with_those_there_are(create: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"'nasbench201' have no layers; there are num_class"):
        create("nasbench201", num_classes=10, layers=4)
    with pytest.raises(ValueError, match=r"have no chanels; .*; did you mean channels\?$"):
        create("darts", num_classes=10, chanels=4)


@pytest.mark.parametrize(
    ("name", "unknown", "known"),
    [
        ("nasbench201", "layers", "channels"),
        ("darts", "chanels", "layers"),
        ("mobilenetv3", "channels", "drop_path"),
    ],
)
def test_unknown_settings_of_subnets_are_refused_alike(name: str, unknown: str, known: str) -> None:
    arch = create_space(name).sample(np.random.default_rng(0))
    message = f"Subnets of space '{name}' have no {unknown}; there are .*{known}"
    with pytest.raises(ValueError, match=message):
        create_subnet(arch, num_classes=10, **{unknown: 4})


def test_subnets_of_invalid_architectures_are_refused(tiny_settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="6 decisions, got 1"):
        create_subnet(Architecture("nasbench201", (0,)), **tiny_settings)
    for name in ("nasnet", "darts"):
        with pytest.raises(ValueError, match="24 decisions, got 1"):
            create_subnet(Architecture(name, (0,)), num_classes=3)


def test_subnets_of_cells_may_have_an_auxiliary_head() -> None:
    arch = create_space("darts").sample(np.random.default_rng(0))
    settings = {"num_classes": 3, "channels": 2, "layers": 3, "input_size": (3, 29, 29)}
    subnet = create_subnet(arch, with_auxiliary=True, **settings).eval()
    logits, auxiliary_logits = subnet.forward_with_auxiliary(torch.zeros(2, 3, 29, 29))
    assert logits.shape == auxiliary_logits.shape == (2, 3)
    # that of a supernet is not inherited
    plain = create_subnet(arch, **settings, auxiliary=True)
    assert sum("auxiliary" in name for name in subnet.state_dict()) > 0
    assert plain.state_dict().keys() == {
        name for name in subnet.state_dict() if "auxiliary" not in name
    }


@pytest.mark.parametrize("name", ["nasbench201", "mobilenetv3"])
def test_other_subnets_have_no_auxiliary_head(name: str, tiny: dict[str, Any]) -> None:
    arch = create_space(name).sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"'{name}' have no auxiliary head; leave it out"):
        create_subnet(arch, with_auxiliary=True, **tiny[name])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nasnet", {"stem": "nope"}, "Unknown stem 'nope'; choose from cifar, imagenet"),
        ("mobilenetv3", {"strides": (1, 2)}, "strides must be 6 numbers"),
        ("mobilenetv3", {"dropout": 3.0}, "dropout must be from 0 to less than 1, got 3.0"),
        ("nasbench201", {"bn_mode": "nope"}, "Unknown bn_mode 'nope'; choose from ref, batch"),
        ("nasbench201", {"kernel_transform": True}, "have no kernel_transform; there are"),
    ],
)
def test_settings_of_subnets_are_checked_as_those_of_supernets(
    name: str, settings: dict[str, Any], message: str
) -> None:
    arch = create_space(name).sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        create_subnet(arch, num_classes=10, **settings)
