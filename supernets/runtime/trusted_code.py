"""Objects that files name: those of one's own are code, which a file does not run unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from supernets.runtime.foreign_fields import ForeignFileError
from supernets.runtime.named_objects import NamedObjects, file_of
from supernets.runtime.option_types import shown
from supernets.runtime.options import option
from supernets.runtime.wording import one_of

Found = TypeVar("Found")


def trust_code_option() -> Any:
    """Makes the field ``trust_code`` of the options of a command that reads such files."""
    return option(
        False,
        "import code that is not part of paceline, of a space or the like, as the file it reads "
        "says",
        default_text="refuse",
    )


def check_trusted(path: Path, what: str, reference: str, *, trust_code: bool) -> None:
    """Makes sure that code which only a file names may be imported.

    Args:
        path: The file, for the message.
        what: What it says of it, for example ``"is of space 'mine'"``.
        reference: Where the code is.
        trust_code: Whether it may be imported.

    Raises:
        ValueError: If it may not; says what would be imported.
    """
    if not trust_code:
        raise ValueError(
            f"{path} {what}, which is not part of paceline: reading it imports and runs "
            f"{reference}. If you trust that code, pass --trust-code (trust_code=True in Python)."
        )


def object_of_file(
    objects: NamedObjects[Found],
    path: Path,
    name: object,
    reference: object = None,
    *,
    trust_code: bool = False,
) -> Found:
    """Returns the object that a file names.

    Objects that are built in, installed or were already loaded by this process are taken without a
    question.

    Args:
        objects: Those that can be named.
        path: The file, for messages.
        name: The object's name, as the file has it.
        reference: Where an object of one's own is, as the file has it; None for others.
        trust_code: Whether code that only the file names may be imported.

    Raises:
        ValueError: If the object is unknown, or is code that is not trusted or not found.
    """
    what = objects.what
    if not isinstance(name, str) or not isinstance(reference, str | None):
        raise ForeignFileError(f"{path} is of {what} {shown(name)}, which is no name.")
    if ":" not in name and objects.is_known(name):
        return objects.find(name)
    if reference is None:
        raise ForeignFileError(
            f"{path} is of {what} {shown(name)}, which is unknown here; known are "
            f"{', '.join(objects.names())}."
        )
    reference = located(path, f"is of {what} {name!r}", reference, f"--{what}")
    check_trusted(path, f"is of {what} {name!r}", reference, trust_code=trust_code)
    found = objects.find(reference)
    own_name = objects.own_name(reference)
    if own_name != name:
        raise ValueError(f"{path} is of {what} {name!r}, and {reference} is {own_name!r}.")
    return found


def located(path: Path, what: str, reference: str, option: str) -> str:
    """Returns where code that a file names is by now; imports nothing.

    A file that is not where it was is looked for beside the file that names it, and in the working
    folder.

    Args:
        path: The file that names it.
        what: What it says of it, for messages, for example ``"is of space 'mine'"``.
        reference: Where the code was: ``module:Object`` or ``file.py:Object``.
        option: Option of commands that names such code, for messages.

    Raises:
        ForeignFileError: If it is a file that is in none of these places; says which were tried.
    """
    file = file_of(reference)
    if file is None or file.is_file():
        return reference
    name = reference.rpartition(":")[2]
    folders = list(dict.fromkeys((path.absolute().parent, Path.cwd())))
    for folder in folders:
        if (folder / file.name).is_file():
            return f"{folder / file.name}:{name}"
    raise ForeignFileError(
        f"{path} {what} of {reference}. There is no file {file}, and no {file.name} in "
        f"{one_of([str(folder) for folder in folders])}; put it there, or say where it is now with "
        f"{option} NEW.py:{name} where the command has {option}."
    )
