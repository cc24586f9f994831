"""The stand-alone network of one NASNet or DARTS genotype, and what its supernet shares with it.

Paper: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055

Differs from the authors' code:

1. See ``supernets.networks.ops``.
2. A drop path rate is that of every operation of the network; DARTS' code raises it from epoch to
   epoch, which is a matter of the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath, drop_path
from torch import Tensor, nn

from supernets.kernels.library import are_on
from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.names import IMAGENET_SIDE, Stem
from supernets.networks.ops import FactorizedReduce, ReLUConvBN, ReLUs, create_op
from supernets.networks.settings import NASNetSettings
from supernets.spaces import Architecture, Edge, NASNetSpace
from supernets.spaces.nasnet import NUM_INPUTS, NUM_STATES

#: How much the stem and the two reduction cells divide the sides of an image by.
TOTAL_STRIDES: Mapping[Stem, int] = {"cifar": 4, "imagenet": 32}
CIFAR_STEM_MULTIPLIER = 3
AUXILIARY_POOL = 5
AUXILIARY_STRIDES: Mapping[Stem, int] = {"cifar": 3, "imagenet": 2}


class CellShape(NamedTuple):
    """Position of a cell in the network, and its widths."""

    kind: str  # one of CELLS
    in_channels: tuple[int, int]  # of the last cell but one, and of the last
    channels: int
    has_larger_input: bool  # whether the output of the last cell but one has twice the sides


def cell_shapes(channels: int, layers: int, stem: Stem) -> list[CellShape]:
    """Returns the cells of a network; those after a third and two thirds are reduction cells."""
    first = CIFAR_STEM_MULTIPLIER * channels if stem == "cifar" else channels
    in_channels, has_larger_input = (first, first), stem == "imagenet"
    shapes = []
    for i in range(layers):
        is_reduction = i in (layers // 3, 2 * layers // 3)
        if is_reduction:
            channels *= 2
        kind = "reduce" if is_reduction else "normal"
        shapes.append(CellShape(kind, in_channels, channels, has_larger_input))
        in_channels = in_channels[1], (NUM_STATES - NUM_INPUTS) * channels
        has_larger_input = is_reduction
    return shapes


class Cell(nn.Module):
    """What every cell has: its two inputs are brought to one shape, its nodes concatenated.

    Args:
        shape: Position of the cell in the network, and its widths.
        affine: Whether BatchNorm has weights and biases.
    """

    def __init__(self, shape: CellShape, *, affine: bool) -> None:
        super().__init__()
        self.kind = shape.kind
        bring = FactorizedReduce if shape.has_larger_input else ReLUConvBN
        self.preprocess0 = bring(shape.in_channels[0], shape.channels, affine=affine)
        self.preprocess1 = ReLUConvBN(shape.in_channels[1], shape.channels, affine=affine)

    def inputs(self, s0: Tensor, s1: Tensor) -> list[Tensor]:
        """Brings the inputs of the cell to one shape; where kernels are on, they are ReLUs."""
        if are_on():
            return [self.preprocess0.after_relu(s0), self.preprocess1.after_relu(s1)]
        return [self.preprocess0(s0), self.preprocess1(s1)]

    def run(
        self, s0: Tensor, s1: Tensor, steps: Sequence[tuple[nn.Module, int]], rate: float
    ) -> Tensor:
        """Computes the concatenated nodes (N, 4 * channels, H', W').

        Args:
            s0: Output of the last cell but one; its ReLU where kernels are on.
            s1: Output of the last cell; likewise.
            steps: Two operations for each node and the states they read.
            rate: Rate at which operations other than identities are dropped per image in train
                mode.
        """
        states = self.inputs(s0, s1)
        relus = ReLUs(states)
        for first, second in zip(steps[::2], steps[1::2], strict=True):
            results = []
            for op, source in (first, second):
                result = relus.apply(op, source)
                if rate > 0 and self.training and not isinstance(op, nn.Identity):
                    result = drop_path(result, rate, training=True)
                results.append(result)
            states.append(results[0] + results[1])
        return torch.cat(states[NUM_INPUTS:], dim=1)


class FixedCell(Cell):
    """A cell of one architecture, which has the two operations of each node."""

    def __init__(self, shape: CellShape, edges: Sequence[Edge], *, affine: bool) -> None:
        super().__init__(shape, affine=affine)
        self.ops = nn.ModuleList(
            create_op(edge.op, shape.channels, stride_of(shape.kind, edge.source), affine=affine)
            for edge in edges
        )
        self.sources = [edge.source for edge in edges]

    def forward(self, s0: Tensor, s1: Tensor, rate: float) -> Tensor:
        """Computes the cell's output; see ``run``."""
        return self.run(s0, s1, list(zip(self.ops, self.sources, strict=True)), rate)


