"""Figures as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from supernets.runtime.atomic_write import atomic_write


def write_png(figure: Figure, path: Path) -> None:
    """Draws a figure as a PNG file, replaced whole."""
    with atomic_write(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
