"""NAS-Bench-201 as a supernet: 15 cells that share one genotype, five operations on every edge.

Paper: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search,
https://arxiv.org/abs/2001.00326

Differs from the benchmark's own search networks:

1. Convolutions never have a bias (theirs do where BatchNorm is not affine).
2. Only live edges exist and are computed, those on a path from the input to the output that has no
   ``none``. Edges that the output never reads do not change the logits. A convolution of a node
   that nothing reaches sees only zeros, and its BatchNorm makes zeros of them; where BatchNorm is
   affine, the benchmark's networks learn a constant there (its bias), which ours do not have.
3. The edges leaving a node share one ReLU and one average pool of it; the values are the same.
4. ``count`` counts what is computed; ``benchmark_count`` counts every edge, as the benchmark does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.kernels.batchnorm import Activation
from supernets.kernels.pooling import average_pool
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import BatchNorm2d, normalised
from supernets.networks.names import BN_MODES, BNMode
from supernets.networks.nasbench201_counts import KERNELS, NUM_STAGES, NASBench201Counts
from supernets.networks.settings import NASBench201Settings
from supernets.spaces import Architecture, NASBench201Space
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

    def forward(self, x: Tensor, *, activation: Activation | None = None) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride).

        Args:
            x: Maps.
            activation: Computed of the result; None for none.
        """
        return normalised(self.bn, self.conv(x), activation)


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
        """Gets the convolutions of all edges, those it lacks with undefined weights as ``like``."""
        for ops, op in zip(self.edges, choices, strict=True):
            ops = cast(nn.ModuleDict, ops)
            if op in KERNELS and str(op) not in ops:
                with torch.device("meta"):
                    missing = ConvBN(self._channels, self._channels, KERNELS[op], bn)
                missing.to_empty(device=like.device).train(self.training)
                ops[str(op)] = missing.to(like.dtype)

    def forward(self, x: Tensor, choices: tuple[int, ...], edges: tuple[int, ...]) -> Tensor:
        """Maps (N, channels, H, W) to the same shape, along the operations of ``choices``.

        Args:
            x: Maps.
            choices: The operation of each edge.
            edges: Those that are computed, ordered by target; the live ones, or also others that
                see only zeros.
        """
        nodes: list[Tensor | None] = [x] + [None] * (NUM_NODES - 1)  # None is an exact zero
        relus: dict[int, Tensor] = {}
        pools: dict[int, Tensor] = {}
        for i in edges:
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
                    pools[source] = average_pool(node, 3, 1, 1)
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
        out = self.conv_b(self.conv_a(F.relu(x), activation=F.relu))
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
        x = normalised(self.last_bn, x, F.relu).mean(dim=(2, 3))  # (N, 4C)
        if dropout > 0:
            x = F.dropout(x, dropout, self.training)
        return cast(Tensor, self.classifier(x))


def _halved(x: Tensor) -> Tensor:
    """Averages (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2)).

    Nothing is padded, so ``count_include_pad`` changes nothing here; without it some runtimes
    divide the windows at the border of an odd map by cells that lie outside of it.
    """
    return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)


class NASBench201Subnet(nn.Module):
    """The stand-alone network of one cell; a plain module with its live operations.

    Fresh weights are those of the benchmark's whole network from the same generator.

    Args:
        arch: The cell.
        num_classes: Number of logits.
        channels: Width of the first stage, C (benchmark: 16).
        cells_per_stage: Cells per stage, N (benchmark: 5).
        input_size: Images as (channels, height, width).
        bn_mode: BatchNorm policy; ``"affine"`` is the benchmark's own for training from scratch.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        num_classes: int,
        channels: int = NASBench201Settings.channels,
        cells_per_stage: int = NASBench201Settings.cells_per_stage,
        input_size: tuple[int, int, int] = (3, 32, 32),
        bn_mode: BNMode = "affine",
    ) -> None:
        super().__init__()
        NASBench201Space().validate(arch)
        self.choices = arch.choices
        self._computed = live_edges(arch.choices)
        self._cell_bn = BN_POLICIES[bn_mode].cell
        policy = BN_POLICIES[bn_mode]
        ops = [[op] if op in KERNELS else [] for op in arch.choices]
        self.skeleton = Skeleton(
            lambda width: Cell(width, ops, policy.cell),
            num_classes=num_classes,
            channels=channels,
            cells_per_stage=cells_per_stage,
            in_channels=input_size[0],
            bn_policy=policy,
        )
        for cell in self._cells():
            cell.keep_only(self._computed)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        choices, edges = self.choices, self._computed
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, choices, edges)))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads weights as ``nn.Module`` does, also of whole networks: see ``make_room``."""
        self.make_room(state_dict)
        return super().load_state_dict(state_dict, strict, assign)

    def make_room(self, state_dict: Mapping[str, Any]) -> None:
        """Gets the convolutions that are not live where ``state_dict`` has weights for them.

        Earlier versions trained and wrote networks of all the edges of a cell. What BatchNorm has
        learned to make of zeros there is a part of what they compute, from then on here too.
        """
        dead = set(range(len(EDGES))) - set(live_edges(self.choices))
        names = {f".edges.{i}.{self.choices[i]}." for i in dead if self.choices[i] in KERNELS}
        if any(name in weight for weight in state_dict for name in names):
            self._computed = useful_edges(self.choices)
            for cell in self._cells():
                cell.hold_all(self.choices, self._cell_bn, self.skeleton.classifier.weight)

    def _cells(self) -> list[Cell]:
        return [block for block in self.skeleton.blocks if isinstance(block, Cell)]


