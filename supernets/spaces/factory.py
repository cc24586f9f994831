"""Search spaces by name, through one door for those built in and those of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from supernets.runtime.named_objects import HOW_TO_NAME, NamedObjects
from supernets.spaces.base import SearchSpace
from supernets.spaces.definition import SpaceDefinition

_HERE = "supernets.spaces.built_in"
#: The spaces by name.
SPACES: NamedObjects[SpaceDefinition] = NamedObjects(
    "space",
    "paceline.spaces",
    SpaceDefinition,
    {
        "nasbench201": f"{_HERE}:NASBENCH201",
        "mobilenetv3": f"{_HERE}:MOBILENETV3",
        "nasnet": f"{_HERE}:NASNET",
        "darts": f"{_HERE}:DARTS",
        "nasbench101": f"{_HERE}:NASBENCH101",
        "nasbench_macro": f"{_HERE}:NASBENCH_MACRO",
        "mnasnet": f"{_HERE}:MNASNET",
        "proxylessnas": f"{_HERE}:PROXYLESSNAS",
        "vit": f"{_HERE}:VIT",
        "resnet50d": f"{_HERE}:RESNET50D",
    },
)
#: Which names there are, for the help of options.
WHICH_SPACE = f"{', '.join(SPACES.built_in)}, or your own as {HOW_TO_NAME}"


def create_space(name: str, *, resolutions: Sequence[int] = ()) -> SearchSpace:
    """Builds a search space by name.

    Args:
        name: Name of the space, or ``package.module:Object`` or ``file.py:Object`` of a
            ``SpaceDefinition``.
        resolutions: Sides in pixels that are searched, for spaces where they are a decision.

    Raises:
        ValueError: If the name is unknown, or the space has no resolutions.

    Example:
        >>> create_space("nasbench201").size
        15625
    """
    definition = SPACES.find(name)
    if resolutions and "resolutions" not in definition.space_settings:
        raise ValueError(f"Space {definition.name!r} has no resolutions; leave them out.")
    return definition.create_space(resolutions=resolutions)


def has_networks(space: str) -> bool:
    """Returns whether there are networks of a space, and not only tables."""
    return not SPACES.is_known(space) or SPACES.find(space).has_networks


def spaces_with(ability: str) -> tuple[str, ...]:
    """Returns the names of the built-in spaces that have what a definition may say of a space.

    Args:
        ability: Name of a field or property of ``SpaceDefinition``, such as ``"relaxed"``.
    """
    return tuple(name for name in SPACES.built_in if getattr(SPACES.find(name), ability))
