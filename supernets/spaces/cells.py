"""What spaces of cells have in common."""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Architecture
from supernets.spaces.base import SearchSpace


class Edge(NamedTuple):
    """An operation of a cell: what it reads, and where its result is added.

    Example:
        >>> Edge("skip_connect", source=0, target=3)
        Edge(op='skip_connect', source=0, target=3)
    """

    op: str
    source: int
    target: int


class CellSpace(SearchSpace):
    """A space of cells, which a network repeats; a cell is a graph of states and operations.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
        >>> arch = space.parse(cell)
        >>> [edge for edge in space.cells(arch)["cell"] if edge.op != "none"]
        [Edge(op='nor_conv_3x3', source=0, target=1), ...]
    """

    #: States of a cell, of which the first are its inputs and the others its nodes.
    num_states: int
    num_inputs: int
    #: States whose concatenation a cell gives; empty if it gives its last one.
    concatenated: tuple[int, ...] = ()

    @abc.abstractmethod
    def cells(self, arch: Architecture) -> dict[str, list[Edge]]:
        """Returns the operations of each kind of cell, by its name, in order of their targets."""

    def has_convolution(self, arch: Architecture) -> bool:
        """Returns whether the output of a network depends on a convolution within its cells."""
        return "conv" in self.format(arch)

    @abc.abstractmethod
    def to_graphs(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Returns the cells as graphs with operations on the vertices, for graph predictors.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            Adjacency of shape (num_archs, V, V), entry [:, i, j] is 1 where i feeds j; and
            operation ids (num_archs, V).
        """
