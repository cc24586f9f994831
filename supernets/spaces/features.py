"""Features of architectures that a predictor may see beside their encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Decision


class Structure(NamedTuple):
    """Features of architectures, of two kinds.

    Args:
        labels: Features that are equal or not, (num_archs, num_labels), integers.
        numbers: Quantities, (num_archs, num_numbers).
    """

    labels: NDArray[np.int64]
    numbers: NDArray[np.float64]


def structure_of_choices(
    decisions: Sequence[Decision], choices: NDArray[np.int64], active: NDArray[np.bool_]
) -> Structure:
    """Describes architectures by their choices alone.

    Every decision is a label; one that is inactive has the label -1. Decisions on a quantity, such
    as a width, are numbers as well: the logarithm of one more than the option, since it is ratios
    of sizes that matter; 0 where it is inactive.

    Args:
        decisions: Decisions of the space.
        choices: Option index of every decision, (num_archs, num_decisions).
        active: Which of the choices have an effect, of the same shape.

    Returns:
        As many labels as decisions, and as many numbers as of these are quantities.

    Example:
        >>> decisions = (Decision("op", ("skip", "pool", "conv")), Decision("width", ("1", "3")))
        >>> found = structure_of_choices(decisions, np.array([[2, 1]]), np.array([[True, True]]))
        >>> found.labels.tolist(), found.numbers.round(2).tolist()
        ([[2, 1]], [[1.39]])
    """
    numbers = np.zeros((len(choices), 0))
    quantities = [i for i, decision in enumerate(decisions) if decision.is_quantity]
    if quantities:
        columns = [np.array(decisions[i].values)[choices[:, i]] for i in quantities]
        values = np.stack(columns, axis=1)
        numbers = np.where(active[:, quantities], np.sign(values) * np.log1p(np.abs(values)), 0.0)
    return Structure(np.where(active, choices, -1), numbers)
