"""Networks by the names of their spaces: supernets, relaxed networks, subnets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import nn

import supernets.runtime.option_types as kinds
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.mobilenetv3_subnet import mobilenetv3_subnet
from supernets.networks.nasbench201 import NASBench201Subnet, NASBench201Supernet
from supernets.networks.nasbench201_relaxed import RelaxedNASBench201
from supernets.networks.nasnet import NASNetSupernet
from supernets.networks.nasnet_relaxed import RelaxedNASNet
from supernets.networks.nasnet_subnet import NASNetSubnet
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.device import check_amp, has_bfloat16
from supernets.runtime.option_types import check_settings
from supernets.runtime.wording import unknown_names
from supernets.spaces import Architecture
from supernets.spaces.factory import NASNET_SPACES, RELAXED_SPACES, SPACES

#: Settings of supernets that their stand-alone subnets do not have.
SUPERNET_ONLY = ("bn_mode", "kernel_transform", "auxiliary")
_SUPERNETS: dict[str, type[Supernet]] = {
    "nasbench201": NASBench201Supernet,
    "mobilenetv3": MobileNetV3Supernet,
    **dict.fromkeys(NASNET_SPACES, NASNetSupernet),
}
#: Arguments of networks that are no settings.
_NO_SETTINGS = ("distinct_inputs", "arch", "settings")
#: Settings that networks of all operations have beside those of the supernet.
_OF_RELAXED = ("op_mask", "partial_channels")
_SIZES: dict[str, kinds.Whole | kinds.Real] = {
    "num_classes": kinds.NUM_CLASSES,
    "channels": kinds.CHANNELS,
    "layers": kinds.CELLS,
    "cells_per_stage": kinds.CELLS,
    "width": kinds.WIDTH,
}
_LISTS = {"input_size": kinds.PIXELS, "resolutions": kinds.PIXELS, "strides": kinds.Whole(1, 2)}
#: Cells times squared channels of networks whose weights are counted before they are allocated.
_LARGE = 1_000_000
_Network = TypeVar("_Network", bound=nn.Module)


def create_supernet(name: str, **settings: Any) -> Supernet:
    """Builds the supernet of a space with fresh weights.

    Args:
        name: Name of the space.
        **settings: Arguments of that space's supernet, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown or a setting is out of range.
    """
    builders: dict[str, Callable[..., Supernet]] = {
        "nasbench201": NASBench201Supernet,
        "mobilenetv3": MobileNetV3Supernet,
        "nasnet": partial(NASNetSupernet, distinct_inputs=False),
        "darts": partial(NASNetSupernet, distinct_inputs=True),
    }
    if name not in SPACES:
        raise ValueError(f"Unknown space {name!r}; choose from {', '.join(SPACES)}.")
    _check_names(f"Supernets of space {name!r}", _SUPERNETS[name], settings)
    return _built(partial(builders[name], **settings), settings)


def create_relaxed_network(name: str, **settings: Any) -> RelaxedNetwork:
    """Builds the network of all operations of a space at once, with fresh weights.

    Args:
        name: Name of the space, one of ``RELAXED_SPACES``.
        **settings: Arguments of that space's network, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown or a setting is out of range.
    """
    if name in RELAXED_SPACES:
        _check_names(f"Networks of space {name!r}", _SUPERNETS[name], settings, _OF_RELAXED)
    if name == "nasbench201":
        return _built(partial(RelaxedNASBench201, **settings), settings)
    if name in NASNET_SPACES:
        build = partial(RelaxedNASNet, distinct_inputs=name == "darts", **settings)
        return _built(build, settings)
    raise ValueError(
        f"Space {name!r} has no relaxed network; choose from {', '.join(RELAXED_SPACES)}."
    )


def default_amp(name: str, device: torch.device) -> bool:
    """Returns whether the networks of a space train faster in bfloat16 autocast on ``device``.

    On CPUs the gradients of depthwise convolutions are several times slower in bfloat16.
    """
    if device.type == "cpu" and name in ("mobilenetv3", *NASNET_SPACES):
        return False
    return has_bfloat16(device)


def chosen_amp(asked: bool | None, name: str, device: torch.device) -> bool:
    """Returns what ``--amp``, ``--no-amp`` or neither (None) means for the networks of a space.

    Raises:
        ValueError: If ``device`` has no bfloat16 autocast and it is asked for.
    """
    if asked is None:
        return default_amp(name, device)
    if asked:
        check_amp(device)
    return asked


def create_subnet(
    arch: Architecture, *, with_auxiliary: bool = False, **settings: Any
) -> nn.Module:
    """Builds the stand-alone network of an architecture, equal to the supernet's ``build_subnet``.

    Args:
        arch: The architecture; its space decides the class.
        with_auxiliary: Whether it has an auxiliary head, for training.
        **settings: Settings as for ``create_supernet``; those of the supernet alone, such as
            BatchNorm policies and an auxiliary head of its own, do not apply.

    Raises:
        ValueError: If the space is unknown, has no auxiliary head or no such setting, or a setting
            is out of range.
    """
    if with_auxiliary and arch.space not in NASNET_SPACES:
        raise ValueError(f"Networks of space {arch.space!r} have no auxiliary head; leave it out.")
    settings = {name: value for name, value in settings.items() if name not in SUPERNET_ONLY}
    builders: dict[str, Callable[..., nn.Module]] = {
        "nasbench201": NASBench201Subnet,
        "mobilenetv3": mobilenetv3_subnet,
        **dict.fromkeys(NASNET_SPACES, partial(NASNetSubnet, auxiliary=with_auxiliary)),
    }
    if arch.space not in builders:
        raise ValueError(f"Unknown space {arch.space!r}; choose from {', '.join(SPACES)}.")
    what = f"Subnets of space {arch.space!r}"
    own = [name for name in signature(builders[arch.space]).parameters if name not in _NO_SETTINGS]
    _check_names(what, _SUPERNETS[arch.space], settings, tuple(own))
    return _built(partial(builders[arch.space], arch, **settings), settings)


def _check_names(
    what: str,
    network: type[nn.Module],
    settings: Mapping[str, Any],
    others: tuple[str, ...] = (),
) -> None:
    """Makes sure that a network has the settings that are given, and is given those it needs.

    Raises:
        ValueError: If it has not, or is not; names those that there are.
    """
    own = [name for name in signature(network).parameters if name not in _NO_SETTINGS]
    known = dict.fromkeys((*own, *others))
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(unknown_names(what, unknown, known))
    if "num_classes" not in settings:
        raise ValueError(f"{what} need num_classes; pass that of the data, such as 10.")


def _built(build: Callable[[], _Network], settings: Mapping[str, Any]) -> _Network:
    """What ``build`` makes of settings whose sizes this machine can hold.

    Raises:
        ValueError: If one is no number of its kind, or the weights are larger than the memory.
    """
    check_settings(_SIZES, {name: settings.get(name) for name in _SIZES})
    for name, kind in _LISTS.items():
        values = settings.get(name, ())
        if not isinstance(values, list | tuple):
            raise ValueError(f"{name} must be a list of numbers, got {values!r}.")
        for value in values or ():
            kind.check(name, value)
    if len(settings.get("input_size", (3, 32, 32))) != 3:
        raise ValueError(
            f"input_size must be channels, height and width, got {settings['input_size']!r}."
        )
    cells = settings.get("layers") or 3 * (settings.get("cells_per_stage") or 1)
    channels = settings.get("channels") or 16 * (settings.get("width") or 1)
    if cells * channels**2 > _LARGE:
        with torch.device("meta"):  # allocates nothing
            size = sum(tensor.nbytes for tensor in build().state_dict().values())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > memory:
            raise ValueError(
                f"The network must fit in the {memory / 1e9:.0f} GB of memory, and its weights "
                f"alone are {size / 1e9:.0f} GB; choose fewer channels or cells."
            )
    return build()
