"""A picture of the cells of an architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from supernets.runtime.figures import write_png
from supernets.spaces import Architecture, CellSpace, Edge

#: Colour of an operation, by the start of its name.
_COLOURS = {
    "sep": "#bcd7f0",
    "dil": "#cfe8c6",
    "nor": "#bcd7f0",
    "max": "#f7d9a8",
    "avg": "#f5c6b8",
    "skip": "#e6e6e6",
}
_COLUMN, _ROW = 2.3, 0.5  # distances between nodes, and between the operations of one
_STAGGER = 1.1  # nodes lie this far above and below the middle in turn, which is left for lines
_Point = tuple[float, float]


def draw_cells(space: CellSpace, arch: Architecture, path: Path) -> None:
    """Draws every kind of cell of an architecture as a PNG file.

    Circles are the states of a cell, boxes its operations; the lines lead to the right.

    Args:
        space: The space of ``arch``.
        arch: The architecture to draw.
        path: The PNG file, replaced atomically.
    """
    figure = cells_figure(space, arch)
    write_png(figure, path)


def cells_figure(space: CellSpace, arch: Architecture) -> Figure:
    """Draws the figure that ``draw_cells`` writes, without a canvas."""
    space.validate(arch)
    cells = space.cells(arch)
    figure = Figure(figsize=(11, 3.6 * len(cells)), layout="constrained")
    axes = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for panel, (name, edges) in zip(axes, cells.items(), strict=True):
        _draw_cell(panel, edges, space)
        panel.set_title(name, loc="left", fontsize=12, fontweight="bold")
    return figure


def _draw_cell(axes: Axes, edges: Sequence[Edge], space: CellSpace) -> None:
    num_inputs, concatenated, last = space.num_inputs, space.concatenated, space.num_states - 1
    states: dict[int, _Point] = {
        i: (0.0, 0.4 * (num_inputs - 1 - 2 * i)) for i in range(num_inputs)
    }
    for i, state in enumerate(range(num_inputs, last + 1)):
        states[state] = (_COLUMN * (i + 1), _STAGGER * (1 if i % 2 == 0 else -1))
    for state, (x, y) in states.items():
        incoming = [edge for edge in edges if edge.target == state]
        for i, edge in enumerate(incoming):
            box = (x - 0.42 * _COLUMN, y + _ROW * ((len(incoming) - 1) / 2 - i))
            _connect(axes, states[edge.source], box)
            _connect(axes, box, (x, y))
            _write(axes, box, edge.op, _colour(edge.op), "round,pad=0.35", 8)
    if concatenated:
        output = (_COLUMN * (last - num_inputs + 2), 0.0)
        for state in concatenated:
            x, y = states[state]
            joint = (x + 0.5 * _COLUMN, 0.0)  # from where on all run together
            _connect(axes, (x, y), joint, colour="#bbbbbb")
            _connect(axes, joint, output, colour="#bbbbbb")
        _write(axes, output, "concat", "#ffffff", "round,pad=0.45", 9)
    for state, point in states.items():
        is_end = state < num_inputs or (not concatenated and state == last)
        _write(axes, point, str(state), "#dddddd" if is_end else "#ffffff", "circle,pad=0.4", 10)
    axes.set_xlim(-0.5, _COLUMN * (last - num_inputs + (2 if concatenated else 1)) + 0.6)
    axes.set_ylim(-1.9, 1.9)
    axes.axis("off")


def _colour(op: str) -> str:
    return next((colour for start, colour in _COLOURS.items() if op.startswith(start)), "#ffffff")


def _connect(axes: Axes, start: _Point, end: _Point, colour: str = "#555555") -> None:
    """A line that leaves and arrives level."""
    bend = 0.5 * (end[0] - start[0])
    vertices = [start, (start[0] + bend, start[1]), (end[0] - bend, end[1]), end]
    curve = Curve(vertices, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linewidth=1.1, zorder=1))


def _write(axes: Axes, at: _Point, text: str, colour: str, box: str, size: int) -> None:
    axes.text(
        *at,
        text,
        ha="center",
        va="center",
        fontsize=size,
        bbox={"boxstyle": box, "facecolor": colour, "edgecolor": "#444444", "linewidth": 0.9},
        zorder=3,
    )
