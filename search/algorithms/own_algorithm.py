"""An algorithm of one's own at work: what it asks for is checked before anything is measured.

The library's own algorithms are held to the same by the contract of all algorithms, in tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.algorithms.rows import unique_rows
from supernets.runtime.own_code import is_own, kind_of, refuse_own, running_own
from supernets.spaces import Architecture

if TYPE_CHECKING:
    from search.algorithms.base import SearchAlgorithm

_HOW_TO_CHOOSE = (
    "return rows of choices, (num_archs, num_decisions), as self._sample_unseen(num_archs, rng) "
    "does; self.space.choices_of(archs) makes them of Architecture objects"
)


def told_by(algorithm: SearchAlgorithm) -> str:
    """Names an algorithm in messages, by its class."""
    return f"Algorithm {type(algorithm).__name__}"


def running_algorithm(
    algorithm: SearchAlgorithm, doing: str, *passed: type[Exception]
) -> AbstractContextManager[None]:
    """Tells in a line what an algorithm of one's own raises in the block.

    Args:
        algorithm: The algorithm.
        doing: What it did, for example ``"failed in ask(4)"``.
        *passed: Errors that mean something to the caller.
    """
    if not is_own(algorithm):
        return nullcontext()
    advice = "what was measured is kept: mend it and run the same again"
    return running_own(told_by(algorithm), algorithm, doing=doing, advice=advice, passed=passed)


def checked_choices(algorithm: SearchAlgorithm, choices: Any, num_archs: int) -> NDArray[np.int64]:
    """Returns what an algorithm of one's own has chosen, as rows of choices.

    Args:
        algorithm: The algorithm.
        choices: What its ``_choose`` returned.
        num_archs: How many architectures it was asked for.

    Raises:
        OwnCodeError: If they are no rows of choices of the space, or not as many as asked for.
    """
    sizes = [len(decision.options) for decision in algorithm.space.decisions]
    shape = (num_archs, len(sizes))
    what, expected = told_by(algorithm), f"must choose an integer array of shape {shape}"
    try:
        rows = np.asarray(choices)
    except ValueError:  # a list of lists of several lengths
        rows = np.asarray(None)
    if rows.dtype.kind not in "iu" or rows.shape != shape:
        advice = _HOW_TO_CHOOSE
        if rows.dtype.kind in "iu" and rows.shape[1:] == shape[1:]:  # only their number is wrong
            advice = _advice_on_number(len(rows), num_archs)
        refuse_own(what, algorithm, expected, kind_of(choices), advice)
    is_wrong = (rows < 0) | (rows >= sizes)
    if is_wrong.any():
        row, column = (int(each) for each in np.argwhere(is_wrong)[0])
        decision = algorithm.space.decisions[column]
        expected = f"must choose an index from 0 to {sizes[column] - 1} for {decision.name!r}"
        refuse_own(what, algorithm, expected, f"{rows[row, column]} in row {row}")
    return rows.astype(np.int64, copy=False)


def next_batch_size(algorithm: SearchAlgorithm, batch_size: int) -> int:
    """Returns how many architectures an algorithm says that a search asks for next.

    Raises:
        OwnCodeError: If one of one's own fails, or says what is no positive number.
    """
    if not is_own(algorithm):
        return algorithm.next_batch_size(batch_size)
    with running_algorithm(algorithm, "failed in next_batch_size"):
        size = algorithm.next_batch_size(batch_size)
    if not isinstance(size, int | np.integer) or size < 1:
        expected = "must return a whole number of at least 1 from next_batch_size"
        refuse_own(told_by(algorithm), algorithm, expected, kind_of(size))
    return int(size)


def asked(algorithm: SearchAlgorithm, num_archs: int) -> list[Architecture]:
    """Returns what an algorithm proposes; of one of one's own it is checked.

    Args:
        algorithm: The algorithm.
        num_archs: How many architectures it is asked for.

    Raises:
        SpaceExhaustedError: If the algorithm says so.
        OwnCodeError: If one of one's own fails, or proposes what is not as many distinct, feasible
            and unseen architectures of the space.
    """
    if not is_own(algorithm):
        return algorithm.ask(num_archs)
    from search.algorithms.base import SpaceExhaustedError

    with running_algorithm(algorithm, f"failed in ask({num_archs})", SpaceExhaustedError):
        archs = algorithm.ask(num_archs)
    what, space = told_by(algorithm), algorithm.space
    expected = f"must ask for a list of {num_archs} Architecture objects"
    if not isinstance(archs, Sequence) or isinstance(archs, str):
        refuse_own(what, algorithm, expected, kind_of(archs))
    for arch in archs:
        if not isinstance(arch, Architecture):
            refuse_own(what, algorithm, expected, f"{kind_of(arch)} in it")
    if len(archs) != num_archs:
        refuse_own(
            what, algorithm, expected, str(len(archs)), _advice_on_number(len(archs), num_archs)
        )
    with running_algorithm(algorithm, "asked for what is not of the space"):
        space.validate_all(archs)
    choices = space.choices_of(archs)
    is_first = unique_rows(choices) == np.arange(num_archs)
    is_new = algorithm._are_unseen(choices)
    if not (is_first & is_new).all():
        row = int(np.argmin(is_first & is_new))
        why = "which comes twice" if is_new[row] else "which was told before"
        expected = "must ask for architectures that are distinct and were not told before"
        refuse_own(what, algorithm, expected, f"{space.format(archs[row])}, {why}")
    is_feasible = algorithm.problem.is_feasible(choices)
    if not is_feasible.all():
        broken = space.format(archs[int(np.argmin(is_feasible))])
        expected = "must ask for architectures that problem.is_feasible allows"
        refuse_own(what, algorithm, expected, broken)
    return list(archs)


def _advice_on_number(came: int, num_archs: int) -> str:
    if came > num_archs:
        return "leave out those that are too many"
    return "raise search.SpaceExhaustedError where fewer are left"
