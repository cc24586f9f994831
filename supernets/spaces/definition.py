"""What the name of a space stands for: its architectures, its networks, and their abilities.

Everything here is known without PyTorch. Networks are named by references, ``module:Object``, and
imported once they are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from supernets.runtime.named_objects import Reference, object_of
from supernets.spaces.base import SearchSpace


@dataclass(frozen=True)
class SpaceDefinition:
    """A search space and its networks, as one object that can be named.

    Wherever a space is chosen by name, ``package.module:Object`` or ``file.py:Object`` may name a
    definition of one's own. References to networks are the objects themselves, or ``module:Object``
    where PyTorch is not to be loaded with the definition.

    Args:
        name: Name of the space, as in its architectures.
        space: Builds the search space; called with those of the settings in ``space_settings``.
        supernet: The ``Supernet``'s class, or a function of its settings; None for a space that
            there are only tables of.
        settings: Dataclass of the supernet's settings, a ``SupernetSettings``, which commands make
            flags of; None for one without settings of its own.
        fixed: Settings of the networks that the space decides.
        space_settings: Settings that decide what the search space is, such as resolutions.
        supernet_only: Settings of the supernet that stand-alone networks do not have.
        subnet: Function of an architecture and settings that builds its stand-alone network with
            fresh weights; None for ``build_subnet`` of the supernet.
        relaxed: Class of the ``RelaxedNetwork`` of all operations at once; None for none.
        counts: Class that counts costs without PyTorch, from ``num_classes``; None for the
            supernet's ``count``, and no costs where there is none either.
        published_classes: Classes of the published networks, whose costs searches of tables see.
        default_paths: Paths of a training step where none are asked for.
        inactive_grads: What becomes of the gradients of weights off these paths.
        trains_in_bfloat16_on_cpus: Whether networks train faster in bfloat16 on CPUs that have it.
        has_drop_path: Whether blocks can be dropped in training.
        has_auxiliary_head: Whether networks may have a second classifier halfway.
        trains_progressively: Whether it can be trained phase by phase, from the largest network on.
        released_weights: The ``ReleasedNetwork`` whose weights ``--from-ofa`` reads; None for none.
        timm_files: Function that writes an export as timm loads it, and returns what is to be known
            of it; None where timm cannot.
        score_revisions: How often the numbers of scores changed, from 1, by score.
        derives_none: Whether searches by gradients may leave an edge out.
        drnas_operations: Operations that DrNAS keeps in its second stage; None for all.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> SpaceDefinition("nasbench201", NASBench201Space).create_space().size
        15625
    """

    name: str
    space: Callable[..., SearchSpace]
    supernet: Reference = None
    settings: Reference = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    space_settings: tuple[str, ...] = ()
    supernet_only: tuple[str, ...] = ()
    subnet: Reference = None
    relaxed: Reference = None
    counts: Reference = None
    published_classes: int = 10
    default_paths: str = "uniform"
    inactive_grads: Literal["zero", "skip"] = "zero"
    trains_in_bfloat16_on_cpus: bool = True
    has_drop_path: bool = False
    has_auxiliary_head: bool = False
    trains_progressively: bool = False
    released_weights: Reference = None
    timm_files: Reference = None
    score_revisions: Mapping[str, int] = field(default_factory=dict)
    derives_none: bool = False
    drnas_operations: int | None = None

    @property
    def has_networks(self) -> bool:
        """Whether there are networks of the space, and not only tables."""
        return self.supernet is not None

    def create_space(self, **settings: Any) -> SearchSpace:
        """Builds the search space.

        Args:
            **settings: Settings of networks, of which those that decide the space are taken.
        """
        own = {name: settings[name] for name in self.space_settings if settings.get(name)}
        return self.space(**own)

    def object_of(self, name: str) -> Any:
        """Returns what a reference of this definition refers to, imported if it was not yet.

        Raises:
            ValueError: If it is none, or cannot be imported.
        """
        reference = getattr(self, name)
        if reference is None:
            raise ValueError(f"Space {self.name!r} has no {name}.")
        return object_of(reference)
