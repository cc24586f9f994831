"""Plots as inline SVG; the page they stand in sets their colours and letters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours on light and on dark ground, and markers for matplotlib and for legends. The colours are
#: told apart by the colour-blind, and markers tell as much.
SERIES = (
    ("#0072b2", "#56b4e9", "o", "●"),
    ("#c44e00", "#ff9447", "s", "■"),
    ("#00805c", "#2fcf9f", "^", "▲"),
    ("#a64d82", "#e7a0c8", "D", "◆"),
    ("#7a6000", "#e6c229", "v", "▼"),
    ("#5b4fc4", "#b3a9ff", "P", "✚"),
)
#: Lines of as many series, then of the next, when colours come again.
LINES = ("-", "--", ":")
#: From early to late, on light and on dark ground.
RAMP = (
    ("#b8c4d6", "#45536a"),
    ("#93a9c9", "#5873a0"),
    ("#6d8dbb", "#6b92cc"),
    ("#476fa8", "#86b0ea"),
    ("#234f8c", "#aacbf8"),
    ("#0b2d63", "#d8e8ff"),
)
#: Of letters and axes, and of what stands back.
INK, FAINT = ("#1f2328", "#e6e6e6"), ("#8c959f", "#7d8590")
#: What the page calls the colours.
_VARIABLES = {
    INK[0]: "var(--ink)",
    FAINT[0]: "var(--faint)",
    **{light: f"var(--series-{i})" for i, (light, *_) in enumerate(SERIES)},
    **{light: f"var(--ramp-{i})" for i, (light, _) in enumerate(RAMP)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "axes.unicode_minus": True,
    "font.size": 12,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize"), 12),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 11.5),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.grid": True,
    "grid.alpha": 0.3,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK[0]
    ),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), FAINT[0]),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
}


def draw(
    paint: Callable[[Axes], None],
    identifier: str,
    label: str,
    *,
    width: int = 380,
    height: int = 280,
    left: int = 52,
    bottom: int = 44,
) -> Markup:
    """Draws one pair of axes, which ``paint`` fills, as SVG.

    Args:
        paint: Function that draws into the axes it is given.
        identifier: Name of this plot, unique in its page.
        label: Description of the plot for those who cannot see it.
        width: Width of the plot in SVG units, about pixels.
        height: Height of the plot in SVG units, about pixels.
        left: Space left of the axes for numbers and the axis label, in the same units.
        bottom: Space below the axes for numbers and the axis label, in the same units.
    """
    from matplotlib.figure import Figure

    def build() -> Figure:
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        inside = ((width - left - 8) / width, (height - bottom - 8) / height)
        paint(figure.add_axes((left / width, bottom / height, *inside)))
        return figure

    return draw_figure(build, identifier, label)


def draw_figure(build: Callable[[], Figure], identifier: str, label: str) -> Markup:
    """Draws a whole figure, which ``build`` makes in the style of the page, as ``draw`` does."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": identifier}):  # names differ from plot to plot
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(build()).print_svg(file, metadata=metadata)  # type: ignore[no-untyped-call]
    head, start, body = file.getvalue().partition("<g ")  # before it is a style for the whole page
    view = head.partition('viewBox="')[2].partition('"')[0]
    body = re.sub(r' id="[\w.]+_\d+"', "", start + body)  # nothing refers to groups
    body = re.sub(r' (d|x|y|transform)="[^"]*"', _shortened, body)
    body = re.sub(r">\s+<", "><", body.replace("xlink:href", "href"))
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    tag = Markup('<svg class="plot" viewBox="{}" role="img" aria-label="{}">').format(view, label)
    return tag + Markup(body.strip())


def draw_curve(axes: Axes, series: int, x: Any, y: Any, band: Any = (), **style: Any) -> None:
    """Draws a curve in the colour, marker and line of its series, and a band between its ends.

    Args:
        axes: Axes to draw into.
        series: Number of the series.
        x: Positions, (num_points,).
        y: Values, (num_points,); None and nan are left out.
        band: Lower and upper ends of the band, (num_points,) each; none by default.
        style: Settings of the line for matplotlib; "drawstyle" may be "steps-post".
    """
    colour, _, marker, _ = SERIES[series % len(SERIES)]
    line = LINES[series // len(SERIES) % len(LINES)]
    values = np.array(y, dtype=float)
    axes.plot(x, values, line, color=colour, marker=marker, ms=4.5, lw=1.6, **style)
    if len(band):
        low, high = np.array(band, dtype=float)
        is_stepped = "drawstyle" in style
        axes.fill_between(
            x, low, high, color=colour, alpha=0.13, lw=0, step="post" if is_stepped else None
        )


def lowest_shown(values: NDArray[np.float64]) -> float:
    """Returns the least value, unless a few bad ones would leave no room for the others."""
    low, tenth, high = values.min(), np.quantile(values, 0.1), values.max()
    return float(tenth - 0.1 * (high - tenth) if low < tenth - 2 * (high - tenth) else low)


def _shortened(attribute: re.Match[str]) -> str:
    """An attribute whose numbers are cut after a hundredth of a pixel."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])
