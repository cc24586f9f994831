"""What kind of run a folder holds, told by its files, so that no other kind replaces them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

#: Kinds of runs that write ``args.json``; a training is of a supernet or of a subnet.
RunKind = Literal["training", "search", "gradient search", "ranking"]

#: What each kind is called, and files of which one at least is there once it has begun.
_TRACES: dict[RunKind, tuple[str, tuple[str, ...]]] = {
    "search": ("a search", ("trials.db",)),
    "gradient search": ("a search by gradients", ("alphas.csv",)),
    "ranking": ("a ranking", ("measurements-*.db",)),
    "training": ("a training", ("last.pt", "phase-*/last.pt")),
}
_SEARCHES: set[RunKind] = {"search", "gradient search"}


def check_kind(folder: Path, kind: RunKind) -> None:
    """Makes sure that a folder holds no run of another kind, of which files would be replaced.

    Where a kind of before lies beside the one that is asked for, that one may go on, unless both
    are searches. Whether a ``last.pt`` is one of a search by gradients is told by reading it.

    Args:
        folder: Folder of the run, which may be missing; other folders in it are not looked at.
        kind: What is to be written there.

    Raises:
        ValueError: If there is a run of another kind.
    """
    found = {
        each
        for each, (_, patterns) in _TRACES.items()
        if any(True for pattern in patterns for _ in folder.glob(pattern))
    }
    if "gradient search" in (kind, *found):
        found.discard("training")
    if not found or (kind in found and not found >= _SEARCHES):
        return
    if kind in _SEARCHES and found & _SEARCHES - {kind}:
        held = "a search of another kind"
    else:
        held = next(name for each, (name, _) in _TRACES.items() if each in found - {kind})
    raise ValueError(f"{folder} holds {held}; choose another --output.")