class AuxiliaryHead(nn.Module):
    """A classifier on the output of the second reduction cell, to help training.

    As DARTS', where the pooled map is 2x2; of a larger one the features are averaged.

    Args:
        channels: Width of its input.
        num_classes: Number of logits.
        stem: DARTS' head for CIFAR has a pool of stride 3 and BatchNorm after both convolutions,
            that for ImageNet a stride of 2 and no BatchNorm after the second.
    """

    def __init__(self, channels: int, num_classes: int, stem: Stem) -> None:
        super().__init__()
        stride = AUXILIARY_STRIDES[stem]
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(AUXILIARY_POOL, stride, padding=0, count_include_pad=False),
            nn.Conv2d(channels, 128, 1, bias=False),
            BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            *([BatchNorm2d(768)] if stem == "cifar" else []),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to logits (N, num_classes)."""
        return cast(Tensor, self.classifier(self.features(x).mean(dim=(2, 3))))


class Skeleton(nn.Module):
    """Stem, cells, classifier, and the auxiliary head if there is one.

    Args:
        make_cell: Builds a cell of a shape.
        settings: Settings as for ``NASNetSupernet``, with the stem chosen.
        auxiliary: Whether there is an auxiliary head.
    """

    def __init__(
        self,
        make_cell: Callable[[CellShape], Cell],
        *,
        num_classes: int,
        channels: int,
        layers: int,
        input_size: tuple[int, int, int],
        stem: Stem,
        auxiliary: bool,
    ) -> None:
        super().__init__()
        self.stem = nn.ModuleList(_stem(input_size[0], channels, stem))
        shapes = cell_shapes(channels, layers, stem)
        self.cells = nn.ModuleList(make_cell(shape) for shape in shapes)
        self.auxiliary_position = 2 * layers // 3
        width = (NUM_STATES - NUM_INPUTS) * shapes[self.auxiliary_position].channels
        self.auxiliary = AuxiliaryHead(width, num_classes, stem) if auxiliary else None
        self.classifier = nn.Linear((NUM_STATES - NUM_INPUTS) * shapes[-1].channels, num_classes)

    def forward(
        self,
        x: Tensor,
        run_cell: Callable[[Cell, Tensor, Tensor], Tensor],
        *,
        dropout: float,
        with_auxiliary: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Maps images (N, C, H, W) to (N, num_classes) logits, and those of the auxiliary head."""
        output = self.stem[0](x)
        s0 = s1 = _read(output)
        if len(self.stem) > 1:
            s1 = _read(self.stem[1](output))
        auxiliary_logits = None
        for i, cell in enumerate(self.cells):
            output = run_cell(cast(Cell, cell), s0, s1)
            s0, s1 = s1, _read(output)
            if with_auxiliary and i == self.auxiliary_position:
                assert self.auxiliary is not None
                auxiliary_logits = self.auxiliary(s1)  # which begins with a ReLU too
        features = output.mean(dim=(2, 3))  # (N, width)
        if dropout > 0:
            features = F.dropout(features, dropout, self.training)
        return self.classifier(features), auxiliary_logits


