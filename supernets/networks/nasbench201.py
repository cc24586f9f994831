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

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.names import BN_MODES, BNMode
from supernets.networks.nasbench201_cells import BN_POLICIES, Cell, Skeleton
from supernets.networks.nasbench201_counts import KERNELS, NASBench201Counts
from supernets.networks.settings import NASBench201Settings
from supernets.spaces import Architecture, NASBench201Space
from supernets.spaces.nasbench201 import (
    EDGES,
    live_edges,
)


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
            cell.keep_only(live_edges(self.choices))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, self.choices)))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Loads weights as ``nn.Module`` does, also of whole networks: see ``make_room``."""
        self.make_room(state_dict)
        return super().load_state_dict(state_dict, strict, assign)

    def make_room(self, state_dict: Mapping[str, Any]) -> None:
        """Gets the convolutions that are not live where ``state_dict`` has weights for them.

        Earlier versions trained and wrote networks of all the edges of a cell. What BatchNorm has
        learned to make of zeros there is a part of what they compute.
        """
        dead = set(range(len(EDGES))) - set(live_edges(self.choices))
        names = {f".edges.{i}.{self.choices[i]}." for i in dead if self.choices[i] in KERNELS}
        if any(name in weight for weight in state_dict for name in names):
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
        return cast(Tensor, self.skeleton(x, lambda cell, x: cell(x, arch.choices), dropout))

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
