"""Networks by the names of their spaces: supernets, relaxed networks, subnets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any, TypeVar

import torch
from torch import nn

import supernets.runtime.option_types as kinds
from supernets.networks.base import Supernet
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.device import check_amp, has_bfloat16
from supernets.runtime.option_types import check_settings
from supernets.runtime.wording import one_of, unknown_names
from supernets.spaces import Architecture
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES, spaces_with

#: Arguments of networks that are no settings.
_NO_SETTINGS = ("arch", "settings")
#: Settings of stand-alone networks alone.
_RATES = ("dropout", "drop_path")
#: Settings of subnets that were checked, so that building many of them is as fast as building one.
_checked: set[str] = set()
#: Settings that networks of all operations have beside those of the supernet.
_OF_RELAXED = ("op_mask", "partial_channels")
_SIZES: dict[str, kinds.Whole | kinds.Real] = {
    "num_classes": kinds.NUM_CLASSES,
    "channels": kinds.CHANNELS,
    "stem_channels": kinds.CHANNELS,
    "layers": kinds.CELLS,
    "cells_per_stage": kinds.CELLS,
    "width": kinds.WIDTH,
    "head_dim": kinds.CHANNELS,
    "patch_size": kinds.PIXELS,
}
_LISTS: dict[str, kinds.Whole | kinds.Real] = {
    "input_size": kinds.PIXELS,
    "resolutions": kinds.PIXELS,
    "strides": kinds.Whole(1, 2),
    "embed_dims": kinds.CHANNELS,
    "depths": kinds.CELLS,
    "heads": kinds.CELLS,
    "mlp_ratios": kinds.WIDTH,
}
#: Cells times squared channels of networks whose weights are counted before they are allocated.
_LARGE = 1_000_000
_Network = TypeVar("_Network", bound=nn.Module)


def create_supernet(name: str, **settings: Any) -> Supernet:
    """Builds the supernet of a space with fresh weights.

    Args:
        name: Name of the space, or ``package.module:Object`` or ``file.py:Object`` of a
            ``SpaceDefinition``.
        **settings: Arguments of that space's supernet, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown, there are only tables of the space, or a setting is out
            of range.
    """
    definition = _with_networks(name)
    network = definition.object_of("supernet")
    _check_names(f"Supernets of space {definition.name!r}", network, settings, definition)
    supernet = _built(partial(network, **definition.fixed, **settings), settings)
    if not isinstance(supernet, Supernet):
        raise ValueError(
            f"The supernet of space {definition.name!r} must be a Supernet, got "
            f"{type(supernet).__name__}."
        )
    return supernet


def create_relaxed_network(name: str, **settings: Any) -> RelaxedNetwork:
    """Builds the network of all operations of a space at once, with fresh weights.

    Args:
        name: Name of the space, one that has such a network.
        **settings: Arguments of that space's network, for example ``num_classes``.

    Raises:
        ValueError: If the name is unknown, the space has no such network, or a setting is out of
            range.
    """
    definition = SPACES.find(name)
    if definition.relaxed is None:
        raise ValueError(
            f"Space {definition.name!r} has no relaxed network; "
            f"{one_of(spaces_with('relaxed'))} has one."
        )
    supernet, network = definition.object_of("supernet"), definition.object_of("relaxed")
    what = f"Networks of space {definition.name!r}"
    _check_names(what, supernet, settings, definition, _OF_RELAXED)
    built: RelaxedNetwork = _built(partial(network, **definition.fixed, **settings), settings)
    return built


def _with_networks(name: str) -> SpaceDefinition:
    definition = SPACES.find(name)
    if not definition.has_networks:
        raise ValueError(
            f"There are only tables of space {definition.name!r}, and no networks to build."
        )
    return definition


def default_amp(name: str, device: torch.device) -> bool:
    """Returns whether the networks of a space train faster in bfloat16 autocast on ``device``.

    On CPUs PyTorch's gradients of depthwise convolutions are several times slower in bfloat16. With
    this package's kernels they are faster, and ``--amp`` is left to the user there: what bfloat16
    makes of the scores of such networks has not been measured.
    """
    known = SPACES.find(name) if SPACES.is_known(name) else None
    if device.type == "cpu" and known is not None and not known.trains_in_bfloat16_on_cpus:
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
    definition = _with_networks(arch.space)
    if with_auxiliary and not definition.has_auxiliary_head:
        raise ValueError(f"Networks of space {arch.space!r} have no auxiliary head; leave it out.")
    own = settings_of_subnet(arch.space, settings)
    supernet = definition.object_of("supernet")
    what = f"Subnets of space {arch.space!r}"
    if definition.subnet is None:
        _check_names(what, supernet, own, definition)
        return _built(lambda: _meta_supernet(definition, own).build_subnet(arch), own)
    subnet = definition.object_of("subnet")
    extra = signature(subnet).parameters
    _check_names(what, supernet, settings, definition, tuple(extra))
    for name in settings.keys() & set(_RATES):
        kinds.RATE.check(name, settings[name])
    of_supernet = {k: v for k, v in settings.items() if k in signature(supernet).parameters}
    key = f"{arch.space} {of_supernet}"
    if key not in _checked:  # the supernet refuses what is out of range
        _built(lambda: _meta_supernet(definition, of_supernet), of_supernet)
        _checked.add(key)
    auxiliary = {"auxiliary": with_auxiliary} if definition.has_auxiliary_head else {}
    built: nn.Module = _built(partial(subnet, arch, **auxiliary, **own), own)
    return built


def _meta_supernet(definition: SpaceDefinition, settings: Mapping[str, Any]) -> Supernet:
    """The supernet of settings without its weights."""
    with torch.device("meta"):
        supernet: Supernet = definition.object_of("supernet")(**definition.fixed, **settings)
    return supernet


def settings_of_subnet(space: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those settings of a supernet that its stand-alone subnets have too.

    Args:
        space: Name of the space.
        settings: Settings of the supernet.
    """
    own = SPACES.find(space).supernet_only if SPACES.is_known(space) else ()
    return {name: value for name, value in settings.items() if name not in own}


def _check_names(
    what: str,
    network: Callable[..., nn.Module],
    settings: Mapping[str, Any],
    definition: SpaceDefinition,
    others: tuple[str, ...] = (),
) -> None:
    """Makes sure that a network has the settings that are given, and is given those it needs.

    Raises:
        ValueError: If it has not, or is not; names those that there are.
    """
    parameters = signature(network).parameters
    if any(each.kind == Parameter.VAR_KEYWORD for each in parameters.values()):
        return  # which it has it says itself
    known = dict.fromkeys((*parameters, *others))
    for name in (*_NO_SETTINGS, *definition.fixed):
        known.pop(name, None)
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
    cells *= max(settings.get("depths") or (1,))
    channels = max(channels, *(settings.get("embed_dims") or (1,)))
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