def _read(output: Tensor) -> Tensor:
    """What the cells after one read of it: its ReLU, once for both where kernels are on."""
    return F.relu(output) if are_on() else output


def _stem(in_channels: int, channels: int, stem: Stem) -> Iterator[nn.Sequential]:
    """What makes the inputs of the first cell: one input for both, or one after the other."""

    def conv_bn(in_channels: int, channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        conv = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        return conv, BatchNorm2d(channels)

    if stem == "cifar":
        yield nn.Sequential(*conv_bn(in_channels, CIFAR_STEM_MULTIPLIER * channels, 1))
        return
    yield nn.Sequential(
        *conv_bn(in_channels, channels // 2, 2),
        nn.ReLU(inplace=True),
        *conv_bn(channels // 2, channels, 2),
    )
    yield nn.Sequential(nn.ReLU(), *conv_bn(channels, channels, 2))


class NASNetSubnet(nn.Module):
    """The stand-alone network of one genotype.

    With ``auxiliary`` and in training, ``forward_with_auxiliary`` gives the logits of both heads.
    The rate of drop path is that of the timm module ``drop_path``.

    Args:
        arch: Architecture of space ``"nasnet"`` or ``"darts"``.
        num_classes: Number of logits.
        channels: Width of the first cells, C (DARTS: 36 on CIFAR, 48 on ImageNet).
        layers: Number of cells (DARTS: 20 and 14).
        input_size: Images as (channels, height, width).
        stem: One of ``STEMS``; None for ``"imagenet"`` with images of 96 pixels and more.
        auxiliary: Whether there is an auxiliary head.
        affine: Whether BatchNorm in cells has weights and biases.
        dropout: Rate of dropout before the classifier.
        drop_path: Rate at which operations other than identities are dropped per image.

    Raises:
        ValueError: If ``arch`` is of another space, or a choice is out of range.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        num_classes: int,
        channels: int = NASNetSettings.channels,
        layers: int = NASNetSettings.layers,
        input_size: tuple[int, int, int] = (3, 32, 32),
        stem: Stem | None = None,
        auxiliary: bool = False,
        affine: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.arch = arch
        space = NASNetSpace(distinct_inputs=arch.space == "darts")
        space.check(arch)
        edges = space.cells(arch)
        self.skeleton = Skeleton(
            lambda shape: FixedCell(shape, edges[shape.kind], affine=affine),
            num_classes=num_classes,
            channels=channels,
            layers=layers,
            input_size=input_size,
            stem=stem or default_stem(input_size),
            auxiliary=auxiliary,
        )
        self.has_auxiliary_head = auxiliary
        self.dropout = dropout
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes)."""
        logits, _ = self.skeleton(x, self._run_cell, dropout=self.dropout)
        return cast(Tensor, logits)

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, C, H, W) to the (N, num_classes) logits of both heads.

        Raises:
            ValueError: If there is no auxiliary head.
        """
        if self.skeleton.auxiliary is None:
            raise ValueError("This network was built without auxiliary head.")
        logits, auxiliary_logits = self.skeleton(
            x, self._run_cell, dropout=self.dropout, with_auxiliary=True
        )
        return logits, auxiliary_logits

    def _run_cell(self, cell: Cell, s0: Tensor, s1: Tensor) -> Tensor:
        return cast(Tensor, cell(s0, s1, self.drop_path.drop_prob))


def stride_of(kind: str, source: int) -> int:
    """Returns the stride of an operation that reads a state in a kind of cell."""
    return 2 if kind == "reduce" and source < NUM_INPUTS else 1


def default_stem(input_size: Sequence[int]) -> Stem:
    """Returns the stem for images of this (channels, height, width)."""
    return "imagenet" if min(input_size[1:]) >= IMAGENET_SIDE else "cifar"
