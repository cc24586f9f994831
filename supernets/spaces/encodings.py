"""Choices as features for predictors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Decision

Encoding = Literal["one-hot", "integers", "path", "sequence"]
ENCODINGS: tuple[Encoding, ...] = ("one-hot", "integers", "path", "sequence")


def one_hot(
    decisions: Sequence[Decision], choices: NDArray[np.int64], active: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Encodes choices in a column per option, 1 where it is chosen and the decision is active.

    Args:
        decisions: Decisions of the space.
        choices: Option index of every decision, (num_archs, num_decisions).
        active: Which of the choices have an effect, of the same shape.

    Returns:
        (num_archs, num_options).
    """
    sizes = np.array([len(decision.options) for decision in decisions])
    features = np.zeros((len(choices), int(sizes.sum())), np.float32)
    offsets = np.cumsum(sizes) - sizes
    np.put_along_axis(features, choices + offsets, active.astype(np.float32), axis=1)
    return features


def integers(
    decisions: Sequence[Decision], choices: NDArray[np.int64], active: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Encodes choices in a column per decision: the option as a number, 0 where it is inactive.

    Args:
        decisions: As of ``one_hot``.
        choices: As of ``one_hot``.
        active: As of ``one_hot``.

    Returns:
        (num_archs, num_decisions).
    """
    values = np.zeros((len(decisions), max(len(each.options) for each in decisions)), np.float32)
    for row, decision in zip(values, decisions, strict=True):
        row[: len(decision.options)] = decision.values
    return np.where(active, values[np.arange(len(decisions)), choices], np.float32(0))
