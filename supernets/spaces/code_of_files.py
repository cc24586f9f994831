"""What files say of a space of one's own, so that it can be found again, and is the same then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernets.runtime.digests import SUFFIX
from supernets.runtime.foreign_fields import ForeignFileError, check_dict, check_field
from supernets.runtime.trusted_code import object_of_file
from supernets.spaces.base import SearchSpace
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES

_logger = logging.getLogger(__name__)

#: Where the definition of a space that is not built in is: ``module:Object`` or ``file.py:Object``.
FIELD = "space_code"
#: SHA-256 of the file that this was and of the neighbours it uses, where it is one.
DIGEST = FIELD + SUFFIX
#: The options of every decision of a space that is not built in, by its name.
OPTIONS = "space_options"
#: Files whose code was said to have changed.
_told: set[Path] = set()


def code_of(space: str) -> dict[str, str]:
    """Returns what a file records of a space beside its name: nothing of those built in."""
    reference, digest = SPACES.reference_of(space), SPACES.digest_of(space)
    if reference is None:
        return {}
    return {FIELD: reference, **({} if digest is None else {DIGEST: digest})}


def options_of(space: SearchSpace) -> dict[str, dict[str, list[str]]]:
    """Returns what a checkpoint records of the decisions of a space: nothing of those built in."""
    if space.name in SPACES:
        return {}
    return {OPTIONS: {each.name: list(each.options) for each in space.decisions}}


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


def check_options(path: Path, record: Mapping[str, Any], space: SearchSpace) -> None:
    """Makes sure that a space of one's own has the options that it had when a file was written.

    Args:
        path: The file, for messages.
        record: What it holds, with what ``options_of`` gave.
        space: The space as it is now.

    Raises:
        ForeignFileError: If a decision has other options, is missing or was not there; says which.
    """
    if OPTIONS not in record:  # of a built-in space, or of before they were recorded
        return
    stored = check_dict(path, record, OPTIONS)
    for name, options in stored.items():
        is_list = isinstance(options, list) and all(isinstance(each, str) for each in options)
        check_field(is_list, path, f"{OPTIONS}[{name!r}]", "a list of names", options)
    found = {each.name: list(each.options) for each in space.decisions}
    for name in (*stored, *found):
        before, now = stored.get(name), found.get(name)
        if before != now:
            raise ForeignFileError(
                f"{path} is of space {space.name!r} with {_told_options(before)} of decision "
                f"{name!r}, which has {_told_options(now)} by now; use the code it was trained "
                "with, or train again."
            )


def _told_options(options: list[str] | None) -> str:
    return "no options" if options is None else f"the options {', '.join(options)}"


def warn_of_other_code(path: Path, record: Mapping[str, Any]) -> None:
    """Warns, once for each file, where the code of its space is another than when it was written.

    Args:
        path: The file.
        record: What it holds, with what ``code_of`` gave; its space was found.
    """
    then, now = record.get(DIGEST), SPACES.digest_of(str(record.get("space")))
    if then is None or now is None or then == now or path in _told:
        return
    _told.add(path)
    _logger.warning(
        "%s was written with other code of space %r than there is in %s now; if it computes "
        "something else, the weights are not for it.",
        path,
        record["space"],
        str(SPACES.reference_of(record["space"])).rpartition(":")[0],
    )
