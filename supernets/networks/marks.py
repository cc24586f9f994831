"""Marks on the modules of an ordinary network: what a search decides there.

A network with marks is a supernet: see ``marked_supernet``. Three marks say what can be chosen:
which of several modules runs (``Choice``), how many of a row of modules (``ElasticDepth``), how
many of its outputs a layer computes (``ElasticWidth``). What is not chosen is not computed.
"""

from __future__ import annotations

import abc
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from supernets.networks.sliced_layers import (
    ELASTIC_LAYERS,
    Cut,
    Sliced,
    attributes_of,
    first_of,
    follow_inputs,
)
from supernets.runtime.option_types import shown
from supernets.spaces.marked import check_notation_name


class Mark(nn.Module, abc.ABC):
    """Base of the marks: a decision with options, of which one is chosen.

    Args:
        options: Names of the options.
        decision: Name of the decision; marks of the same name are decided together. None for the
            mark's place in the network.
    """

    def __init__(self, options: Sequence[str], decision: str | None) -> None:
        super().__init__()
        for option in options:
            check_notation_name(f"An option of {type(self).__name__}", option)
        if decision is not None:
            check_notation_name(f"The decision of {type(self).__name__}", decision)
        if len(options) < 2 or len(set(options)) < len(options):
            raise ValueError(
                f"{type(self).__name__} needs at least two different options, got "
                f"{', '.join(options) or 'none'}."
            )
        self.option_names = tuple(options)
        self.decision = decision
        #: Index of the option that runs.
        self.chosen = 0

    @abc.abstractmethod
    def needed_for(self, child: str) -> frozenset[int]:
        """Returns the options with which the child module of a name exists."""

    @abc.abstractmethod
    def standalone(self, copy_of: Any) -> nn.Module:
        """Builds what stands in the mark's place in a network of the chosen option alone.

        Args:
            copy_of: Copies a child module; of a layer as many outputs as its second argument says.
        """


class Choice(Mark):
    """Runs one of several modules.

    Args:
        options: The modules by the names of the options; they take the same input, and give outputs
            that what follows takes.
        decision: Name of the decision; None for the place in the network.

    Raises:
        ValueError: If they are no modules by name, fewer than two, or a name cannot stand in a
            notation.

    Example:
        >>> choice = Choice({"k3": nn.Conv2d(4, 4, 3, padding=1), "skip": nn.Identity()})
        >>> choice.option_names
        ('k3', 'skip')
    """

    def __init__(self, options: Mapping[str, nn.Module], decision: str | None = None) -> None:
        if not isinstance(options, Mapping):
            raise ValueError(
                "Choice takes modules by the names of the options, such as "
                f'{{"conv": conv, "skip": nn.Identity()}}, got a {type(options).__name__}.'
            )
        super().__init__(list(options), decision)
        for name, module in options.items():
            _check_module(f"Option {name!r} of Choice", module)
            if "." in name or hasattr(nn.ModuleDict, name):
                raise ValueError(
                    f"Option {name!r} of Choice needs another name: nn.ModuleDict takes none with "
                    "a dot, and none of its own attributes."
                )
        self.options = nn.ModuleDict(options)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the chosen module."""
        return self.options[self.option_names[self.chosen]](*args, **kwargs)

    def needed_for(self, child: str) -> frozenset[int]:
        """Returns the one option that a module is."""
        name = child.partition(".")[2].partition(".")[0]
        return frozenset({self.option_names.index(name)})

    def standalone(self, copy_of: Any) -> nn.Module:
        """Builds the chosen module."""
        return cast(nn.Module, copy_of(self.options[self.option_names[self.chosen]]))


class ElasticDepth(Mark):
    """Runs the first of a row of modules, one after the other.

    Args:
        *modules: The modules, as of ``nn.Sequential``.
        depths: How many of them may run; from 0 to all of them.
        decision: Name of the decision; None for the place in the network.

    Raises:
        ValueError: If a depth is out of range, or there are fewer than two.

    Example:
        >>> ElasticDepth(nn.ReLU(), nn.ReLU(), nn.ReLU(), depths=(1, 3)).option_names
        ('1', '3')
    """

    def __init__(
        self, *modules: nn.Module, depths: Sequence[int], decision: str | None = None
    ) -> None:
        for number, module in enumerate(modules):
            _check_module(f"Module {number} of ElasticDepth", module)
        _check_numbers("depths", depths, numbers.Integral, "whole numbers such as (1, 2, 3)")
        super().__init__([str(depth) for depth in depths], decision)
        if not all(0 <= depth <= len(modules) for depth in depths):
            raise ValueError(
                f"Depths must be from 0 to the {len(modules)} modules there are, got "
                f"{', '.join(map(str, depths))}."
            )
        self.depths = tuple(depths)
        self.blocks = nn.ModuleList(modules)

    def forward(self, x: Any) -> Any:
        """Runs as many modules as were chosen."""
        for module in self.blocks[: self.depths[self.chosen]]:
            x = module(x)
        return x

    def needed_for(self, child: str) -> frozenset[int]:
        """Returns the depths that reach a module."""
        number = int(child.partition(".")[2].partition(".")[0])
        return frozenset(i for i, depth in enumerate(self.depths) if depth > number)

    def standalone(self, copy_of: Any) -> nn.Module:
        """Builds the row of the modules that run."""
        return nn.Sequential(*map(copy_of, self.blocks[: self.depths[self.chosen]]))


class ElasticWidth(Mark):
    """Computes the first of a layer's outputs: channels of a convolution, features of a linear one.

    Layers that follow take as many inputs as come: convolutions, linear layers, BatchNorm,
    LayerNorm, RMSNorm, GroupNorm and PReLU of a network with an elastic width, and subclasses of
    them such as timm's, use the first of their weights. Grouped convolutions and GroupNorm keep the
    size of their groups.

    Args:
        layer: A convolution of one group or an ``nn.Linear``, or of a subclass.
        widths: How many outputs there may be: numbers up to all of them, or shares of all, such as
            0.25 and 1.0, whose names stay the same for layers of any size.
        decision: Name of the decision; None for the place in the network. What is added to each
            other or multiplied needs one name.
        divisor: Shares are rounded to multiples of it, such as the channels of a group of the
            grouped convolution that follows.

    Raises:
        ValueError: If the layer is another, a width is out of range, or there are fewer than two.

    Example:
        >>> ElasticWidth(nn.Conv2d(3, 32, 3), (8, 16, 32)).option_names
        ('8', '16', '32')
    """

    def __init__(
        self,
        layer: nn.Module,
        widths: Sequence[int | float],
        decision: str | None = None,
        *,
        divisor: int = 1,
    ) -> None:
        _check_numbers("widths", widths, numbers.Real, "numbers such as (0.5, 1.0)")
        super().__init__([f"{width:g}" for width in widths], decision)
        groups = getattr(layer, "groups", 1)
        if not isinstance(layer, ELASTIC_LAYERS) or groups != 1:
            of_groups = f" of {groups} groups, which follows its inputs" if groups != 1 else ""
            raise ValueError(
                "ElasticWidth is of a convolution of one group or an nn.Linear, got "
                f"{type(layer).__name__}{of_groups}."
            )
        most = len(layer.weight)
        counts = [
            round(width * most / divisor) * divisor if isinstance(width, float) else width
            for width in widths
        ]
        if not all(1 <= count <= most for count in counts):
            in_multiples = f" in multiples of {divisor}" if divisor > 1 else ""
            raise ValueError(
                f"Widths must be from 1 to the {most} outputs of the layer, or shares of them up "
                f"to 1.0{in_multiples}, got {', '.join(map(str, widths))}."
            )
        self.widths = tuple(counts)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Computes as many outputs as were chosen."""
        layer = cast(Sliced, self.layer)
        return layer.run(x, self.widths[self.chosen])

    def needed_for(self, child: str) -> frozenset[int]:
        """Returns all options: the layer is always there."""
        return frozenset(range(len(self.widths)))

    def standalone(self, copy_of: Any) -> nn.Module:
        """Builds the layer with as many outputs as are chosen."""
        return cast(nn.Module, copy_of(self.layer, self.widths[self.chosen]))


