"""The architecture that alphas stand for, and what is recorded of alphas after every epoch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernets.atomic import atomic_write
from supernets.relaxed import RelaxedNetwork
from supernets.spaces import Architecture

Floats = NDArray[np.float64]
SKIP = "skip_connect"


@dataclass(frozen=True)
class Derived:
    """What weights of operations stand for.

    Args:
        arch: The architecture.
        replaced_skips: Skip connections that made way for other operations.
    """

    arch: Architecture
    replaced_skips: int


def derive(network: RelaxedNetwork, op_weights: Floats, max_skips: int | None = None) -> Derived:
    """Discretises weights of operations, with no more skip connections per cell than wanted.

    The lightest skip connection of a cell that has too many is ruled out, and the architecture is
    derived again (as P-DARTS, https://arxiv.org/abs/1904.12760).

    Args:
        network: Whose operations they are.
        op_weights: (num_cells, num_edges, num_ops).
        max_skips: How many skip connections a cell may have; None for any number.
    """
    op_weights = np.where(network.alive, op_weights, -np.inf)
    skip, replaced = network.ops.index(SKIP), 0
    chosen = network.choose_ops(op_weights)
    for cell in range(len(chosen)):
        while max_skips is not None:
            skips = np.flatnonzero(chosen[cell] == skip)
            if len(skips) <= max_skips:
                break
            lightest = skips[op_weights[cell, skips, skip].argmin()]
            without = op_weights.copy()
            without[cell, lightest, skip] = -np.inf
            instead = network.choose_ops(without)
            edges = np.flatnonzero(instead[cell] >= 0)
            if not np.isfinite(without[cell, edges, instead[cell, edges]]).all():
                break  # only pruned operations are left
            op_weights, chosen, replaced = without, instead, replaced + 1
    return Derived(network.architecture(chosen), replaced)


def entropy(op_weights: Floats) -> float:
    """Mean entropy of the weights of an edge, in nats."""
    logs = np.log(op_weights, out=np.zeros_like(op_weights), where=op_weights > 0)
    return float(-(op_weights * logs).sum(axis=-1).mean())


def write_alphas(path: Path, network: RelaxedNetwork, alphas: Floats, op_weights: Floats) -> None:
    """Writes a CSV file with a row per epoch and operation.

    Args:
        path: The file; replaced whole.
        network: Whose operations they are.
        alphas: After every epoch, (num_epochs, num_cells, num_edges, num_ops).
        op_weights: Their mean weights, of the same shape; 0 where pruned.
    """
    rows: Iterable[dict[str, Any]] = (
        {
            "epoch": epoch + 1,
            "cell": network.cells[cell],
            "edge": network.edges[edge],
            "op": network.ops[op],
            "alpha": f"{alphas[epoch, cell, edge, op]:.7g}",
            "weight": f"{op_weights[epoch, cell, edge, op]:.7g}",
        }
        for epoch, cell, edge, op in np.ndindex(*alphas.shape)
    )
    write_rows(path, ("epoch", "cell", "edge", "op", "alpha", "weight"), rows)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV file, replaced whole."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
