"""DARTS cells with every operation of every edge at once, for differentiable searches.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; and see
``supernets.networks.relaxed``.

Differs from DARTS' search network:

1. The operations that read a state share one ReLU of it, and its pools with their BatchNorm; the
   weight of an operation that ends with BatchNorm is its scale. The values are the same.
2. See ``supernets.networks.ops`` for images of odd sides.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.nasnet import NASNetSupernet, edge_name
from supernets.networks.nasnet_subnet import Cell, CellShape, Skeleton, stride_of
from supernets.networks.ops import DILATED, SEPARABLE, SKIP, create_op
from supernets.networks.relaxed import EdgeWeights, RelaxedNetwork, State, run_edges
from supernets.spaces import Architecture, NASNetSpace
from supernets.spaces.nasnet import CELLS, NUM_INPUTS, NUM_STATES, OPS

NONE = "none"
FREE = "max_pool_3x3"  # costs nothing
#: Pairs (source, target) of states, in the order of the edges of alphas.
EDGES = tuple(
    (source, target) for target in range(NUM_INPUTS, NUM_STATES) for source in range(target)
)


class RelaxedNASNet(RelaxedNetwork):
    """All DARTS genotypes as one mixture; ``none`` takes part in it and is never derived.

    Args:
        distinct_inputs: Whether the space is ``"darts"`` instead of ``"nasnet"``; derived genotypes
            are in both.
        op_mask: Which operations there are, as for ``RelaxedNetwork``.
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``; has to divide ``channels``.
        **settings: Arguments of ``NASNetSupernet``; there is no auxiliary head.

    Raises:
        ValueError: As ``NASNetSupernet``; or if the channels cannot be parted, or ``op_mask`` is of
            another shape.
    """

    cells = CELLS
    edges = tuple(edge_name(source, target) for source, target in EDGES)
    ops = (*OPS, NONE)
    space: NASNetSpace

    def __init__(
        self,
        *,
        distinct_inputs: bool = True,
        op_mask: NDArray[np.bool_] | None = None,
        partial_channels: int = 1,
        **settings: Any,
    ) -> None:
        with torch.device("meta"):  # its weights are not needed
            supernet = NASNetSupernet(distinct_inputs=distinct_inputs, **settings)
        super().__init__(supernet, op_mask, partial_channels)
        self.skeleton = Skeleton(
            lambda shape: RelaxedCell(
                shape, self.op_mask[CELLS.index(shape.kind)], partial_channels=partial_channels
            ),
            **{**supernet.settings, "auxiliary": False},
        )

    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        weights = dict(zip(CELLS, self._scalars(op_weights), strict=True))

        def run_cell(cell: Cell, s0: Tensor, s1: Tensor) -> Tensor:
            return cast(Tensor, cell(s0, s1, weights[cell.kind]))

        logits, _ = self.skeleton(x, run_cell, dropout=0.0)
        return cast(Tensor, logits)

    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Keeps the two edges of each node with the heaviest operations, and never ``none``."""
        candidates = np.where(self.op_mask, op_weights, -np.inf)[..., : len(OPS)]
        chosen = np.full(self.alphas_shape[:2], -1, np.int64)
        for cell, weights in enumerate(candidates):
            heaviest = weights.max(axis=1)  # (num_edges,)
            for target in range(NUM_INPUTS, NUM_STATES):
                incoming = [i for i, edge in enumerate(EDGES) if edge[1] == target]
                for edge in sorted(incoming, key=lambda i: -heaviest[i])[:2]:  # equals: the first
                    chosen[cell, edge] = weights[edge].argmax()
        return chosen

    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """Returns the genotype of operations ``chosen``, (2, 14), of which two enter each node."""
        concat = f"range({NUM_INPUTS}, {NUM_STATES})"
        parts = []
        for cell, ops in zip(CELLS, chosen.tolist(), strict=True):
            pairs = [
                (OPS[op], source)
                for (source, _), op in zip(EDGES, ops, strict=True)  # in the order of the targets
                if op >= 0
            ]
            parts.append(f"{cell}={pairs}, {cell}_concat={concat}")
        return self.space.parse(f"Genotype({', '.join(parts)})")

    def op_macs(self) -> NDArray[np.int64]:
        """Counts the macs of an operation in all cells of a kind.

        A derived cell has eight of the fourteen edges, so that costs of the mixture are higher.
        """
        free = np.full(self.alphas_shape[:2], -1, np.int64)
        free[:, [source < NUM_INPUTS for source, _ in EDGES]] = OPS.index(FREE)
        archs = [self.architecture(free)]
        for cell in range(len(CELLS)):
            for edge, (source, target) in enumerate(EDGES):
                for op in range(len(OPS)):
                    chosen = free.copy()
                    # in place of the edge that leaves the same input, or the first one
                    chosen[cell, EDGES.index((source if source < NUM_INPUTS else 0, target))] = -1
                    chosen[cell, edge] = op
                    archs.append(self.architecture(chosen))
        _, macs = self.supernet.count(self.space.choices_of(archs))
        table = np.zeros(self.alphas_shape, np.int64)
        table[..., : len(OPS)] = (macs[1:] - macs[0]).reshape(len(CELLS), len(EDGES), len(OPS))
        return table


class RelaxedCell(Cell):
    """A cell whose edges are weighted sums of operations.

    Args:
        shape: Position of the cell in the network, and its widths.
        op_mask: Which operations there are, bool (num_edges, num_ops).
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``.
    """

    def __init__(
        self, shape: CellShape, op_mask: NDArray[np.bool_], *, partial_channels: int
    ) -> None:
        super().__init__(shape, affine=False)
        self.partial_channels = partial_channels
        width = shape.channels // partial_channels
        self.edges = nn.ModuleDict(
            {
                edge_name(source, target): nn.ModuleDict(
                    {
                        op: create_op(op, width, stride_of(shape.kind, source), affine=False)
                        for op, is_there in zip(OPS, edge_mask, strict=False)
                        if is_there
                    }
                )
                for (source, target), edge_mask in zip(EDGES, op_mask, strict=True)
            }
        )

    def forward(self, s0: Tensor, s1: Tensor, weights: EdgeWeights) -> Tensor:
        """Computes the concatenated nodes (N, 4 * channels, H', W')."""
        states = run_edges(
            self.inputs(s0, s1),
            EDGES,
            weights,
            self.partial_channels,
            read=lambda number, value: _Input(
                value, self.partial_channels, stride_of(self.kind, number)
            ),
            operate=self._operate,
        )
        return torch.cat(states[NUM_INPUTS:], dim=1)

    def _operate(self, source: _Input, edge: int, op: int, weight: Tensor) -> Tensor | None:
        if op == len(OPS):  # none
            return None
        name = OPS[op]
        module = cast(nn.ModuleDict, self.edges[edge_name(*EDGES[edge])])[name]
        if name in SEPARABLE or name in DILATED:
            _, *layers, bn = cast(nn.Sequential, module)  # begins with ReLU
            x = source.relu
            for layer in layers:
                x = layer(x)
            return cast(BatchNorm2d, bn).scaled(x, weight)
        if name == SKIP:
            return cast(Tensor, module(source.x)) * weight
        return source.pooled(name, module) * weight


class _Input(State):
    @cached_property
    def _pools(self) -> dict[str, Tensor]:
        return {}

    def pooled(self, op: str, module: nn.Module) -> Tensor:
        """What a pool gives, normalised by the statistics of the batch, in eval mode too."""
        if op not in self._pools:
            self._pools[op] = F.batch_norm(module(self.x), None, None, training=True)
        return self._pools[op]
