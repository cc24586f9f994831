"""NASNet and DARTS cells as a supernet: one path through two cells, repeated along the network.

Papers: Single Path One-Shot Neural Architecture Search with Uniform Sampling,
https://arxiv.org/abs/1904.00420; DARTS: Differentiable Architecture Search (the network),
https://arxiv.org/abs/1806.09055

Differs from DARTS' search network:

1. One operation runs on each chosen edge, instead of all on every edge.
2. See ``supernets.networks.nasnet_subnet``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.names import STEMS, Stem
from supernets.networks.nasnet_subnet import (
    AUXILIARY_POOL,
    AUXILIARY_STRIDES,
    CIFAR_STEM_MULTIPLIER,
    TOTAL_STRIDES,
    Cell,
    CellShape,
    NASNetSubnet,
    Skeleton,
    cell_shapes,
    default_stem,
    stride_of,
)
from supernets.networks.ops import DILATED, SEPARABLE, SKIP, create_op
from supernets.networks.settings import NASNetSettings
from supernets.spaces import Architecture, Edge, NASNetSpace
from supernets.spaces.nasnet import CELLS, NUM_INPUTS, NUM_STATES, OPS


class NASNetSupernet(Supernet):
    """All genotypes of a space of NASNet cells in one network.

    BatchNorm in cells keeps running statistics, of the mixture of paths that trained it, and has no
    weights and biases (SPOS).

    Args:
        num_classes: Number of logits. At least 2.
        distinct_inputs: Whether the space is ``"darts"`` instead of ``"nasnet"``.
        channels: Width of the first cells, C. At least 2.
        layers: Number of cells. At least 3.
        input_size: Images as (channels, height, width).
        stem: ``"cifar"`` is a convolution of stride 1, ``"imagenet"`` three of stride 2; None for
            the latter with images of 96 pixels and more.
        auxiliary: Whether there is an auxiliary head, for training.

    Raises:
        ValueError: If a number is out of range, ``stem`` is unknown, or the network reduces an
            image to less than one pixel, or less than the auxiliary head needs.
    """

    has_drop_path = True
    needs_recalibration = True
    space: NASNetSpace

    def __init__(
        self,
        *,
        num_classes: int,
        distinct_inputs: bool = False,
        channels: int = NASNetSettings.channels,
        layers: int = NASNetSettings.layers,
        input_size: tuple[int, int, int] = (3, 32, 32),
        stem: Stem | None = None,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.space = NASNetSpace(distinct_inputs=distinct_inputs)
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        self.has_auxiliary_head = auxiliary
        stem = default_stem(input_size) if stem is None else stem
        self._network_settings: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "layers": layers,
            "input_size": self.input_size,
            "stem": stem,
        }
        _check(self._network_settings, auxiliary=auxiliary)
        self.settings = {**self._network_settings, "auxiliary": auxiliary}
        self.skeleton = Skeleton(
            lambda shape: ChoiceCell(shape, affine=False),
            **self._network_settings,
            auxiliary=auxiliary,
        )

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``.

        ``arch`` need not be canonical: other ways to write it are paths through other weights.
        """
        logits, _ = self._run(x, arch, dropout, drop_path, with_auxiliary=False)
        return logits

    def forward_with_auxiliary(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Computes the logits of ``forward`` and of the auxiliary head, both (N, num_classes).

        Raises:
            ValueError: If there is no such head.
        """
        if not self.has_auxiliary_head:
            return super().forward_with_auxiliary(x, arch)  # raises
        logits, auxiliary_logits = self._run(x, arch, dropout, drop_path, with_auxiliary=True)
        assert auxiliary_logits is not None
        return logits, auxiliary_logits

    def _run(
        self,
        x: Tensor,
        arch: Architecture,
        dropout: float,
        drop_path: float,
        *,
        with_auxiliary: bool,
    ) -> tuple[Tensor, Tensor | None]:
        self.space.check(arch)
        edges = self.space.cells(arch)

        def run_cell(cell: Cell, s0: Tensor, s1: Tensor) -> Tensor:
            return cast(Tensor, cell(s0, s1, edges[cell.kind], drop_path))

        return cast(
            tuple[Tensor, Tensor | None],
            self.skeleton(x, run_cell, dropout=dropout, with_auxiliary=with_auxiliary),
        )

    def build_subnet(self, arch: Architecture) -> NASNetSubnet:
        """Builds DARTS' network for ``arch`` with fresh weights, without auxiliary head."""
        self.space.check(arch)
        return NASNetSubnet(arch, **self._network_settings)

    def extract(self, arch: Architecture) -> NASNetSubnet:
        """Extracts the subnet of ``arch`` with inherited weights; BatchNorm in cells is not affine.

        Two equal operations on one edge get weights of their own. Running statistics of BatchNorm
        are those of the mixture that trained the supernet: recalibrate them before use in eval
        mode.
        """
        self.space.check(arch)
        with torch.device("meta"):  # no weights are drawn only to be overwritten
            subnet = NASNetSubnet(arch, **self._network_settings, affine=False)
        edges = self.space.cells(arch)
        inherited: dict[str, Tensor] = {}

        def take(module: nn.Module, name: str) -> None:
            module.state_dict(destination=inherited, prefix=f"skeleton.{name}.", keep_vars=True)

        take(self.skeleton.stem, "stem")
        take(self.skeleton.classifier, "classifier")
        for i, cell in enumerate(cast(Iterable[ChoiceCell], self.skeleton.cells)):
            take(cell.preprocess0, f"cells.{i}.preprocess0")
            take(cell.preprocess1, f"cells.{i}.preprocess1")
            for slot, edge in enumerate(edges[cell.kind]):
                take(cell.op(edge), f"cells.{i}.ops.{slot}")
        subnet.load_state_dict(
            {name: tensor.detach().clone() for name, tensor in inherited.items()}, assign=True
        )
        for name, parameter in subnet.named_parameters():
            parameter.requires_grad_(inherited[name].requires_grad)
        return subnet.train(self.training)

    def to_standalone(self, subnet: nn.Module) -> NASNetSubnet:
        """Builds the network of ``build_subnet`` with the weights of an extracted ``subnet``."""
        assert isinstance(subnet, NASNetSubnet)
        standalone = self.build_subnet(subnet.arch).to(next(subnet.parameters()).device)
        # the weights and biases that BatchNorm lacks stay as built, 1 and 0
        standalone.load_state_dict(subnet.state_dict(), strict=False)
        return standalone.train(subnet.training)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' subnets, without auxiliary head.

        ``macs`` are the multiply-accumulates of convolutions and the classifier, without biases;
        BatchNorm, activations, pooling and sums are free.
        """
        fixed, tables = self._costs
        inputs, ops = self.space.edges(choices)  # (num_archs, cells, nodes, 2)
        is_input = (inputs < NUM_INPUTS).astype(np.int64)
        kinds = np.arange(len(CELLS))[:, None, None]
        per_edge = tables[:, kinds, is_input, ops]  # (2, num_archs, cells, nodes, 2)
        params, macs = fixed[:, None] + per_edge.sum(axis=(2, 3, 4))
        return params, macs

    @cached_property
    def _costs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Params and macs of what all networks have, (2,); and of all cells of a kind with an
        operation on one edge, by (kind, whether it reads an input of the cell, operation)."""
        stem, channels = self._network_settings["stem"], self._network_settings["channels"]
        in_channels, height, width = self.input_size
        fixed = np.zeros(2, np.int64)
        tables = np.zeros((2, len(CELLS), 2, len(OPS)), np.int64)

        def add_conv_bn(weights: int, out_channels: int) -> None:
            fixed[:] += weights + 2 * out_channels, weights * height * width

        if stem == "cifar":
            first = CIFAR_STEM_MULTIPLIER * channels
            add_conv_bn(9 * in_channels * first, first)
        else:
            half = channels // 2
            for weights, out_channels in (
                (9 * in_channels * half, half),
                (9 * half * channels, channels),
                (9 * channels * channels, channels),
            ):
                height, width = -(-height // 2), -(-width // 2)
                add_conv_bn(weights, out_channels)
        for shape in cell_shapes(channels, self._network_settings["layers"], stem):
            c = shape.channels
            for source_channels in shape.in_channels:
                add_conv_bn(source_channels * c, c)
            if shape.kind == "reduce":
                height, width = -(-height // 2), -(-width // 2)
            kind = CELLS.index(shape.kind)
            for is_input in (0, 1):
                for i, op in enumerate(OPS):
                    repeats = 2 if op in SEPARABLE else 1
                    weights = 0
                    if op in SEPARABLE or op in DILATED:
                        weights = c * (SEPARABLE | DILATED)[op] ** 2 + c * c
                    elif op == SKIP and stride_of(shape.kind, 0 if is_input else NUM_INPUTS) == 2:
                        weights = c * c
                    if weights:
                        params = repeats * (weights + 2 * c)
                        macs = repeats * weights * height * width
                        tables[:, kind, is_input, i] += params, macs
        features = (NUM_STATES - NUM_INPUTS) * c
        head = features * self.num_classes
        return fixed + np.array([head + self.num_classes, head]), tables


class ChoiceCell(Cell):
    """A cell of all architectures, which has every operation on every edge."""

    def __init__(self, shape: CellShape, *, affine: bool) -> None:
        super().__init__(shape, affine=affine)
        self.edges = nn.ModuleDict(
            {
                edge_name(source, target): nn.ModuleDict(
                    {
                        op: create_op(
                            op, shape.channels, stride_of(shape.kind, source), affine=affine
                        )
                        for op in OPS
                    }
                )
                for target in range(NUM_INPUTS, NUM_STATES)
                for source in range(target)
            }
        )

    def forward(self, s0: Tensor, s1: Tensor, edges: Sequence[Edge], rate: float) -> Tensor:
        """Computes the cell's output along ``edges``; see ``run``."""
        return self.run(s0, s1, [(self.op(edge), edge.source) for edge in edges], rate)

    def op(self, edge: Edge) -> nn.Module:
        """Returns the operation of an edge."""
        return cast(nn.ModuleDict, self.edges[edge_name(edge.source, edge.target)])[edge.op]


def edge_name(source: int, target: int) -> str:
    """Returns the name of the operations between two states in a cell's ``edges``."""
    return f"{target}<-{source}"


def _check(settings: Mapping[str, Any], *, auxiliary: bool) -> None:
    if settings["stem"] not in STEMS:
        raise ValueError(f"Unknown stem {settings['stem']!r}; choose from {', '.join(STEMS)}.")
    for name, value, minimum in (
        ("num_classes", settings["num_classes"], 2),
        ("channels", settings["channels"], 2),
        ("layers", settings["layers"], 3),
        ("the channels of input_size", settings["input_size"][0], 1),
    ):
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    stride, side = TOTAL_STRIDES[settings["stem"]], min(settings["input_size"][1:])
    if side < stride:
        raise ValueError(
            f"Images of {side} pixels are smaller than the network's total stride of {stride}; use "
            f"larger ones or another stem (now {settings['stem']})."
        )
    needed = AUXILIARY_POOL + AUXILIARY_STRIDES[settings["stem"]]  # for a pooled map of 2x2
    if auxiliary and math.ceil(side / stride) < needed:
        raise ValueError(
            f"The auxiliary head needs images of at least {(needed - 1) * stride + 1} pixels with "
            f"stem {settings['stem']}, got {side}; leave it out."
        )
