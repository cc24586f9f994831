"""When the numbers of a score changed, so that stored ones are not mixed with those of now."""

from __future__ import annotations

from collections.abc import Iterable

from supernets.spaces.factory import SPACES


def revisions(space: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns what a header records of its scores' revisions: nothing where none ever changed.

    Args:
        space: Name of the space.
        names: Names of scores and costs, and of anything else.

    Returns:
        ``{"revisions": …}`` by name, or an empty mapping, so that a store of before is refused only
        where its numbers are others.
    """
    known = SPACES.find(space).score_revisions if SPACES.is_known(space) else {}
    changed = {name: known[name] for name in sorted(set(names)) if name in known}
    return {"revisions": changed} if changed else {}
