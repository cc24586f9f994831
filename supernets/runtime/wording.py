"""Words of messages that depend on a number."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

#: How alike a word and what may have been meant are, as ``difflib`` counts, from 0 to 1.
_LIKENESS = 0.75


def plural(number_of: int, noun: str) -> str:
    """Counts things in words: ``1 run``, ``2 runs``, ``2 queries``, ``2 classes``."""
    if number_of == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{number_of} {noun[:-1]}ies"
    return f"{number_of} {noun}{'es' if noun.endswith('s') else 's'}"


def size_of_bytes(num_bytes: float) -> str:
    """Says a number of bytes in three digits or less: ``7.5 GB``, ``410 kB``, ``0 bytes``."""
    size, unit = float(num_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.95 else f"{size:.3g} {unit}"


def one_of(names: Sequence[str]) -> str:
    """Lists names in words: ``a``, ``a or b``, ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def some(values: Sequence[object], most: int = 6) -> str:
    """Lists the first values in words: ``1, 2, 3, 4, 5, 6, …``."""
    return ", ".join([*map(str, values[:most]), *(["…"] if len(values) > most else [])])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns the question "did you mean x?" with what is most like a word, or "" if nothing is."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=_LIKENESS)
    return f"did you mean {near[0]}?" if near else ""


def unknown_names(what: str, unknown: Iterable[str], known: Iterable[str]) -> str:
    """Says in a sentence that names are unknown, which there are, and what may have been meant.

    Args:
        what: What the names are of, for example ``"Supernets of space 'darts'"``.
        unknown: The names that there are not; at least one.
        known: All that there are.
    """
    unknown, known = list(unknown), list(known)
    meant = did_you_mean(unknown[0], known)
    question = f"; {meant}" if meant else "."
    return f"{what} have no {', '.join(unknown)}; there are {', '.join(known)}{question}"


def flag(name: str) -> str:
    """Returns the flag of an option, such as ``--num-trials`` of ``num_trials``."""
    return "--" + name.replace("_", "-")


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the name of its type if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
