"""What decides a result, by content: digests, and how stored settings are compared by them.

A setting ``NAME`` that stands beside a setting ``NAME_digest`` only says what an input is called:
the same content under another name is the same input.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SUFFIX = "_digest"
_EDGE = 4096  # bytes


def digest_of(content: Any) -> str:
    """Computes SHA-256 of plain values, however they were written down."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Computes SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ends_digest(path: Path) -> str:
    """SHA-256 of the first and the last 4 KB of a file, where all of it would take too long."""
    with path.open("rb") as file:
        ends = hashlib.sha256(file.read(_EDGE))
        file.seek(max(0, os.fstat(file.fileno()).st_size - _EDGE))
        ends.update(file.read(_EDGE))
    return ends.hexdigest()


def by_content(
    stored: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Adapts stored settings so that they can be compared with those of now by content.

    Args:
        stored: Settings by name as they were recorded, perhaps before digests were.
        given: Settings by name as they are now.

    Returns:
        The stored settings, with the names that inputs have now where their digests are known, and
        with the digests of now where none was stored; and the names of the inputs of the latter.
    """
    found, unchecked = dict(stored), []
    for key, value in given.items():
        old = stored.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found[key], inner = by_content(old, value)
            unchecked += inner
        elif key.endswith(SUFFIX) and value is not None:
            name = key.removesuffix(SUFFIX)
            if key not in stored:
                found[key] = value
                unchecked.append(name)
            elif name in stored and name in given:
                found[name] = given[name]
    return found, unchecked


def without_labels(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings without the names of inputs whose digests they hold."""
    return {
        key: without_labels(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if key + SUFFIX not in settings
    }


def unchecked_inputs(path: Path, names: Sequence[str]) -> str:
    """Returns a warning that a file says nothing of the content of some inputs."""
    return (
        f"{path} does not say what was in its {', '.join(names)}, so that it was not checked; it "
        "does from now on."
    )
