"""NAS-Bench-201 with every operation of every edge at once, for differentiable searches.

Papers: NAS-Bench-201, https://arxiv.org/abs/2001.00326; and see ``supernets.relaxed``.

Differs from the benchmark's own search networks:

1. Convolutions never have a bias (theirs do where BatchNorm is not affine).
2. The weight of a convolution is the scale of its BatchNorm, and the edges leaving a node share
   one ReLU and one average pool of it; the values are the same.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.nasbench201 import (
    BN_POLICIES,
    KERNELS,
    BNMode,
    BNSettings,
    ConvBN,
    NASBench201Supernet,
    Skeleton,
)
from supernets.relaxed import EdgeWeights, Node, RelaxedNetwork, check_partial_channels
from supernets.spaces import Architecture, NASBench201Space
from supernets.spaces.nasbench201 import AVG_POOL, EDGES, NUM_NODES, OPS, SKIP


class RelaxedNASBench201(RelaxedNetwork):
    """The 15,625 cells as one mixture.

    With one partial channel and all operations alive its weights have the names, shapes and meaning
    of those of ``NASBench201Supernet``.

    Args:
        num_classes: Number of logits.
        channels: Width of the first stage, C.
        cells_per_stage: Cells per stage, N.
        input_size: Images as (channels, height, width).
        bn_mode: BatchNorm policy of ``NASBench201Supernet``; cells must not be affine.
        alive: As ``RelaxedNetwork``.
        partial_channels: As ``RelaxedNetwork``; has to divide ``channels``.

    Raises:
        ValueError: As ``NASBench201Supernet``; or if cells are affine, the channels cannot be
            parted, or ``alive`` is of another shape.
    """

    cells = ("cell",)
    edges = tuple(f"{target}<-{source}" for source, target in EDGES)
    ops = OPS

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 16,
        cells_per_stage: int = 5,
        input_size: tuple[int, int, int] = (3, 32, 32),
        bn_mode: BNMode = "ref",
        alive: NDArray[np.bool_] | None = None,
        partial_channels: int = 1,
    ) -> None:
        super().__init__(alive, partial_channels)
        check_partial_channels(partial_channels, channels)
        self.settings: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "cells_per_stage": cells_per_stage,
            "input_size": (input_size[0], input_size[1], input_size[2]),
            "bn_mode": bn_mode,
        }
        with torch.device("meta"):  # checks the settings, counts costs
            self._supernet = [NASBench201Supernet(**self.settings)]  # a list: not a submodule
        policy = BN_POLICIES[bn_mode]
        if policy.cell.affine:
            raise ValueError(
                f"Cells whose BatchNorm is affine, as with bn_mode {bn_mode!r}, can scale what "
                "their operations are weighted with; choose another bn_mode."
            )
        self.space = NASBench201Space()
        self.num_classes = num_classes
        self.input_size = self.settings["input_size"]
        self.skeleton = Skeleton(
            lambda width: RelaxedCell(width, self.alive[0], policy.cell, partial_channels),
            num_classes=num_classes,
            channels=channels,
            cells_per_stage=cells_per_stage,
            in_channels=input_size[0],
            bn_policy=policy,
        )

    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, num_classes) logits."""
        (weights,) = self._scalars(op_weights)
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, weights)))

    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """The heaviest operation of every edge, ``none`` as any other: (1, 6)."""
        chosen: NDArray[np.int64] = np.where(self.alive, op_weights, -np.inf).argmax(axis=2)
        return chosen

    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """The cell of operations (1, 6)."""
        return Architecture(self.space.name, tuple(chosen[0].tolist()))

    def op_macs(self) -> NDArray[np.int64]:
        """Of a convolution, in all cells; the other operations are free."""
        choices = np.zeros((1 + self.alive.size, len(EDGES)), np.int64)  # the first has no cells
        rows = choices[1:].reshape(len(EDGES), len(OPS), len(EDGES))
        for edge in range(len(EDGES)):
            rows[edge, :, edge] = np.arange(len(OPS))
        _, macs = self._supernet[0].count(choices)
        table: NDArray[np.int64] = (macs[1:] - macs[0]).reshape(self.alphas_shape)
        return table


class RelaxedCell(nn.Module):
    """A cell whose edges are weighted sums of operations.

    Args:
        channels: Width of every node.
        alive: Which operations there are, bool (num_edges, num_ops).
        bn: BatchNorm settings, not affine.
        partial_channels: As ``RelaxedNetwork``.
    """

    def __init__(
        self, channels: int, alive: NDArray[np.bool_], bn: BNSettings, partial_channels: int
    ) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        self.width = channels // partial_channels
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(op): ConvBN(self.width, self.width, kernel_size, bn)
                    for op, kernel_size in KERNELS.items()
                    if edge_alive[op]
                }
            )
            for edge_alive in alive
        )

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        states = [x]
        inputs: list[_Input] = []
        for target in range(1, NUM_NODES):
            inputs.append(_Input(states[-1][:, : self.width]))
            node = Node(self.partial_channels)
            for (source, end), edge, edge_weights in zip(EDGES, self.edges, weights, strict=True):
                if end != target:
                    continue
                for op, weight in enumerate(edge_weights):
                    if weight is not None:
                        self._add(node, op, weight, inputs[source], cast(nn.ModuleDict, edge))
                if self.partial_channels > 1:
                    node.add_passed(states[source][:, self.width :])
            states.append(node.value(inputs[0].x))
        return states[-1]

    def _add(
        self, node: Node, op: int, weight: Tensor, source: _Input, edge: nn.ModuleDict
    ) -> None:
        if op in KERNELS:
            conv_bn = cast(ConvBN, edge[str(op)])
            node.add(conv_bn.bn.scaled(conv_bn.conv(source.relu), weight))
        elif op == SKIP:
            node.add(source.x * weight)
        elif op == AVG_POOL:
            node.add(source.pool * weight)


class _Input:
    """What the edges leaving a node read of it, each made once and when it is needed."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    @cached_property
    def relu(self) -> Tensor:
        return F.relu(self.x)

    @cached_property
    def pool(self) -> Tensor:
        return F.avg_pool2d(self.x, 3, 1, 1, count_include_pad=False)
