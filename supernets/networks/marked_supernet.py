"""A supernet from an ordinary network whose modules are marked as choices.

The network is what a user has: any ``nn.Module`` from images to logits. Marks say what is decided
(see ``marks``); space, path, extraction and costs follow from them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from supernets.networks.base import Supernet
from supernets.networks.marked_checks import check_network
from supernets.networks.marked_costs import MarkedCosts
from supernets.networks.marked_decisions import space_of
from supernets.networks.marks import Mark, choose, follow_widths, path_of
from supernets.networks.sliced_layers import Sliced
from supernets.runtime.option_types import shown
from supernets.runtime.own_code import running_own
from supernets.runtime.wording import unknown_names
from supernets.spaces.architecture import Architecture
from supernets.spaces.base import SearchSpace
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.marked import MarkedSpace

#: Builds a network with marks from ``num_classes`` and settings of its own.
BuildNetwork = Callable[..., nn.Module]
_IMAGES = (3, 32, 32)
#: Arguments of ``build`` that are the data's.
_OF_DATA = ("num_classes", "input_size")


#: Settings with which the networks of a function were checked, as subnets are built of it anew.
_checked: WeakKeyDictionary[BuildNetwork, set[str]] = WeakKeyDictionary()


def _was_checked(build: BuildNetwork, settings: Mapping[str, Any]) -> bool:
    with suppress(TypeError):
        return repr(settings) in _checked.get(build, ())
    return False


class MarkedSupernet(Supernet):
    """The supernet that a network with marks is.

    Args:
        name: Name of the space.
        build: Builds the network: takes ``num_classes``, and further settings by name; also
            ``input_size`` if it asks for it.
        num_classes: Number of logits.
        input_size: Images as (channels, height, width).
        **settings: Further arguments of ``build``.

    Raises:
        ValueError: If a setting is unknown, the network has no mark, marks of the same decision
            differ, one is never run, or it does not map images to logits with every option.

    Example:
        >>> from supernets.networks.marks import Choice
        >>> def build(num_classes):
        ...     op = Choice({"conv": nn.Conv2d(3, 3, 3, padding=1), "skip": nn.Identity()}, "op")
        ...     pool = nn.AdaptiveAvgPool2d(1)
        ...     return nn.Sequential(op, pool, nn.Flatten(), nn.Linear(3, num_classes))
        >>> supernet = MarkedSupernet("tiny", build, num_classes=10).eval()
        >>> arch = supernet.space.parse("op=skip")
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        True
    """

    space: SearchSpace
    needs_recalibration = True

    def __init__(
        self,
        name: str,
        build: BuildNetwork,
        *,
        num_classes: int,
        input_size: tuple[int, int, int] = _IMAGES,
        **settings: Any,
    ) -> None:
        super().__init__()
        self._name, self._build = name, build
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        given = {"num_classes": num_classes, "input_size": self.input_size, **settings}
        arguments = arguments_of(name, build, given)
        self.settings = {**arguments, "input_size": self.input_size}
        self.network = built_network(name, build, arguments)
        self.space, self._marks = space_of(name, self.network)
        self._costs = MarkedCosts(self._traced, self.input_size)
        if not _was_checked(build, self.settings):
            found, marks = self._skeleton()
            check_network(name, found, self.space, marks, self.input_size, num_classes)
            with suppress(TypeError):  # of a callable that is not hashed
                _checked.setdefault(build, set()).add(repr(self.settings))

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``.

        Raises:
            ValueError: If ``arch`` is of another space, or there is to be dropout, which the
                network itself has or has not.
        """
        if dropout or drop_path:
            raise ValueError(
                f"The network of space {self._name!r} has what dropout it has; leave dropout and "
                "drop_path out."
            )
        self.space.check(arch)
        choose(self._marks, arch.choices)
        logits: Tensor = self.network(x)
        return logits

    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds the stand-alone network of ``arch`` with fresh weights."""
        self.space.check(arch)
        arguments = arguments_of(self._name, self._build, self.settings)
        fresh = built_network(self._name, self._build, arguments)
        whole = {id(parameter): parameter.shape for parameter in fresh.parameters()}
        choose(space_of(self._name, fresh)[1], arch.choices)
        subnet = _path(fresh, self.input_size)
        sizes = set(whole.values())
        for module in subnet.modules():
            reset = getattr(module, "reset_parameters", None)
            is_cut = any(each.shape not in sizes for each in module.parameters(recurse=False))
            if is_cut and callable(reset):  # fan-in and bounds are of the layer as it is now
                reset()
        return subnet.train()

    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts the subnet of ``arch`` with its inherited weights, sharing no storage."""
        self.space.check(arch)
        choose(self._marks, arch.choices)
        return _path(self.network, self.input_size).train(self.training)

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Copies the subnet: BatchNorm of marked networks is that of the network in every form."""
        return copy.deepcopy(subnet)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts exact costs; a network is traced for each block that was not seen before."""
        return self._costs.count(self.space, choices)

    def _traced(self, choices: tuple[int, ...]) -> nn.Module:
        """The subnet of choices without weights, for ``MarkedCosts``."""
        skeleton = self._skeleton()
        choose(skeleton[1], choices)
        return _path(skeleton[0], self.input_size)

    def _skeleton(self) -> tuple[nn.Module, Mapping[int, list[Mark]]]:
        """The marked network on the meta device."""
        if "_meta" not in self.__dict__:
            arguments = arguments_of(self._name, self._build, self.settings)
            with torch.device("meta"):
                network = built_network(self._name, self._build, arguments)
            network.to("meta")  # what was made on another device, as weights that were read
            self.__dict__["_meta"] = network.eval(), space_of(self._name, network)[1]
        found: tuple[nn.Module, Mapping[int, list[Mark]]] = self.__dict__["_meta"]
        return found


