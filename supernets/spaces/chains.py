"""Architectures as chains: what is decided first feeds what is decided next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Of the vertex that begins a chain; options have the ids from 1 on, and the end the next.
INPUT_ID = 0


def chain_graphs(
    choices: NDArray[np.int64], active: NDArray[np.bool_], num_options: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns chains from an input over the active decisions, in their order, to an output.

    The options of all decisions have ids of their own, so that a graph predictor knows where in the
    chain a vertex is. Inactive decisions are padding, which the edges pass over.

    Args:
        choices: Choices of architectures, (num_archs, num_decisions).
        active: Which of them have an effect, of the same shape.
        num_options: Number of options of each decision.

    Returns:
        Adjacency (num_archs, V, V), 1 where row feeds column, with V = num_decisions + 2; and ids
        (num_archs, V), -1 for padding.

    Example:
        >>> adjacency, ids = chain_graphs(
        ...     np.array([[1, 0, 2]]), np.array([[True, False, True]]), (2, 2, 3)
        ... )
        >>> ids.tolist(), np.argwhere(adjacency[0]).tolist()
        ([[0, 2, -1, 7, 8]], [[0, 1], [1, 3], [3, 4]])
    """
    num_archs, num_decisions = choices.shape
    first_ids = 1 + np.cumsum([0, *num_options])
    ids = np.full((num_archs, num_decisions + 2), INPUT_ID)
    ids[:, 1:-1] = np.where(active, choices + first_ids[:-1], -1)
    ids[:, -1] = first_ids[-1]
    # of each vertex, how many of the chain are before it
    places = np.cumsum(ids >= 0, axis=1) - 1
    is_next = places[:, :, None] + 1 == places[:, None, :]
    is_there = ids >= 0
    edges = is_next & is_there[:, :, None] & is_there[:, None, :]
    return edges.astype(np.float32), ids
