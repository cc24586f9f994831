"""Architectures as a user names them: in the notation of their space, or by what a search found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from supernets.runtime.foreign_fields import ForeignFileError, read_json
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.code_of_files import space_of_file

_BEST = "a best.json of supernet-search"


def read_architecture(text: str, space: SearchSpace) -> tuple[Architecture, dict[str, Any] | None]:
    """Reads an architecture from its notation or from the ``best.json`` of a search.

    Returns:
        The architecture, and the trial it came from if there was one.

    Raises:
        ValueError: If it cannot be read, or is of another space.
    """
    name, notation, trial = read_notation(text)
    if name not in (None, space.name):
        raise ValueError(
            f"{text} is from space {name!r}, but this supernet searches {space.name!r}."
        )
    return space.parse(notation), trial


def read_notation(
    text: str, *, trust_code: bool = False
) -> tuple[str | None, str, dict[str, Any] | None]:
    """Reads which architecture is meant, without knowing its space.

    Args:
        text: An architecture in its notation, which is returned, or the path of a ``best.json``.
        trust_code: Whether the code of a space that is not built in may be imported, if the file
            names some; without a question where this process has loaded it already.

    Returns:
        The name of the space, the notation and the trial; only the notation without a file.

    Raises:
        ValueError: If the file cannot be read, or a folder with one is given.
    """
    if not text.endswith(".json"):
        if os.path.isfile(os.path.join(text, "best.json")):
            raise ValueError(
                f"{text} is a folder; for the best of its search give "
                f"{os.path.join(text, 'best.json')}."
            )
        return None, text, None
    if not Path(text).exists():
        raise ValueError(f"There is no file {text}; give {_BEST}, or an architecture.")
    best = read_json(Path(text), _BEST)
    try:
        trial = best["best"][0]
        notation = trial["architecture"]
    except (KeyError, IndexError, TypeError) as error:
        raise ForeignFileError(
            f"{text} is not {_BEST}: it has no space and a best trial with an architecture."
        ) from error
    return space_of_file(Path(text), best, trust_code=trust_code).name, notation, trial
