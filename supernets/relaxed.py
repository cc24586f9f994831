"""The contract of a relaxed network: every operation of every edge at once, summed with weights.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; PC-DARTS
(partial channels), https://arxiv.org/abs/1907.05737; DrNAS (fewer operations and more channels as
the search goes on), https://arxiv.org/abs/2006.10355
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.spaces import Architecture, SearchSpace

#: Of each edge, the weight of each operation, a number of shape (); None where it is pruned.
EdgeWeights = Sequence[Sequence[Tensor | None]]


class RelaxedNetwork(nn.Module, abc.ABC):
    """A network whose edges are sums of all operations, times weights that are its argument.

    With ``partial_channels`` k only the first of every k channels go through the operations of an
    edge; the others pass by, and the channels of every node are shuffled in k groups.

    Args:
        alive: Which operations there are, bool (num_cells, num_edges, num_ops); None for all. The
            others have no weights and are not computed.
        partial_channels: One over the share of channels that operations see. At least 1.
    """

    space: SearchSpace
    num_classes: int
    input_size: tuple[int, int, int]  # (channels, height, width)
    #: Keyword arguments of ``create_supernet`` for the supernet of the same size.
    settings: dict[str, Any]
    #: Names along the three axes of alphas: cells of their own, their edges, operations.
    cells: tuple[str, ...]
    edges: tuple[str, ...]
    ops: tuple[str, ...]

    def __init__(self, alive: NDArray[np.bool_] | None, partial_channels: int) -> None:
        super().__init__()
        if alive is None:
            alive = np.ones(self.alphas_shape, np.bool_)
        if alive.shape != self.alphas_shape or not alive.any(axis=2).all():
            raise ValueError(
                f"alive must be {self.alphas_shape} with an operation on every edge, got "
                f"{alive.shape}."
            )
        self.alive = alive
        self.partial_channels = partial_channels

    @property
    def alphas_shape(self) -> tuple[int, int, int]:
        """Shape of alphas and weights of operations: (num_cells, num_edges, num_ops)."""
        return len(self.cells), len(self.edges), len(self.ops)

    @abc.abstractmethod
    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, num_classes) logits.

        Args:
            x: Images.
            op_weights: Of shape ``alphas_shape``; those of operations that are not alive have no
                effect.
        """

    @abc.abstractmethod
    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """The operations that weights of operations stand for.

        Args:
            op_weights: Of shape ``alphas_shape``; not looked at where operations are not alive.

        Returns:
            Of each edge the operation, -1 where the edge is left out: (num_cells, num_edges).
        """

    @abc.abstractmethod
    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """That of operations as ``choose_ops`` gives them."""

    def discretize(self, op_weights: NDArray[np.float64]) -> Architecture:
        """The architecture that weights of operations stand for."""
        return self.architecture(self.choose_ops(op_weights))

    @abc.abstractmethod
    def op_macs(self) -> NDArray[np.int64]:
        """Multiply-accumulates of each operation in a derived network, of shape ``alphas_shape``.

        Summed over all cells of a kind, with all channels, for one image.
        """

    def _scalars(self, op_weights: Tensor) -> list[list[list[Tensor | None]]]:
        """The weights one by one, by cell, edge and operation; None where not alive.

        Taken apart once for all cells of the network, so that the backward pass puts their
        gradients together once.
        """
        if op_weights.shape != self.alphas_shape:
            raise ValueError(
                f"op_weights must be {self.alphas_shape}, got {tuple(op_weights.shape)}."
            )
        weights = [
            weight if is_alive else None
            for weight, is_alive in zip(
                op_weights.flatten().unbind(), self.alive.flatten().tolist(), strict=True
            )
        ]
        num_edges, num_ops = len(self.edges), len(self.ops)
        rows = [weights[i : i + num_ops] for i in range(0, len(weights), num_ops)]
        return [rows[i : i + num_edges] for i in range(0, len(rows), num_edges)]


class FixedMixture(nn.Module):
    """A relaxed network with the weights of its operations given, as a network of images alone.

    Args:
        network: Shared, not copied.
        op_weights: Of shape ``alphas_shape``.
    """

    def __init__(self, network: RelaxedNetwork, op_weights: Tensor) -> None:
        super().__init__()
        self.network, self._op_weights = network, op_weights

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, num_classes) logits."""
        return cast(Tensor, self.network(x, self._op_weights))


class Node:
    """A state of a relaxed cell while its incoming edges are summed.

    Args:
        partial_channels: As ``RelaxedNetwork``.
    """

    def __init__(self, partial_channels: int) -> None:
        self._partial_channels = partial_channels
        self._mixed: Tensor | None = None  # (N, C / partial_channels, H, W)
        self._passed: Tensor | None = None  # (N, the rest of C, H, W)

    def add(self, term: Tensor) -> None:
        """Adds what an operation gives, (N, C / partial_channels, H, W)."""
        self._mixed = term if self._mixed is None else self._mixed + term

    def add_passed(self, term: Tensor) -> None:
        """Adds the channels that passed by an edge."""
        self._passed = term if self._passed is None else self._passed + term

    def value(self, like: Tensor) -> Tensor:
        """(N, C, H, W); zeros of the shape of ``like`` where no operation gives anything."""
        mixed = torch.zeros_like(like) if self._mixed is None else self._mixed
        if self._passed is None:
            return mixed
        return torch.channel_shuffle(
            torch.cat([mixed, self._passed], dim=1), self._partial_channels
        )


def check_partial_channels(partial_channels: int, channels: int) -> None:
    """Makes sure that the channels of the first cells can be parted.

    Raises:
        ValueError: If they cannot.
    """
    if partial_channels < 1 or channels % partial_channels:
        raise ValueError(
            f"partial_channels must be at least 1 and divide the {channels} channels of the first "
            f"cells, got {partial_channels}."
        )