def arguments_of(name: str, build: BuildNetwork, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a function that builds a network, with its defaults.

    Args:
        name: Name of the space, for messages.
        build: The function.
        given: Settings by name; ``input_size`` is left out where the function does not take it.

    Raises:
        ValueError: If it has no argument of a name, or one without a default was not given.
    """
    known = signature(build).parameters
    given = {k: v for k, v in given.items() if k in known or k != "input_size"}
    if unknown := [each for each in given if each not in known]:
        raise ValueError(unknown_names(f"Networks of space {name!r}", unknown, known))
    try:
        bound = signature(build).bind(**given)
    except TypeError as error:
        raise ValueError(
            f"The function that builds networks of space {name!r} takes num_classes, input_size "
            f"and settings with defaults: {error}."
        ) from error
    bound.apply_defaults()
    return dict(bound.arguments)


def built_network(name: str, build: BuildNetwork, arguments: Mapping[str, Any]) -> nn.Module:
    """Builds a network with marks, whose layers take as many inputs as come.

    Args:
        name: Name of the space, for messages.
        build: The function that builds it.
        arguments: Its arguments.

    Raises:
        OwnCodeError: If the function fails.
        ValueError: If it gives no network, or one with layers whose sizes are not known yet.
    """
    what = f"The function that builds networks of space {name!r}"
    with running_own(what):
        network = build(**arguments)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{what} must return an nn.Module, got {shown(network)}.")
    for path, module in network.named_modules():
        if isinstance(module, LazyModuleMixin):
            raise ValueError(
                f"{what} must return layers whose sizes are known, got a {type(module).__name__} "
                f"as {path or 'the network'}; give the number of its inputs."
            )
    follow_widths(network)
    return network


def _path(network: nn.Module, input_size: tuple[int, int, int]) -> nn.Module:
    """The chosen path of a marked network as an ordinary network."""
    sliced = [module for module in network.modules() if isinstance(module, Sliced)]
    if not sliced:
        return path_of(network)
    for layer in sliced:
        vars(layer).pop("num_inputs", None)  # of another path
    parameter = next(network.parameters())
    was_training = {module: module.training for module in network.modules()}
    with torch.no_grad():  # tells layers how many inputs come
        network.eval()
        network(torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype))
    for module, training in was_training.items():
        module.training = training
    return path_of(network)


def space_from_network(
    name: str,
    build: BuildNetwork,
    settings: Any = None,
    **abilities: Any,
) -> SpaceDefinition:
    """Defines a space by a function that builds a network with marks.

    Args:
        name: Name of the space.
        build: Builds the network: takes ``num_classes``, and further settings by name that have
            defaults.
        settings: Dataclass of these settings, a ``SupernetSettings``, which commands make flags of;
            None for none.
        **abilities: Further fields of ``SpaceDefinition``.

    Example:
        >>> from supernets.networks.marks import ElasticWidth
        >>> def build(num_classes):
        ...     stem = ElasticWidth(nn.Conv2d(3, 8, 3), (4, 8), "stem")
        ...     pool = nn.AdaptiveAvgPool2d(1)
        ...     return nn.Sequential(stem, pool, nn.Flatten(), nn.Linear(8, num_classes))
        >>> space_from_network("tiny", build).name
        'tiny'
    """
    decides = [each for each in signature(build).parameters if each not in _OF_DATA]
    return SpaceDefinition(
        name,
        partial(_space, name, build),
        supernet=partial(MarkedSupernet, name, build),
        settings=settings,
        space_settings=tuple(decides),
        **abilities,
    )


def _space(name: str, build: BuildNetwork, **settings: Any) -> MarkedSpace:
    given = {"num_classes": 2, "input_size": _IMAGES, **settings}
    with torch.device("meta"):
        return space_of(name, built_network(name, build, arguments_of(name, build, given)))[0]