def _check_module(what: str, module: object) -> None:
    if not isinstance(module, nn.Module):
        raise ValueError(f"{what} must be an nn.Module, got {shown(module)}.")


def _check_numbers(what: str, values: object, kind: type, expected: str) -> None:
    is_right = isinstance(values, Iterable) and not isinstance(values, str)
    if not is_right or not all(isinstance(value, kind) for value in cast(Iterable[Any], values)):
        raise ValueError(f"{what} must be {expected}, got {shown(values)}.")


def follow_widths(network: nn.Module) -> None:
    """Makes the layers of a network take as many inputs as come, if a width in it is elastic."""
    if any(isinstance(module, ElasticWidth) for module in network.modules()):
        for module in network.modules():
            follow_inputs(module)


def path_of(network: nn.Module) -> nn.Module:
    """Copies the path that ran last through a marked network, as an ordinary network.

    Args:
        network: The network, whose ``follow_widths`` layers have seen a minibatch of this path.
            Those that have seen none are copied whole.
    """
    copies: dict[int, nn.Module] = {}

    def copy_of(module: nn.Module, num_outputs: int | None = None) -> nn.Module:
        if id(module) not in copies:
            copies[id(module)] = _copy(module, num_outputs, copy_of)
        return copies[id(module)]

    return copy_of(network)


def _copy(module: nn.Module, num_outputs: int | None, copy_of: Any) -> nn.Module:
    if isinstance(module, Mark):
        return module.standalone(copy_of)
    kind, used = type(module), Cut({}, {})
    if isinstance(module, Sliced):
        kind = module.plain_class()
        if "num_inputs" in vars(module):
            used = module.cut_to(num_outputs)
    found = kind.__new__(kind)
    found.__dict__ = {**attributes_of(module), **used.sizes}
    found.__dict__.pop("num_inputs", None)
    found._modules = {
        name: None if child is None else copy_of(child) for name, child in module._modules.items()
    }
    for name, parameter in module._parameters.items():
        if parameter is None:
            found._parameters[name] = None
        else:
            part = first_of(parameter, used.tensors.get(name, ()))
            value = nn.Parameter(part.detach().clone(), parameter.requires_grad)
            found._parameters[name] = value
    for name, buffer in module._buffers.items():
        if buffer is None:
            found._buffers[name] = None
        else:
            found._buffers[name] = first_of(buffer, used.tensors.get(name, ())).detach().clone()
    return found


def choose(marks: Mapping[int, Sequence[Mark]], choices: Sequence[int]) -> None:
    """Chooses an option of every decision.

    Args:
        marks: The marks of each decision, by its index.
        choices: Index of the option of each.
    """
    for i, choice in enumerate(choices):
        for mark in marks[i]:
            mark.chosen = choice
