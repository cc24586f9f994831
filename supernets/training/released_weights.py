"""Takes the weights of a released network into a supernet of ours, by the names they have there.

What a space's released network is called, and what its tensors are, stands in a
``ReleasedNetwork``, which the definition of the space refers to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from supernets.networks.base import Supernet
from supernets.spaces.definition import SpaceDefinition
from supernets.training.released_files import Released

_logger = logging.getLogger(__name__)

#: What wrappers of modules put into names, anywhere in them.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True)
class ReleasedNetwork:
    """A network whose weights were released, and how a supernet is built of them.

    Args:
        expected: What a file of them should be, for messages: ``"expected …"``.
        supernet: Builds the supernet; called with what ``read_released`` returned, and by keyword
            with ``num_classes``, ``input_size`` and the settings that were given.
        decides: Settings of the supernet that the weights decide, so that none can be given.

    Example:
        >>> from supernets.spaces.factory import SPACES
        >>> SPACES.find("mobilenetv3").object_of("released_weights").decides
        ('strides', 'kernel_transform')
    """

    expected: str
    supernet: Callable[..., Supernet]
    decides: tuple[str, ...] = ()


def released_network(definition: SpaceDefinition) -> ReleasedNetwork:
    """Returns the released network that a definition refers to.

    Raises:
        ValueError: If it refers to none, or to something else.
    """
    network = definition.object_of("released_weights")
    if not isinstance(network, ReleasedNetwork):
        raise ValueError(
            f"The released_weights of space {definition.name!r} must be a ReleasedNetwork, got "
            f"{type(network).__name__}."
        )
    return network


class NamedWeights:
    """Weights of a file by the names of our tensors.

    Args:
        released: What the file holds.
        names: What the released network calls each tensor of ours.
        optional: Tensors of ours that files may lack, if they lack all of them.
        expected: What the file should be, for messages.

    Raises:
        ValueError: If the file lacks others, holds more, or holds one twice.
    """

    def __init__(
        self,
        released: Released,
        names: Mapping[str, str],
        *,
        optional: Collection[str] = (),
        expected: str,
    ) -> None:
        self.path, self._expected = released.path, expected
        spellings = _unique_short_names(released.tensors, self.path)
        short_names = {ours: _short(theirs) for ours, theirs in names.items()}
        self.lacks_optional = spellings.keys().isdisjoint(short_names[ours] for ours in optional)
        if self.lacks_optional:
            short_names = {ours: short_names[ours] for ours in short_names if ours not in optional}
        untracked = {ours for ours in short_names if ours.endswith(".num_batches_tracked")}
        others = {short for ours, short in short_names.items() if ours not in untracked}
        is_network = not spellings.keys().isdisjoint(others)
        if is_network and spellings.keys().isdisjoint(short_names[ours] for ours in untracked):
            short_names = {o: short for o, short in short_names.items() if o not in untracked}
        self._check_names(spellings, short_names.values())
        self._spellings = {ours: spellings[short] for ours, short in short_names.items()}
        self._tensors = {ours: released.tensors[name] for ours, name in self._spellings.items()}

    def size(self, name: str) -> int:
        """Returns the length of a tensor of ours in the file; 0 of a number."""
        tensor = self._tensors[name]
        return tensor.shape[0] if tensor.dim() else 0

    def take_classes(self, num_classes: int | None, classifier: str) -> int:
        """Returns how many classes the supernet has; the classifier of others is left out.

        Args:
            num_classes: Number of logits; None for the file's.
            classifier: Name of our linear layer.
        """
        found = self.size(f"{classifier}.weight")
        if num_classes is None or num_classes == found:
            return found
        _logger.info(
            "%s has %d classes, not %d: the classifier starts afresh.",
            self.path,
            found,
            num_classes,
        )
        for part in ("weight", "bias"):
            del self._tensors[f"{classifier}.{part}"]
        return num_classes

    def load_into(self, supernet: Supernet) -> None:
        """Loads the weights; those that the file lacks stay as they are.

        Raises:
            ValueError: If one has another shape.
        """
        weights = supernet.state_dict()
        for ours, found in self._tensors.items():
            if found.shape != weights[ours].shape:
                raise ValueError(
                    f"{self.path} does not fit: {self._spellings[ours]} has shape "
                    f"{tuple(found.shape)}, {tuple(weights[ours].shape)} was expected for width "
                    f"{supernet.settings['width']} and {supernet.input_size[0]} channels of "
                    f"images; {self._expected}."
                )
            weights[ours] = found
        supernet.load_state_dict(weights)

    def _check_names(self, spellings: Mapping[str, str], expected: Collection[str]) -> None:
        missing = [short for short in expected if short not in spellings]
        unexpected = [name for short, name in spellings.items() if short not in set(expected)]
        wrong = [f"{_some(missing)} missing"] if missing else []
        wrong += [f"{_some(unexpected)} unexpected"] if unexpected else []
        if wrong:
            raise ValueError(f"{self.path} does not fit: {'; '.join(wrong)}; {self._expected}.")


def names_of_tensors(supernet: Supernet, modules: Mapping[str, str]) -> dict[str, str]:
    """Returns what a released network calls each tensor of ours.

    Args:
        supernet: Ours.
        modules: Its names of our modules, and of tensors that have one of their own.
    """
    names = {}
    for name in supernet.state_dict():
        module, _, tensor = name.rpartition(".")
        names[name] = modules[name] if name in modules else f"{modules[module]}.{tensor}"
    return names


def _short(name: str) -> str:
    """What all spellings of a tensor's name have in common.

    Static networks have ``depth_conv.conv.weight`` where elastic ones have
    ``depth_conv.conv.conv.weight``; older files say ``mobile_inverted_conv`` for a block's ``conv``
    and wrap the classifier twice; training on several devices, compiling and averaging put names
    such as ``module`` and ``_orig_mod`` in front or in between.
    """
    parts = name.replace("mobile_inverted_conv", "conv").split(".")
    parts = [part for part in parts if part not in _WRAPPERS]
    return ".".join(part for part, _ in groupby(parts))


def _unique_short_names(names: Collection[str], path: Path) -> dict[str, str]:
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.setdefault(_short(name), name)
        if other != name:
            raise ValueError(f"{path} holds both {other} and {name}, which are the same tensor.")
    return spellings


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
