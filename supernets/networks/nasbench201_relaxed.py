"""NAS-Bench-201 with every operation of every edge at once, for differentiable searches.

Papers: NAS-Bench-201, https://arxiv.org/abs/2001.00326; and see ``supernets.networks.relaxed``.

Differs from the benchmark's own search networks:

1. Convolutions never have a bias (theirs do where BatchNorm is not affine).
2. The weight of a convolution is the scale of its BatchNorm, and the edges leaving a node share
   one ReLU and one average pool of it; the values are the same.

Expected MACs, of ``--macs-penalty`` and the log, count every edge as the benchmark does
(``Supernet.benchmark_count``), where those of an architecture are of what its output depends on: in
a mixture every edge is alive, and the penalty is linear in the weights. Where an architecture
leaves edges unreached, its own MACs are fewer.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.kernels.pooling import average_pool
from supernets.networks.names import BNMode
from supernets.networks.nasbench201 import (
    BN_POLICIES,
    BNSettings,
    ConvBN,
    NASBench201Supernet,
    Skeleton,
)
from supernets.networks.nasbench201_counts import KERNELS
from supernets.networks.relaxed import EdgeWeights, RelaxedNetwork, State, run_edges
from supernets.spaces import Architecture
from supernets.spaces.nasbench201 import AVG_POOL, EDGES, OPS, SKIP


class RelaxedNASBench201(RelaxedNetwork):
    """The 15,625 cells as one mixture.

    With one partial channel and all operations there its weights have the names, shapes and meaning
    of those of ``NASBench201Supernet``.

    Args:
        op_mask: Which operations there are, as for ``RelaxedNetwork``.
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``; has to divide ``channels``.
        **settings: Arguments of ``NASBench201Supernet``; its ``bn_mode`` must leave cells without
            an affine BatchNorm.

    Raises:
        ValueError: As ``NASBench201Supernet``; or if cells are affine, the channels cannot be
            parted, or ``op_mask`` is of another shape.
    """

    cells = ("cell",)
    edges = tuple(f"{target}<-{source}" for source, target in EDGES)
    ops = OPS

    def __init__(
        self,
        *,
        op_mask: NDArray[np.bool_] | None = None,
        partial_channels: int = 1,
        **settings: Any,
    ) -> None:
        with torch.device("meta"):  # its weights are not needed
            supernet = NASBench201Supernet(**settings)
        super().__init__(supernet, op_mask, partial_channels)
        bn_mode: BNMode = supernet.settings["bn_mode"]
        policy = BN_POLICIES[bn_mode]
        if policy.cell.affine:
            raise ValueError(
                f"Cells whose BatchNorm is affine, as with bn_mode {bn_mode!r}, can scale what "
                "their operations are weighted with; choose another bn_mode."
            )
        self.skeleton = Skeleton(
            lambda width: RelaxedCell(width, self.op_mask[0], policy.cell, partial_channels),
            num_classes=supernet.num_classes,
            channels=supernet.settings["channels"],
            cells_per_stage=supernet.settings["cells_per_stage"],
            in_channels=supernet.input_size[0],
            bn_policy=policy,
        )

    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        (weights,) = self._scalars(op_weights)
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, weights)))

    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the heaviest operation of every edge, ``none`` as any other: (1, 6)."""
        chosen: NDArray[np.int64] = np.where(self.op_mask, op_weights, -np.inf).argmax(axis=2)
        return chosen

    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """Returns the architecture whose cell has the operations ``chosen``, (1, 6)."""
        return Architecture(self.space.name, tuple(chosen[0].tolist()))

    def op_macs(self) -> NDArray[np.int64]:
        """Counts each operation's macs in all cells, reached or not; only convolutions have any."""
        choices = np.zeros((1 + self.op_mask.size, len(EDGES)), np.int64)  # the first has no cells
        rows = choices[1:].reshape(len(EDGES), len(OPS), len(EDGES))
        for edge in range(len(EDGES)):
            rows[edge, :, edge] = np.arange(len(OPS))
        _, macs = self.supernet.benchmark_count(choices)
        table: NDArray[np.int64] = (macs[1:] - macs[0]).reshape(self.alphas_shape)
        return table


class RelaxedCell(nn.Module):
    """A cell whose edges are weighted sums of operations.

    Args:
        channels: Width of every node.
        op_mask: Which operations there are, bool (num_edges, num_ops).
        bn: BatchNorm settings, not affine.
        partial_channels: One over the share of channels that operations see, as for
            ``RelaxedNetwork``.
    """

    def __init__(
        self, channels: int, op_mask: NDArray[np.bool_], bn: BNSettings, partial_channels: int
    ) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        width = channels // partial_channels
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(op): ConvBN(width, width, kernel_size, bn)
                    for op, kernel_size in KERNELS.items()
                    if edge_mask[op]
                }
            )
            for edge_mask in op_mask
        )

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        """Maps (N, channels, H, W) to the same shape."""
        *_, output = run_edges(
            [x],
            EDGES,
            weights,
            self.partial_channels,
            read=lambda _, value: _Node(value, self.partial_channels),
            operate=self._operate,
        )
        return output

    def _operate(self, source: _Node, edge: int, op: int, weight: Tensor) -> Tensor | None:
        if op in KERNELS:
            conv_bn = cast(ConvBN, cast(nn.ModuleDict, self.edges[edge])[str(op)])
            return conv_bn.bn.scaled(conv_bn.conv(source.relu), weight)
        if op == SKIP:
            return source.x * weight
        return source.pool * weight if op == AVG_POOL else None


class _Node(State):
    @cached_property
    def pool(self) -> Tensor:
        return average_pool(self.x, 3, 1, 1)
