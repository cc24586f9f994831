"""Names of search spaces, and the space of a name."""

from __future__ import annotations

from collections.abc import Sequence

from supernets.spaces.base import SearchSpace
from supernets.spaces.mobilenetv3 import MobileNetV3Space
from supernets.spaces.nasbench101 import NASBench101Space
from supernets.spaces.nasbench201 import NASBench201Space
from supernets.spaces.nasnet import NASNetSpace

#: Those that there are supernets of.
SPACES = ("nasbench201", "mobilenetv3", "nasnet", "darts")
#: Those that there are only tables of.
TABLE_SPACES = ("nasbench101",)
#: Those of two cells with Genotype notation; they differ in whether a node reads a state twice.
NASNET_SPACES = ("nasnet", "darts")
#: Those with a network of all operations at once.
RELAXED_SPACES = ("nasbench201", *NASNET_SPACES)


def create_space(name: str, *, resolutions: Sequence[int] = ()) -> SearchSpace:
    """Builds a search space by name.

    Args:
        name: Name of the space.
        resolutions: Sides in pixels that are searched, for ``"mobilenetv3"`` alone.

    Raises:
        ValueError: If the name is unknown, or the space has no resolutions.

    Example:
        >>> create_space("nasbench201").size
        15625
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
