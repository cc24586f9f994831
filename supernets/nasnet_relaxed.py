"""DARTS cells with every operation of every edge at once, for differentiable searches.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; and see
``supernets.relaxed``.

Differs from DARTS' search network:

1. The operations that read a state share one ReLU of it, and its pools with their BatchNorm; the
   weight of an operation that ends with BatchNorm is its scale. The values are the same.
2. See ``supernets.ops`` for images of odd sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.batchnorm import BatchNorm2d
from supernets.nasnet import NASNetSupernet, edge_name
from supernets.nasnet_subnet import Cell, CellShape, Skeleton, Stem, default_stem, stride_of
from supernets.ops import DILATED, SEPARABLE, SKIP, create_op
from supernets.relaxed import EdgeWeights, Node, RelaxedNetwork, check_partial_channels
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
        num_classes: Number of logits.
        distinct_inputs: As ``NASNetSupernet``; derived genotypes are in both spaces.
        channels: Width of the first cells, C.
        layers: Number of cells.
        input_size: Images as (channels, height, width).
        stem: As ``NASNetSupernet``.
        alive: As ``RelaxedNetwork``.
        partial_channels: As ``RelaxedNetwork``; has to divide ``channels``.

    Raises:
        ValueError: As ``NASNetSupernet``; or if the channels cannot be parted, or ``alive`` is of
            another shape.
    """

    cells = CELLS
    edges = tuple(f"{target}<-{source}" for source, target in EDGES)
    ops = (*OPS, NONE)
    space: NASNetSpace

    def __init__(
        self,
        *,
        num_classes: int,
        distinct_inputs: bool = True,
        channels: int = 16,
        layers: int = 8,
        input_size: tuple[int, int, int] = (3, 32, 32),
        stem: Stem | None = None,
        alive: NDArray[np.bool_] | None = None,
        partial_channels: int = 1,
    ) -> None:
        super().__init__(alive, partial_channels)
        check_partial_channels(partial_channels, channels)
        self.settings: dict[str, Any] = {
            "num_classes": num_classes,
            "channels": channels,
            "layers": layers,
            "input_size": (input_size[0], input_size[1], input_size[2]),
            "stem": default_stem(input_size) if stem is None else stem,
        }
        with torch.device("meta"):  # checks the settings, counts costs
            supernet = NASNetSupernet(distinct_inputs=distinct_inputs, **self.settings)
        self._supernet = [supernet]  # a list: not a submodule
        self.space = supernet.space
        self.num_classes = num_classes
        self.input_size = self.settings["input_size"]
        self.skeleton = Skeleton(
            lambda shape: RelaxedCell(
                shape, self.alive[CELLS.index(shape.kind)], partial_channels=partial_channels
            ),
            **self.settings,
            auxiliary=False,
        )

    def forward(self, x: Tensor, op_weights: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, num_classes) logits."""
        weights = dict(zip(CELLS, self._scalars(op_weights), strict=True))

        def run_cell(cell: Cell, s0: Tensor, s1: Tensor) -> Tensor:
            return cast(Tensor, cell(s0, s1, weights[cell.kind]))

        logits, _ = self.skeleton(x, run_cell, dropout=0.0)
        return cast(Tensor, logits)

    def choose_ops(self, op_weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Of each node the two edges with the heaviest operations, and these; never ``none``."""
        candidates = np.where(self.alive, op_weights, -np.inf)[..., : len(OPS)]
        chosen = np.full(self.alphas_shape[:2], -1, np.int64)
        for cell, weights in enumerate(candidates):
            heaviest = weights.max(axis=1)  # (num_edges,)
            for target in range(NUM_INPUTS, NUM_STATES):
                incoming = [i for i, edge in enumerate(EDGES) if edge[1] == target]
                for edge in sorted(incoming, key=lambda i: -heaviest[i])[:2]:  # equals: the first
                    chosen[cell, edge] = weights[edge].argmax()
        return chosen

    def architecture(self, chosen: NDArray[np.int64]) -> Architecture:
        """The genotype of operations (2, 14), of which two enter each node."""
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
        """Of an operation in all cells of a kind.

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
        _, macs = self._supernet[0].count(self.space.choices_of(archs))
        table = np.zeros(self.alphas_shape, np.int64)
        table[..., : len(OPS)] = (macs[1:] - macs[0]).reshape(len(CELLS), len(EDGES), len(OPS))
        return table


class RelaxedCell(Cell):
    """A cell whose edges are weighted sums of operations.

    Args:
        shape: Where it is.
        alive: Which operations there are, bool (num_edges, num_ops).
        partial_channels: As ``RelaxedNetwork``.
    """

    def __init__(
        self, shape: CellShape, alive: NDArray[np.bool_], *, partial_channels: int
    ) -> None:
        super().__init__(shape, affine=False)
        self.partial_channels = partial_channels
        self.width = shape.channels // partial_channels
        self.edges = nn.ModuleDict(
            {
                edge_name(source, target): nn.ModuleDict(
                    {
                        op: create_op(op, self.width, stride_of(shape.kind, source), affine=False)
                        for op, is_alive in zip(OPS, edge_alive, strict=False)
                        if is_alive
                    }
                )
                for (source, target), edge_alive in zip(EDGES, alive, strict=True)
            }
        )

    def forward(self, s0: Tensor, s1: Tensor, weights: EdgeWeights) -> Tensor:
        """The concatenated nodes (N, 4 * channels, H', W')."""
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        inputs: list[_Input] = []
        for target in range(NUM_INPUTS, NUM_STATES):
            for state in states[len(inputs) :]:
                inputs.append(_Input(state, self.width, stride_of(self.kind, len(inputs))))
            node = Node(self.partial_channels)
            for (source, end), edge_weights in zip(EDGES, weights, strict=True):
                if end != target:
                    continue
                ops = cast(nn.ModuleDict, self.edges[edge_name(source, target)])
                for op, weight in zip(OPS, edge_weights, strict=False):
                    if weight is not None:
                        node.add(inputs[source].weighted(op, ops[op], weight))
                if self.partial_channels > 1:
                    node.add_passed(inputs[source].passed)
            states.append(node.value(inputs[0].shrunk))
        return torch.cat(states[NUM_INPUTS:], dim=1)


class _Input:
    """What the edges leaving a state read of it, each made once and when it is needed.

    Args:
        state: (N, C, H, W).
        width: Number of channels that go through operations, the first ones.
        stride: Of the operations.
    """

    def __init__(self, state: Tensor, width: int, stride: int) -> None:
        self.x, self._rest = state[:, :width], state[:, width:]
        self._stride = stride
        self._made: dict[str, Tensor] = {}

    @property
    def shrunk(self) -> Tensor:
        """Has the shape of what operations give."""
        return self.x[:, :, :: self._stride, :: self._stride]

    @property
    def passed(self) -> Tensor:
        """The channels that pass by; of stride 2 the largest of four pixels, as PC-DARTS has it."""
        if self._stride == 1:
            return self._rest
        return self._once("passed", lambda: F.max_pool2d(self._rest, 2, ceil_mode=True))

    def weighted(self, op: str, module: nn.Module, weight: Tensor) -> Tensor:
        """What an operation gives, times its weight."""
        if op in SEPARABLE or op in DILATED:
            _, *layers, bn = cast(nn.Sequential, module)  # begins with ReLU
            x = self._once("relu", lambda: F.relu(self.x))
            for layer in layers:
                x = layer(x)
            return cast(BatchNorm2d, bn).scaled(x, weight)
        if op == SKIP:
            return cast(Tensor, module(self.x)) * weight
        return self._once(op, lambda: _normalised(module(self.x))) * weight

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def _normalised(x: Tensor) -> Tensor:
    """By the statistics of the batch, in eval mode too."""
    return F.batch_norm(x, None, None, training=True)