class NASBench201Supernet(Supernet):
    """All 15,625 cells in one network.

    BatchNorm policies (``bn_mode``); "tracked" BatchNorm keeps running statistics for eval mode,
    the others use the statistics of the batch they are given, so that eval results depend on it:

    - ``"ref"``, the default: cells and last BatchNorm neither affine nor tracked, stem and
      reductions affine and tracked (the TSE authors' search networks).
    - ``"batch"``: as ``"ref"`` and nothing is tracked.
    - ``"drnas"``: cells tracked and not affine; the rest affine and tracked.
    - ``"affine"``: everything affine and tracked (the benchmark's own training).

    Args:
        num_classes: Number of logits.
        channels: Width of the first stage, C. At least 1.
        cells_per_stage: Cells per stage, N. At least 1.
        input_size: Images as (channels, height, width); sides of at least 4.
        bn_mode: BatchNorm policy.

    Raises:
        ValueError: If a number is out of range or ``bn_mode`` is unknown.
    """

    has_benchmark_count = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = NASBench201Settings.channels,
        cells_per_stage: int = NASBench201Settings.cells_per_stage,
        input_size: tuple[int, int, int] = (3, 32, 32),
        bn_mode: BNMode = NASBench201Settings.bn_mode,
    ) -> None:
        super().__init__()
        for name, value, minimum in (
            ("num_classes", num_classes, 2),
            ("channels", channels, 1),
            ("cells_per_stage", cells_per_stage, 1),
            ("the channels of input_size", input_size[0], 1),
            ("the height of input_size", input_size[1], 4),
            ("the width of input_size", input_size[2], 4),
        ):
            if value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}.")
        if bn_mode not in BN_POLICIES:
            raise ValueError(f"Unknown bn_mode {bn_mode!r}; choose from {', '.join(BN_MODES)}.")
        self.space = NASBench201Space()
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        self._bn_mode: BNMode = bn_mode
        self._network_settings: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "cells_per_stage": cells_per_stage,
            "input_size": self.input_size,
        }
        self.settings = {**self._network_settings, "bn_mode": bn_mode}
        self._counts = NASBench201Counts(**self._network_settings)
        policy = BN_POLICIES[bn_mode]
        self.skeleton = Skeleton(
            lambda width: Cell(width, [tuple(KERNELS)] * len(EDGES), policy.cell),
            num_classes=num_classes,
            channels=channels,
            cells_per_stage=cells_per_stage,
            in_channels=input_size[0],
            bn_policy=policy,
        )

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``."""
        assert drop_path == 0
        self.space.validate(arch)
        choices, edges = arch.choices, live_edges(arch.choices)
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, choices, edges), dropout))

    def build_subnet(self, arch: Architecture) -> NASBench201Subnet:
        """Builds the benchmark's network of ``arch`` with fresh weights and affine BatchNorm."""
        return NASBench201Subnet(arch, **self._network_settings)

    def extract(self, arch: Architecture) -> NASBench201Subnet:
        """Extracts the subnet of ``arch`` with inherited weights, of the same BatchNorm policy."""
        with torch.device("meta"):  # no weights are drawn only to be overwritten
            subnet = NASBench201Subnet(arch, **self._network_settings, bn_mode=self._bn_mode)
        own = self.state_dict()
        subnet.load_state_dict(
            {name: own[name].detach().clone() for name in subnet.state_dict()}, assign=True
        )
        parameters = dict(self.named_parameters())
        for name, parameter in subnet.named_parameters():
            parameter.requires_grad_(parameters[name].requires_grad)
        return subnet.train(self.training)

    def to_standalone(self, subnet: nn.Module) -> NASBench201Subnet:
        """Builds the network of ``build_subnet`` with the weights of an extracted ``subnet``."""
        assert isinstance(subnet, NASBench201Subnet)
        arch = Architecture(self.space.name, subnet.choices)
        standalone = self.build_subnet(arch).to(next(subnet.parameters()).device)
        # what the subnet's BatchNorm lacks stays as built: weight 1, bias 0, fresh statistics
        standalone.load_state_dict(subnet.state_dict(), strict=False)
        return standalone.train(subnet.training)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts as ``NASBench201Counts.count``, with affine BatchNorm whatever ``bn_mode`` is."""
        return self._counts.count(choices)

    def benchmark_count(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts as ``count`` does, but every edge of the cells, as the benchmark's tables do."""
        return self._counts.benchmark_count(choices)
