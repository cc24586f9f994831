"""Settings that something was recorded with, beside those of a later run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changes(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What differs, as ``name was this and is now that; …``; empty if nothing does.

    Args:
        stored: As recorded, by name.
        given: Those of now.
    """
    return "; ".join(
        f"{name} was {stored.get(name, 'not set')} and is now {given.get(name, 'not set')}"
        for name in dict.fromkeys([*given, *stored])
        if stored.get(name) != given.get(name)
    )
