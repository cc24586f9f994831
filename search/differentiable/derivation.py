"""The architecture that alphas stand for, and what is recorded of alphas after every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supernets.networks.relaxed import RelaxedNetwork
from supernets.spaces import Architecture
from supernets.training.log import write_rows

Floats = NDArray[np.float64]
NONE, SKIP = "none", "skip_connect"


@dataclass(frozen=True)
class Derived:
    """What weights of operations stand for.

    Args:
        arch: The architecture.
        replaced_skips: Number of skip connections that made way for other operations.
    """

    arch: Architecture
    replaced_skips: int


def derive(
    network: RelaxedNetwork,
    op_weights: Floats,
    max_skips: int | None = None,
    *,
    exclude_none: bool = False,
) -> Derived:
    """Discretises weights of operations, with no more skip connections per cell than wanted.

    The lightest skip connection of a cell that has too many is ruled out, and the architecture is
    derived again (as P-DARTS, https://arxiv.org/abs/1904.12760).

    Args:
        network: The network whose operations they are.
        op_weights: Weights of the operations, (num_cells, num_edges, num_ops).
        max_skips: Number of skip connections a cell may have; None for any number.
        exclude_none: Whether edges keep the heaviest operation other than none, where there is one.
    """
    op_weights = np.where(network.op_mask, op_weights, -np.inf)
    if exclude_none:
        none = network.ops.index(NONE)
        has_others = np.isfinite(np.delete(op_weights, none, axis=2)).any(axis=2)
        op_weights[has_others, none] = -np.inf
    replaced, chosen = 0, network.choose_ops(op_weights)
    for cell in range(len(chosen)):
        while max_skips is not None and (chosen[cell] == network.ops.index(SKIP)).sum() > max_skips:
            without = _without_lightest_skip(network, op_weights, chosen, cell)
            if without is None:
                break
            op_weights, replaced = without, replaced + 1
            chosen = network.choose_ops(op_weights)
    return Derived(network.architecture(chosen), replaced)


def _without_lightest_skip(
    network: RelaxedNetwork, op_weights: Floats, chosen: NDArray[np.int64], cell: int
) -> Floats | None:
    """Weights that rule out the lightest skip connection that has an alternative, if there is."""
    skip = network.ops.index(SKIP)
    skips = np.flatnonzero(chosen[cell] == skip)
    for edge in skips[np.argsort(op_weights[cell, skips, skip], kind="stable")]:
        without = op_weights.copy()
        without[cell, edge, skip] = -np.inf
        instead = network.choose_ops(without)[cell]
        edges = np.flatnonzero(instead >= 0)
        if np.isfinite(without[cell, edges, instead[edges]]).all():
            return without
    return None


def entropy(op_weights: Floats) -> float:
    """Computes the mean entropy of the weights of an edge, in nats."""
    logs = np.log(op_weights, out=np.zeros_like(op_weights), where=op_weights > 0)
    return float(-(op_weights * logs).sum(axis=-1).mean())


def write_alphas(path: Path, network: RelaxedNetwork, alphas: Floats, op_weights: Floats) -> None:
    """Writes a CSV file with a row per epoch and operation.

    Args:
        path: The file; replaced whole.
        network: The network whose operations they are.
        alphas: Alphas after every epoch, (num_epochs, num_cells, num_edges, num_ops).
        op_weights: Mean weights of the operations, of the same shape; 0 where pruned.
    """
    rows = [
        {
            "epoch": epoch + 1,
            "cell": network.cells[cell],
            "edge": network.edges[edge],
            "op": network.ops[op],
            "alpha": f"{alphas[epoch, cell, edge, op]:.7g}",
            "weight": f"{op_weights[epoch, cell, edge, op]:.7g}",
        }
        for epoch, cell, edge, op in np.ndindex(*alphas.shape)
    ]
    write_rows(path, rows)
