"""Which paths a training step may run, by name: those built in and those of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernets.runtime.instances import check_instance, check_switch
from supernets.runtime.named_objects import (
    HOW_TO_NAME,
    NameBeside,
    NamedObjects,
    Reference,
    check_builder,
    defining,
    object_of,
)

if TYPE_CHECKING:
    from supernets.training.path_sampling import PathSampler


@dataclass(frozen=True)
class PathsDefinition:
    """The paths of a training step, as one object that can be named.

    Wherever paths are chosen by name, ``package.module:Object`` or ``file.py:Object`` may name a
    definition of one's own.

    Args:
        name: Their name, as in checkpoints.
        build: Class or function that builds a ``PathSampler`` from the search space, the
            ``CostModel`` and the number of paths per step, None for its own; or ``module:Object``,
            imported once one is built.
        takes_macs_bins: Whether ``build`` takes ``--macs-bins`` as well.

    Raises:
        ValueError: If a value is not of its kind.

    Example:
        >>> from supernets import PATHS
        >>> PATHS["macs-bins"].takes_macs_bins
        True
    """

    name: str
    build: Reference
    takes_macs_bins: bool = False

    def __post_init__(self) -> None:
        with defining(self, self.name):
            check_instance("name", self.name, str)
            check_switch("takes_macs_bins", self.takes_macs_bins)
            check_builder(self.build)

    @property
    def builder(self) -> Callable[..., PathSampler]:
        """What builds the sampler, imported if it was not yet.

        Raises:
            ValueError: If it cannot be imported.
        """
        found: Callable[..., PathSampler] = object_of(self.build)
        return found


_BUILDERS = "supernets.training.path_factory"

UNIFORM = PathsDefinition("uniform", f"{_BUILDERS}:uniform")
MACS_BINS = PathsDefinition("macs-bins", f"{_BUILDERS}:macs_bins", takes_macs_bins=True)
FAIR = PathsDefinition("fair", f"{_BUILDERS}:fair")
MULTI = PathsDefinition("multi", f"{_BUILDERS}:multi")
SANDWICH = PathsDefinition("sandwich", f"{_BUILDERS}:sandwich")
BEST_UP = PathsDefinition("best-up", f"{_BUILDERS}:best_up")
WORST_UP = PathsDefinition("worst-up", f"{_BUILDERS}:worst_up")

_HERE = "supernets.training.paths"
#: The paths of a step by name.
PATHS: NamedObjects[PathsDefinition] = NamedObjects(
    "paths",
    "paceline.paths",
    PathsDefinition,
    {
        "uniform": f"{_HERE}:UNIFORM",
        "macs-bins": f"{_HERE}:MACS_BINS",
        "fair": f"{_HERE}:FAIR",
        "multi": f"{_HERE}:MULTI",
        "sandwich": f"{_HERE}:SANDWICH",
        "best-up": f"{_HERE}:BEST_UP",
        "worst-up": f"{_HERE}:WORST_UP",
    },
)
#: Phase by phase, from the largest network to all of them: no paths, but a plan of trainings.
PROGRESSIVE = "progressive"
#: Which names there are, for the help of options.
WHICH_PATHS = f"{', '.join(PATHS)}, {PROGRESSIVE}, or your own as {HOW_TO_NAME}"
#: Reads one of them.
PATHS_NAME = NameBeside(PATHS, [PROGRESSIVE])
