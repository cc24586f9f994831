"""Which rows of choices are equal: sets of architectures without a loop over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Pairs of rows that are compared at once.
_MAX_PAIRS = 4_000_000


def unique_rows(choices: NDArray[np.int64]) -> NDArray[np.intp]:
    """Returns the number of the first row that each row is equal to.

    Args:
        choices: Rows of choices (num_rows, num_decisions), not negative.

    Returns:
        (num_rows,); a row's own number where no earlier one is equal to it.
    """
    if not choices.size:
        return np.zeros(len(choices), np.intp)
    # as bytes, rows are compared as a whole; the narrowest type makes them short
    narrow = np.ascontiguousarray(choices, np.min_scalar_type(choices.max()))
    keys = narrow.view(f"S{narrow.shape[1] * narrow.itemsize}")[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.intp)


def unseen_rows(choices: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which rows are neither among ``known`` nor copies of an earlier row.

    Args:
        choices: Rows of choices (num_rows, num_decisions), not negative.
        known: Rows of choices (num_known, num_decisions), not negative.

    Returns:
        (num_rows,).
    """
    first = unique_rows(np.concatenate([known, choices]))[len(known) :]
    return np.asarray(first == np.arange(len(known), len(known) + len(choices)))


def nearest_rows(
    choices: NDArray[np.int64], listed: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns for each row the listed one that differs in the fewest choices, equals at random.

    Args:
        choices: Rows of choices (num_rows, num_decisions).
        listed: Rows of choices (num_listed, num_decisions); at least one.
        rng: Decides between those that differ in as many.

    Returns:
        (num_rows, num_decisions).
    """
    nearest = np.empty(len(choices), np.intp)
    block = max(1, _MAX_PAIRS // len(listed))
    for start in range(0, len(choices), block):
        rows = choices[start : start + block]
        num_differing = rng.random((len(rows), len(listed)), np.float32)  # a part of one
        for own, others in zip(rows.T, listed.T, strict=True):
            num_differing += own[:, None] != others
        nearest[start : start + block] = num_differing.argmin(axis=1)
    return listed[nearest]


class RowSet:
    """Rows of choices that are asked for again and again, while some are added."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def add(self, choices: NDArray[np.int64]) -> None:
        """Adds rows (num_rows, num_decisions)."""
        self._keys.update(_keys_of(choices))

    def hold(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which rows are among them, (num_rows,)."""
        found = map(self._keys.__contains__, _keys_of(choices))
        return np.fromiter(found, np.bool_, len(choices))


def _keys_of(choices: NDArray[np.int64]) -> list[bytes]:
    """One key a row; made, like all that is done with them, without a loop in Python."""
    contiguous = np.ascontiguousarray(choices, np.int64)
    if not contiguous.size:
        return [b""] * len(choices)
    keys: list[bytes] = contiguous.view(f"V{contiguous.shape[1] * 8}")[:, 0].tolist()
    return keys
