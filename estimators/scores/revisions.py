"""When the numbers of a score changed, so that stored ones are not mixed with those of now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: How often the numbers of a score changed, from 1, by space; 1 where nothing is listed. To be
#: raised whenever a score of the same subnet, weights and images becomes another.
REVISIONS: Mapping[str, Mapping[str, int]] = {
    # 2: edges of cells that no path reaches are no longer part of the network
    "nasbench201": {"params": 2, "macs": 2, "naswot": 2},
}


def revisions(space: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns what a header records of its scores' revisions: nothing where none ever changed.

    Args:
        space: Name of the space.
        names: Names of scores and costs, and of anything else.

    Returns:
        ``{"revisions": …}`` by name, or an empty mapping, so that a store of before is refused only
        where its numbers are others.
    """
    known = REVISIONS.get(space, {})
    changed = {name: known[name] for name in sorted(set(names)) if name in known}
    return {"revisions": changed} if changed else {}
