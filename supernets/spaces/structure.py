"""What architectures are, seen through their notation: quantities that decide how they train.

Two ways of writing the same network look the same here, and so do networks that differ only where
nothing reaches the output.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from supernets.spaces import nasbench101_cells, nasbench201, nasnet
from supernets.spaces.features import Structure
from supernets.spaces.mobilenetv3 import (
    DEPTHS,
    EXPANDS,
    KERNELS,
    MAX_DEPTH,
    NUM_BLOCKS,
    NUM_STAGES,
    MobileNetV3Space,
)
from supernets.spaces.nasbench101 import NASBench101Space
from supernets.spaces.nasbench201 import AVG_POOL, CONV_1X1, CONV_3X3, NONE, SKIP
from supernets.spaces.nasnet import NASNetSpace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


#: The paths from input to output, as indices of edges.
_PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))


def of_nasbench201(choices: NDArray[np.int64]) -> Structure:
    """Operations on a path from input to output, their counts, and what the paths are like."""
    on_path = np.zeros(choices.shape, np.bool_)  # by a path without none
    is_live = np.stack([(choices[:, path] != NONE).all(axis=1) for path in _PATHS], axis=1)
    for column, path in zip(is_live.T, _PATHS, strict=True):
        on_path[:, path] |= column[:, None]
    live = np.where(on_path, choices, NONE)
    counts = np.stack([(live == op).sum(axis=1) for op in range(len(nasbench201.OPS))], axis=1)

    def count(*ops: int) -> NDArray[np.int64]:
        """Counts operations on each path, (num_archs, num_paths)."""
        return np.stack([np.isin(live[:, path], ops).sum(axis=1) for path in _PATHS], axis=1)

    convs = count(CONV_1X1, CONV_3X3)
    lengths = np.array([len(path) for path in _PATHS])
    is_identity = is_live & (count(SKIP) == lengths)
    numbers = [
        *counts.T,
        is_live.sum(axis=1),
        *_over_paths(convs, is_live),
        np.where(is_live, count(CONV_3X3), 0).max(axis=1),
        is_identity.sum(axis=1),
        _share(is_live & (count(AVG_POOL) > 0), is_live),
        np.log1p(9 * counts[:, CONV_3X3] + counts[:, CONV_1X1]),
    ]
    return Structure(np.concatenate([live, counts], axis=1), _columns(numbers))


#: Of the two kinds of cells: edges of a node, and the operations that convolve.
_CONVS = tuple(i for i, op in enumerate(nasnet.OPS) if "conv" in op)
_POOLS = tuple(i for i, op in enumerate(nasnet.OPS) if "pool" in op)


def of_nasnet(space: NASNetSpace, choices: NDArray[np.int64]) -> Structure:
    """The same as of NAS-Bench-201 by kind of cell, and what the nodes read."""
    inputs, ops = space.edges(choices)  # (num_archs, cells, nodes, 2)
    numbers: list[NDArray[np.generic]] = []
    rows = np.arange(len(choices))
    for c in range(len(nasnet.CELLS)):
        read, op = inputs[:, c], ops[:, c]
        is_conv = np.isin(op, _CONVS)
        numbers += [(op == i).sum(axis=(1, 2)) for i in range(len(nasnet.OPS))]
        for source in range(nasnet.NUM_INPUTS):
            at_input = read == source
            numbers += [at_input.sum(axis=(1, 2)), (at_input & is_conv).sum(axis=(1, 2))]
        # of each state: the most and the mean convolutions, operations and pools on the way to it
        states = [np.zeros((len(choices), 4)) for _ in range(nasnet.NUM_INPUTS)]
        is_pool = np.isin(op, _POOLS)
        for node in range(nasnet.NUM_NODES):
            earlier = np.stack(states)  # (states, num_archs, 4)
            steps = np.stack([is_conv, is_conv, np.ones_like(is_conv), is_pool], axis=-1)[:, node]
            reached = earlier[read[:, node], rows[:, None]] + steps  # (num_archs, 2, 4)
            states.append(
                np.concatenate(
                    [reached[..., :1].max(axis=1), reached[..., 1:].mean(axis=1)], axis=1
                )
            )
        nodes = np.stack(states[nasnet.NUM_INPUTS :])  # (nodes, num_archs, 4)
        numbers += [nodes[..., 0].max(axis=0), *nodes.mean(axis=0).T]
    return Structure(choices, _columns(numbers))


def of_nasbench101(space: NASBench101Space, choices: NDArray[np.int64]) -> Structure:
    """Choices and operations, and what the paths are like."""
    adjacency, ids = nasbench101_cells.graphs(choices)
    is_op = np.isin(ids, range(len(nasbench101_cells.OPS)))
    kinds = [ids == op for op in range(len(nasbench101_cells.OPS))]
    is_conv = is_op & (ids != nasbench101_cells.MAXPOOL)
    steps = np.stack([is_op, is_conv, *kinds], axis=-1).astype(np.float64)
    # of the paths from the input to each vertex: how many, and of each kind of step on them the
    # most, the least and the sum over all
    num_paths = np.zeros(ids.shape)
    num_paths[:, 0] = 1
    most, least = np.full(steps.shape, -np.inf), np.full(steps.shape, np.inf)
    total = np.zeros(steps.shape)
    most[:, 0] = least[:, 0] = 0
    for vertex in range(1, nasbench101_cells.NUM_VERTICES):
        read, step = adjacency[:, :, vertex, None], steps[:, vertex]
        num_paths[:, vertex] = (read[..., 0] * num_paths).sum(axis=1)
        most[:, vertex] = np.where(read, most, -np.inf).max(axis=1) + step
        least[:, vertex] = np.where(read, least, np.inf).min(axis=1) + step
        total[:, vertex] = (read * total).sum(axis=1) + num_paths[:, vertex, None] * step
    rows, output = np.arange(len(ids)), (ids == nasbench101_cells.OUTPUT_ID).argmax(axis=1)
    mean = total[rows, output] / num_paths[rows, output, None]
    numbers = [
        *(kind.sum(axis=1) for kind in kinds),
        adjacency.sum(axis=(1, 2)),
        adjacency[:, 0].sum(axis=1),
        adjacency[rows, :, output].sum(axis=1),
        adjacency[rows, 0, output],
        np.log(num_paths[rows, output]),
        *most[rows, output].T,
        *least[rows, output].T,
        *mean.T,
    ]
    labels = np.where(space.is_active(choices), choices, -1)
    return Structure(labels, _columns(numbers))


def of_mobilenetv3(space: MobileNetV3Space, choices: NDArray[np.int64]) -> Structure:
    """What the active blocks are, by stage and in all."""
    shape = (len(choices), NUM_STAGES, MAX_DEPTH)
    blocks = slice(NUM_STAGES, NUM_STAGES + NUM_BLOCKS)
    active = space.is_active(choices)[:, blocks].reshape(shape)
    depths = np.array(DEPTHS)[choices[:, :NUM_STAGES]]
    kernels = np.array(KERNELS)[choices[:, blocks]].reshape(shape)
    expands = choices[:, NUM_STAGES + NUM_BLOCKS : NUM_STAGES + 2 * NUM_BLOCKS]
    expands = np.array(EXPANDS)[expands].reshape(shape)
    kernels, expands = np.where(active, kernels, 0), np.where(active, expands, 0)
    numbers = [
        *depths.T,
        *kernels.sum(axis=2).T,
        *expands.sum(axis=2).T,
        depths.sum(axis=1),
        kernels.sum(axis=(1, 2)),
        expands.sum(axis=(1, 2)),
        *kernels.reshape(len(choices), -1).T,
        *expands.reshape(len(choices), -1).T,
    ]
    if space.has_resolution:
        numbers.append(np.array(space.resolutions)[choices[:, -1]])
    return Structure(np.zeros((len(choices), 0), np.int64), _columns(numbers))


def _over_paths(values: NDArray[np.int64], is_live: Bools) -> tuple[Floats, Floats, Floats]:
    """The most, the least and the mean over live paths; 0 where there is none."""
    num_live = is_live.sum(axis=1)
    highest = np.where(is_live, values, 0).max(axis=1)
    lowest = np.where(is_live, values, np.iinfo(np.int64).max).min(axis=1)
    mean = np.where(is_live, values, 0).sum(axis=1) / np.maximum(num_live, 1)
    return highest.astype(np.float64), np.where(num_live > 0, lowest, 0).astype(np.float64), mean


def _share(part: Bools, whole: Bools) -> Floats:
    """Returns the share of the paths in ``whole`` that are in ``part``; 0 if there are none."""
    return np.asarray(part.sum(axis=1) / np.maximum(whole.sum(axis=1), 1), np.float64)


def _columns(numbers: Sequence[NDArray[np.generic]]) -> Floats:
    return np.stack([np.asarray(column, np.float64) for column in numbers], axis=1)
