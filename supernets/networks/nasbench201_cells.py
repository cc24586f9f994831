"""Cells of NAS-Bench-201 and what stands around them, for supernets and for single networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.names import BNMode
from supernets.networks.nasbench201_counts import KERNELS, NUM_STAGES
from supernets.spaces.nasbench201 import (
    AVG_POOL,
    EDGES,
    NUM_NODES,
    SKIP,
    live_edges,
    useful_edges,
)


class BNSettings(NamedTuple):
    """How one kind of BatchNorm behaves."""

    affine: bool
    # keeps running statistics and uses them in eval mode; otherwise always batch statistics
    tracked: bool


class BNPolicy(NamedTuple):
    """BatchNorm in cells, before the classifier, and in stem and reduction blocks."""

    cell: BNSettings
    last: BNSettings
    outer: BNSettings


BN_POLICIES: dict[BNMode, BNPolicy] = {
    "ref": BNPolicy(BNSettings(False, False), BNSettings(False, False), BNSettings(True, True)),
    "batch": BNPolicy(BNSettings(False, False), BNSettings(False, False), BNSettings(True, False)),
    "drnas": BNPolicy(BNSettings(False, True), BNSettings(True, True), BNSettings(True, True)),
    "affine": BNPolicy(BNSettings(True, True), BNSettings(True, True), BNSettings(True, True)),
}


def _batchnorm(channels: int, settings: BNSettings) -> BatchNorm2d:
    return BatchNorm2d(channels, affine=settings.affine, track_running_stats=settings.tracked)


class ConvBN(nn.Module):
    """Convolution and BatchNorm; the ReLU before it is the node's, shared by its edges."""

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, bn: BNSettings, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.bn = _batchnorm(channels, bn)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        return cast(Tensor, self.bn(self.conv(x)))


class Cell(nn.Module):
    """The operations of one cell, for one architecture or for all.

    Args:
        channels: Width of every node.
        ops: Which convolutions each of the six edges holds, as operation indices.
        bn: BatchNorm settings.
    """

    def __init__(self, channels: int, ops: Sequence[Sequence[int]], bn: BNSettings) -> None:
        super().__init__()
        self._channels = channels
        self._runs = live_edges
        self.edges = nn.ModuleList(
            nn.ModuleDict({str(op): ConvBN(channels, channels, KERNELS[op], bn) for op in edge_ops})
            for edge_ops in ops
        )

    def keep_only(self, edges: Collection[int]) -> None:
        """Drops the convolutions of all other edges."""
        for i, ops in enumerate(self.edges):
            if i not in edges:
                cast(nn.ModuleDict, ops).clear()

    def hold_all(self, choices: tuple[int, ...], bn: BNSettings, like: Tensor) -> None:
        """Gets the convolutions of all edges, those it lacks with undefined weights as ``like``.

        From then on also those that see only zeros are computed.
        """
        self._runs = useful_edges
        for ops, op in zip(self.edges, choices, strict=True):
            ops = cast(nn.ModuleDict, ops)
            if op in KERNELS and str(op) not in ops:
                with torch.device("meta"):
                    missing = ConvBN(self._channels, self._channels, KERNELS[op], bn)
                missing.to_empty(device=like.device).train(self.training)
                ops[str(op)] = missing.to(like.dtype)

    def forward(self, x: Tensor, choices: tuple[int, ...]) -> Tensor:
        """Maps (N, channels, H, W) to the same shape, along the operations of ``choices``."""
        nodes: list[Tensor | None] = [x] + [None] * (NUM_NODES - 1)  # None is an exact zero
        relus: dict[int, Tensor] = {}
        pools: dict[int, Tensor] = {}
        for i in self._runs(choices):
            source, target = EDGES[i]
            op, node = choices[i], nodes[source]
            if op in KERNELS:
                if source not in relus:
                    relus[source] = torch.zeros_like(x) if node is None else F.relu(node)
                out = cast(nn.ModuleDict, self.edges[i])[str(op)](relus[source])
            elif node is None:
                continue
            elif op == AVG_POOL:
                if source not in pools:
                    pools[source] = F.avg_pool2d(node, 3, 1, 1, count_include_pad=False)
                out = pools[source]
            else:
                assert op == SKIP
                out = node
            total = nodes[target]
            nodes[target] = out if total is None else total + out
        output = nodes[-1]
        return torch.zeros_like(x) if output is None else output


class ReductionBlock(nn.Module):
    """ResNet basic block that halves the resolution and doubles the width."""

    def __init__(self, in_channels: int, channels: int, bn: BNSettings) -> None:
        super().__init__()
        self.conv_a = ConvBN(in_channels, channels, 3, bn, stride=2)
        self.conv_b = ConvBN(channels, channels, 3, bn)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, ceil(H / 2), ceil(W / 2))."""
        out = self.conv_b(F.relu(self.conv_a(F.relu(x))))
        return cast(Tensor, out + self.shortcut(_halved(x)))


class Skeleton(nn.Module):
    """Stem, three stages of cells with reductions between them, classifier.

    Args:
        make_cell: Builds a cell of a width.
        num_classes: Number of logits.
        channels: Width of the first stage, C; it doubles twice.
        cells_per_stage: Cells per stage, N.
        in_channels: Channels of the images.
        bn_policy: BatchNorm settings per place.
    """

    def __init__(
        self,
        make_cell: Callable[[int], nn.Module],
        *,
        num_classes: int,
        channels: int,
        cells_per_stage: int,
        in_channels: int,
        bn_policy: BNPolicy,
    ) -> None:
        super().__init__()
        self.stem = ConvBN(in_channels, channels, 3, bn_policy.outer)
        self.blocks = nn.ModuleList()
        for stage in range(NUM_STAGES):
            width = channels * 2**stage
            if stage > 0:
                self.blocks.append(ReductionBlock(width // 2, width, bn_policy.outer))
            self.blocks.extend(make_cell(width) for _ in range(cells_per_stage))
        self.last_bn = _batchnorm(width, bn_policy.last)
        self.classifier = nn.Linear(width, num_classes)

    def forward(
        self, x: Tensor, run_cell: Callable[[nn.Module, Tensor], Tensor], dropout: float = 0.0
    ) -> Tensor:
        """Maps images (N, in_channels, H, W) to logits (N, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x) if isinstance(block, ReductionBlock) else run_cell(block, x)
        x = F.relu(self.last_bn(x)).mean(dim=(2, 3))  # (N, 4C)
        if dropout > 0:
            x = F.dropout(x, dropout, self.training)
        return cast(Tensor, self.classifier(x))


def _halved(x: Tensor) -> Tensor:
    """Averages (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2)).

    Nothing is padded, so ``count_include_pad`` changes nothing here; without it some runtimes
    divide the windows at the border of an odd map by cells that lie outside of it.
    """
    return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
