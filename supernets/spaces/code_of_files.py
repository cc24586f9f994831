"""What files say of a space of one's own, so that it can be found again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernets.runtime.trusted_code import object_of_file
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES

#: Where the definition of a space that is not built in is: ``module:Object`` or ``file.py:Object``.
FIELD = "space_code"


def code_of(space: str) -> dict[str, str]:
    """Returns what a file records of a space beside its name: nothing of those built in."""
    reference = SPACES.reference_of(space)
    return {} if reference is None else {FIELD: reference}


def space_of_file(
    path: Path, record: Mapping[str, Any], *, trust_code: bool = False
) -> SpaceDefinition:
    """Returns the definition of the space that a file names, as ``object_of_file`` does.

    Args:
        path: The file, for messages.
        record: What it holds: a name, and of a space of one's own where its definition is.
        trust_code: Whether code that only the file names may be imported.

    Raises:
        ValueError: If the space is unknown, or is code that is not trusted or not found.
    """
    return object_of_file(
        SPACES, path, record.get("space"), record.get(FIELD), trust_code=trust_code
    )
