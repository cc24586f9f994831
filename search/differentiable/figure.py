"""A picture of a differentiable search: weights of operations and what they stood for, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.figures import write_png

Floats = NDArray[np.float64]

_COLUMNS = 7


def plot_search(
    path: Path,
    network: RelaxedNetwork,
    op_weights: Floats,
    derived: Sequence[Mapping[str, Any]],
    summary: Sequence[Mapping[str, float]],
) -> None:
    """Draws a PNG file: accuracies and entropy over epochs, then the weights on every edge.

    Args:
        path: The file, replaced atomically.
        network: The network whose operations they are.
        op_weights: Mean weights of the operations after every epoch, (num_epochs, num_cells,
            num_edges, num_ops).
        derived: The row of each epoch on the derived architecture, with ``true_accuracy`` (percent)
            where it is known.
        summary: The row of each epoch in ``summary.csv``.
    """
    num_epochs, num_cells, num_edges, _ = op_weights.shape
    epochs = np.arange(1, num_epochs + 1)
    columns = min(num_edges, _COLUMNS)
    rows_per_cell = -(-num_edges // columns)
    num_rows = 1 + num_cells * rows_per_cell
    figure = Figure(figsize=(2.3 * columns + 1, 2.2 * num_rows), layout="constrained")
    grid = figure.add_gridspec(num_rows, columns)
    half = columns // 2
    _plot_accuracy(figure.add_subplot(grid[0, :half]), epochs, derived, summary)
    _plot_entropy(figure.add_subplot(grid[0, half:]), epochs, summary)
    first: Axes | None = None
    for cell in range(num_cells):
        for edge in range(num_edges):
            row = 1 + cell * rows_per_cell + edge // columns
            panel = figure.add_subplot(grid[row, edge % columns], sharex=first, sharey=first)
            first = panel if first is None else first
            for op, name in enumerate(network.ops):
                values = op_weights[:, cell, edge, op]
                shown = np.where(values > 0, values, np.nan)  # a pruned operation ends
                panel.plot(epochs, shown, lw=1.4, color=f"C{op}", label=name)
            title = network.edges[edge]
            panel.set_title(
                f"{network.cells[cell]} {title}" if num_cells > 1 else title, fontsize=9
            )
            panel.tick_params(labelsize=7, labelleft=edge % columns == 0)
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.grid(alpha=0.25)
    assert first is not None
    figure.legend(
        *first.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9
    )
    figure.supylabel("weight of an operation", fontsize=9)
    write_png(figure, path)


def _plot_accuracy(
    axes: Axes,
    epochs: NDArray[np.int64],
    derived: Sequence[Mapping[str, Any]],
    summary: Sequence[Mapping[str, float]],
) -> None:
    mixture = [row["mixture_val_top1"] for row in summary]
    axes.plot(epochs, mixture, color="0.5", lw=1.4, label="mixture, validation")
    true = np.array([row.get("true_accuracy", np.nan) for row in derived], np.float64)
    if np.isfinite(true).any():
        axes.plot(epochs, true, color="C3", marker="o", ms=3, lw=1.4, label="derived cell, true")
    axes.set_title("accuracy (%) by epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, framealpha=0.8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)


def _plot_entropy(
    axes: Axes, epochs: NDArray[np.int64], summary: Sequence[Mapping[str, float]]
) -> None:
    axes.plot(epochs, [row["alpha_entropy"] for row in summary], color="C0", lw=1.4)
    axes.set_title("entropy of an edge's weights (nats)", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
