"""The contract of a relaxed network: every operation of every edge at once, summed with weights.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; PC-DARTS
(partial channels), https://arxiv.org/abs/1907.05737; DrNAS (fewer operations and more channels as
the search goes on), https://arxiv.org/abs/2006.10355
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.spaces import Architecture

#: Of each edge, the weight of each operation, a number of shape (); None where it is pruned.
EdgeWeights = Sequence[Sequence[Tensor | None]]


class RelaxedNetwork(nn.Module, abc.ABC):
    """A network whose edges are sums of all operations, times weights that are its argument.

    With ``partial_channels`` k only the first of every k channels go through the operations of an
    edge; the others pass by, and the channels of every node are shuffled in k groups.

    Args:
        supernet: A supernet of the same size; its weights are not looked at.
        op_mask: Which operations there are, bool (num_cells, num_edges, num_ops); None for all. The
            others have no weights and are not computed.
        partial_channels: One over the share of channels that operations see. At least 1, and a
            divisor of the channels of the first cells.

    Raises:
        ValueError: If the channels cannot be parted, or ``op_mask`` is of another shape or leaves
            an edge without operations.
    """

    #: Names along the three axes of alphas: cells of their own, their edges, operations.
    cells: tuple[str, ...]
    edges: tuple[str, ...]
    ops: tuple[str, ...]

    def __init__(
        self, supernet: Supernet, op_mask: NDArray[np.bool_] | None, partial_channels: int
    ) -> None:
        super().__init__()
        channels = supernet.settings["channels"]
        if partial_channels < 1 or channels % partial_channels:
            raise ValueError(
                f"partial_channels must be at least 1 and divide the {channels} channels of the "
                f"first cells, got {partial_channels}."
            )
        if op_mask is None:
            op_mask = np.ones(self.alphas_shape, np.bool_)
        if op_mask.shape != self.alphas_shape or not op_mask.any(axis=2).all():
            raise ValueError(
                f"op_mask must be {self.alphas_shape} with an operation on every edge, got "
                f"{op_mask.shape}."
            )
        self.op_mask = op_mask
        self.partial_channels = partial_channels
        self._supernet = [supernet]  # a list: not a submodule
        self.space = supernet.space
        self.num_classes, self.input_size = supernet.num_classes, supernet.input_size

    @property
    def supernet(self) -> Supernet:
        """The supernet of the same size, for its settings and costs."""
        return self._supernet[0]

    @property
    def alphas_shape(self) -> tuple[int, int, int]:
        """Shape of alphas and weights of operations: (num_cells, num_edges, num_ops)."""
        return len(self.cells), len(self.edges), len(self.ops)

    @abc.abstractmethod
    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes).

        Args:
            x: Images.
            op_weights: Weights of the operations, of shape ``alphas_shape``; those of operations
                that are masked out have no effect.
        """

    @abc.abstractmethod
    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Chooses the operations that weights of operations stand for.

        Args:
            op_weights: Weights of the operations, of shape ``alphas_shape``; not looked at where
                operations are masked out.

        Returns:
            The operation of each edge, -1 where the edge is left out: (num_cells, num_edges).
        """

    @abc.abstractmethod
    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """Returns the architecture of operations that ``choose_ops`` returned."""

    def discretize(self, op_weights: NDArray[np.float64]) -> Architecture:
        """Returns the architecture that weights of operations stand for."""
        return self.architecture(self.choose_ops(op_weights))

    @abc.abstractmethod
    def op_macs(self) -> NDArray[np.int64]:
        """Counts the macs of each operation in a derived network, of shape ``alphas_shape``.

        Summed over all cells of a kind, with all channels, for one image.
        """

    def _scalars(self, op_weights: Tensor) -> list[list[list[Tensor | None]]]:
        """The weights one by one, by cell, edge and operation; None where masked out.

        Taken apart once for all cells of the network, so that the backward pass puts their
        gradients together once.
        """
        if op_weights.shape != self.alphas_shape:
            raise ValueError(
                f"op_weights must be {self.alphas_shape}, got {tuple(op_weights.shape)}."
            )
        weights = [
            weight if is_there else None
            for weight, is_there in zip(
                op_weights.flatten().unbind(), self.op_mask.flatten().tolist(), strict=True
            )
        ]
        num_edges, num_ops = len(self.edges), len(self.ops)
        rows = [weights[i : i + num_ops] for i in range(0, len(weights), num_ops)]
        return [rows[i : i + num_edges] for i in range(0, len(rows), num_edges)]


class FixedMixture(nn.Module):
    """A relaxed network with the weights of its operations given, as a network of images alone.

    Args:
        network: The relaxed network, shared and not copied.
        op_weights: Weights of the operations, of shape ``alphas_shape``.
    """

    def __init__(self, network: RelaxedNetwork, op_weights: Tensor) -> None:
        super().__init__()
        self.network, self._op_weights = network, op_weights

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        return cast(Tensor, self.network(x, self._op_weights))


class State:
    """A state of a relaxed cell, and what the edges leaving it read, made when it is needed.

    Args:
        value: Value of the state, (N, C, H, W).
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``.
        stride: Stride of the operations that read the state.
    """

    def __init__(self, value: Tensor, partial_channels: int, stride: int = 1) -> None:
        width = value.shape[1] // partial_channels
        #: The channels that go through operations, and the others.
        self.x, self._rest = value[:, :width], value[:, width:]
        self._stride = stride

    @property
    def shrunk(self) -> Tensor:
        """The channels that go through operations, with the shape of what operations give."""
        return self.x[:, :, :: self._stride, :: self._stride]

    @cached_property
    def relu(self) -> Tensor:
        """ReLU of the channels that go through operations."""
        return F.relu(self.x)

    @cached_property
    def passed(self) -> Tensor:
        """The channels that pass by; of stride 2 the largest of four pixels, as PC-DARTS has it."""
        if self._stride == 1:
            return self._rest
        return F.max_pool2d(self._rest, 2, ceil_mode=True)


AnyState = TypeVar("AnyState", bound=State)


def run_edges(
    values: Sequence[Tensor],
    edges: Sequence[tuple[int, int]],
    weights: EdgeWeights,
    partial_channels: int,
    *,
    read: Callable[[int, Tensor], AnyState],
    operate: Callable[[AnyState, int, int, Tensor], Tensor | None],
) -> list[Tensor]:
    """Adds up the edges of a cell, state by state.

    Args:
        values: The inputs of the cell, (N, C, H, W).
        edges: Pairs (source, target) of states.
        weights: Weights of the operations of each edge.
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``.
        read: Makes a state of its number and value.
        operate: Computes the result of an operation times its weight, from a state, the numbers of
            the edge and the operation, and the weight; returns None for no result.

    Returns:
        All states, the inputs among them, (N, C, H, W).
    """
    found = list(values)
    states: list[AnyState] = []
    for target in range(len(values), 1 + max(end for _, end in edges)):
        states += [read(i, found[i]) for i in range(len(states), len(found))]
        # summed as they come, so that no more than one of them is held
        mixed: Tensor | None = None  # (N, C / partial_channels, H, W)
        passed: Tensor | None = None  # (N, the rest of C, H, W)
        for edge, (source, end) in enumerate(edges):
            if end != target:
                continue
            for op, weight in enumerate(weights[edge]):
                if weight is not None:
                    mixed = _plus(mixed, operate(states[source], edge, op, weight))
            if partial_channels > 1:
                passed = _plus(passed, states[source].passed)
        value = torch.zeros_like(states[0].shrunk) if mixed is None else mixed
        if passed is not None:
            value = torch.channel_shuffle(torch.cat([value, passed], dim=1), partial_channels)
        found.append(value)
    return found


def _plus(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    """The sum, where None is an exact zero."""
    if total is None or term is None:
        return term if total is None else total
    return total + term
