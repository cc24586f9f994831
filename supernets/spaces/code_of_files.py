"""Spaces that files name: those of one's own are code, which a file does not run unasked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernets.runtime.foreign_fields import ForeignFileError
from supernets.runtime.named_objects import file_of
from supernets.runtime.option_types import shown
from supernets.runtime.options import option
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES

#: Where the definition of a space that is not built in is: ``module:Object`` or ``file.py:Object``.
FIELD = "space_code"


def trust_code_option() -> Any:
    """Makes the field ``trust_code`` of the options of a command that reads such files."""
    return option(
        False,
        "import the code of a space that is not part of paceline, as the file it reads says",
        default_text="refuse",
    )


def code_of(space: str) -> dict[str, str]:
    """Returns what a file records of a space beside its name: nothing of those built in."""
    reference = SPACES.reference_of(space)
    return {} if reference is None else {FIELD: reference}


def space_of_file(
    path: Path, record: Mapping[str, Any], *, trust_code: bool = False
) -> SpaceDefinition:
    """Returns the definition of the space that a file names.

    Definitions that are built in, installed or were already loaded by this process are taken
    without a question.

    Args:
        path: The file, for messages.
        record: What it holds: a name, and of a space of one's own where its definition is.
        trust_code: Whether code that only the file names may be imported.

    Raises:
        ValueError: If the space is unknown, or is code that is not trusted or not found.
    """
    name, reference = record.get("space"), record.get(FIELD)
    if not isinstance(name, str) or not isinstance(reference, str | None):
        raise ForeignFileError(f"{path} is of space {shown(name)}, which is no name.")
    if ":" not in name and SPACES.is_known(name):
        return SPACES.find(name)
    if reference is None:
        raise ForeignFileError(
            f"{path} is of space {shown(name)}, which is unknown here; known are "
            f"{', '.join(SPACES.names())}."
        )
    reference = _moved(path, reference)
    if not trust_code:
        raise ValueError(
            f"{path} is of space {name!r}, which is not part of paceline: reading it imports and "
            f"runs {reference}. If you trust that code, pass --trust-code (trust_code=True in "
            "Python)."
        )
    definition = SPACES.find(reference)
    if definition.name != name:
        raise ValueError(f"{path} is of space {name!r}, and {reference} is {definition.name!r}.")
    return definition


def _moved(path: Path, reference: str) -> str:
    """The reference to a file that is beside ``path`` or in the working folder by now."""
    file = file_of(reference)
    if file is None or file.is_file():
        return reference
    name = reference.rpartition(":")[2]
    for folder in (path.parent, Path.cwd()):
        if (folder / file.name).is_file():
            return f"{folder / file.name}:{name}"
    return reference
