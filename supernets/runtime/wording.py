"""Words of messages that depend on a number."""

from __future__ import annotations

from collections.abc import Sequence


def plural(number_of: int, noun: str) -> str:
    """Counts things in words: ``1 run``, ``2 runs``, ``2 queries``, ``2 classes``."""
    if number_of == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{number_of} {noun[:-1]}ies"
    return f"{number_of} {noun}{'es' if noun.endswith('s') else 's'}"


def one_of(names: Sequence[str]) -> str:
    """Lists names in words: ``a``, ``a or b``, ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
