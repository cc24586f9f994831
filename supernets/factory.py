"""Names of spaces and supernets, and what each is built from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from supernets.base import Supernet
from supernets.device import has_bfloat16
from supernets.mobilenetv3 import MobileNetV3Supernet
from supernets.mobilenetv3_subnet import mobilenetv3_subnet
from supernets.nasbench201 import NASBench201Subnet, NASBench201Supernet
from supernets.nasbench201_relaxed import RelaxedNASBench201
from supernets.nasnet import NASNetSupernet
from supernets.nasnet_relaxed import RelaxedNASNet
from supernets.nasnet_subnet import NASNetSubnet
from supernets.relaxed import RelaxedNetwork
from supernets.spaces import (
    Architecture,
    MobileNetV3Space,
    NASBench101Space,
    NASBench201Space,
    NASNetSpace,
    SearchSpace,
)

#: Those that there are supernets of.
SPACES = ("nasbench201", "mobilenetv3", "nasnet", "darts")
#: Those that there are only tables of.
TABLE_SPACES = ("nasbench101",)
#: Those of two cells with Genotype notation; they differ in whether a node reads a state twice.
NASNET_SPACES = ("nasnet", "darts")
#: Those with a network of all operations at once.
RELAXED_SPACES = ("nasbench201", *NASNET_SPACES)
#: Settings of supernets that their stand-alone subnets do not have.
SUPERNET_ONLY = ("bn_mode", "kernel_transform", "auxiliary")


def create_space(name: str, *, resolutions: Sequence[int] = ()) -> SearchSpace:
    """Builds a search space by name.

    Args:
        name: Name of the space.
        resolutions: For ``"mobilenetv3"``, the sides in pixels that are searched.

    Raises:
        ValueError: If the name is unknown, or the space has no resolutions.
    """
    if name == "mobilenetv3":
        return MobileNetV3Space(resolutions)
    if resolutions:
        raise ValueError(f"Space {name!r} has no resolutions; leave them out.")
    if name == "nasbench201":
        return NASBench201Space()
    if name == "nasbench101":
        return NASBench101Space()
    if name in NASNET_SPACES:
        return NASNetSpace(distinct_inputs=name == "darts")
    raise ValueError(f"Unknown space {name!r}; choose from {', '.join((*SPACES, *TABLE_SPACES))}.")


def create_supernet(name: str, **settings: Any) -> Supernet:
    """Builds the supernet of a space with fresh weights.

    Args:
        name: Name of the space.
        **settings: Arguments of that space's supernet, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown or a setting is out of range.
    """
    if name == "nasbench201":
        return NASBench201Supernet(**settings)
    if name == "mobilenetv3":
        return MobileNetV3Supernet(**settings)
    if name in NASNET_SPACES:
        return NASNetSupernet(distinct_inputs=name == "darts", **settings)
    raise ValueError(f"Unknown space {name!r}; choose from {', '.join(SPACES)}.")


def create_relaxed_network(name: str, **settings: Any) -> RelaxedNetwork:
    """Builds the network of all operations of a space at once, with fresh weights.

    Args:
        name: Name of the space, one of ``RELAXED_SPACES``.
        **settings: Arguments of that space's network, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown or a setting is out of range.
    """
    if name == "nasbench201":
        return RelaxedNASBench201(**settings)
    if name in NASNET_SPACES:
        return RelaxedNASNet(distinct_inputs=name == "darts", **settings)
    raise ValueError(
        f"Space {name!r} has no relaxed network; choose from {', '.join(RELAXED_SPACES)}."
    )


def default_amp(name: str, device: torch.device) -> bool:
    """Whether the networks of a space are trained faster in bfloat16 autocast on ``device``.

    On CPUs the gradients of depthwise convolutions are several times slower in bfloat16.
    """
    if device.type == "cpu" and name in ("mobilenetv3", *NASNET_SPACES):
        return False
    return has_bfloat16(device)


def create_subnet(
    arch: Architecture, *, with_auxiliary: bool = False, **settings: Any
) -> nn.Module:
    """Builds the stand-alone network of an architecture, equal to the supernet's ``build_subnet``.

    Args:
        arch: The architecture; its space decides the class.
        with_auxiliary: Whether it has an auxiliary head, for training.
        **settings: As for ``create_supernet``; what is of the supernet alone, such as BatchNorm
            policies and an auxiliary head of its own, does not apply.

    Raises:
        ValueError: If the space is unknown, or has no auxiliary head.
    """
    if with_auxiliary and arch.space not in NASNET_SPACES:
        raise ValueError(f"Networks of space {arch.space!r} have no auxiliary head; leave it out.")
    settings = {name: value for name, value in settings.items() if name not in SUPERNET_ONLY}
    if arch.space == "nasbench201":
        return NASBench201Subnet(arch, **settings)
    if arch.space == "mobilenetv3":
        return mobilenetv3_subnet(arch, **settings)
    if arch.space in NASNET_SPACES:
        return NASNetSubnet(arch, auxiliary=with_auxiliary, **settings)
    raise ValueError(f"Unknown space {arch.space!r}; choose from {', '.join(SPACES)}.")
