"""Chains of blocks in stages, of which those that keep the shape may do nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def idle_last(blocks: NDArray[np.int64], stages: Sequence[int], idle: int) -> NDArray[np.int64]:
    """Moves the blocks that do nothing to the end of their stages.

    The first block of a stage changes the shape and stays where it is, whatever it is.

    Args:
        blocks: What the blocks are, (num_archs, num_blocks).
        stages: Number of blocks of each stage.
        idle: What a block that does nothing is.

    Returns:
        The same shape.

    Example:
        >>> idle_last(np.array([[0, 1, 0, 2, 0, 3]]), stages=(4, 2), idle=0)
        array([[0, 1, 2, 0, 0, 3]])
    """
    ordered = blocks.copy()
    start = 0
    for num_blocks in stages:
        rest = blocks[:, start + 1 : start + num_blocks]
        order = np.argsort(rest == idle, axis=1, kind="stable")
        ordered[:, start + 1 : start + num_blocks] = np.take_along_axis(rest, order, axis=1)
        start += num_blocks
    return ordered
