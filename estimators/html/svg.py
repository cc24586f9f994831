"""Plots as inline SVG; the page they stand in sets their colours and letters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
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

#: In units that are about pixels, at which letters are as large as those of the page.
_WIDTH, _HEIGHT = 380, 280
PANEL = 170
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "report",
    "svg.fonttype": "none",
    "axes.unicode_minus": True,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.color": FAINT[0],
    "text.color": INK[0],
    "axes.labelcolor": INK[0],
    "axes.edgecolor": FAINT[0],
    "xtick.color": FAINT[0],
    "ytick.color": FAINT[0],
    "xtick.labelcolor": INK[0],
    "ytick.labelcolor": INK[0],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}
#: What the page calls the colours.
_VARIABLES = {
    INK[0]: "var(--ink)",
    FAINT[0]: "var(--faint)",
    **{light: f"var(--series-{i})" for i, (light, *_) in enumerate(SERIES)},
    **{light: f"var(--ramp-{i})" for i, (light, _) in enumerate(RAMP)},
}


def draw(
    paint: Callable[[Axes], None],
    identifier: str,
    label: str,
    *,
    width: int = _WIDTH,
    height: int = _HEIGHT,
    left: int = 52,
    bottom: int = 44,
) -> str:
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

    def build() -> Figure:
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        inside = ((width - left - 8) / width, (height - bottom - 8) / height)
        paint(figure.add_axes((left / width, bottom / height, *inside)))
        return figure

    return draw_figure(build, identifier, label)


def draw_figure(build: Callable[[], Figure], identifier: str, label: str) -> str:
    """Draws a whole figure, which ``build`` makes in the style of the page, as ``draw`` does."""
    text = io.StringIO()
    with rc_context(_STYLE):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas = FigureCanvasSVG(build())
        canvas.print_svg(text, metadata=metadata)  # type: ignore[no-untyped-call]
    return _inline(text.getvalue(), identifier, label)


def _inline(svg: str, identifier: str, label: str) -> str:
    """An SVG file as part of a page: no namespaces, no styles for all, names of its own."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            attributes.pop("id", None)  # nothing refers to groups
        for key, value in attributes.items():
            attributes[key] = _attribute(key, value, identifier)
        element.attrib.clear()
        element.attrib.update(attributes)
        for child in list(element):
            if child.tag.rpartition("}")[2] == "defs" and child.find("./{*}style") is not None:
                element.remove(child)
    _share_styles(root)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"class": "plot", "viewBox": view, "role": "img", "aria-label": label})
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")).strip()


def _attribute(key: str, value: str, identifier: str) -> str:
    if key == "id":
        return f"{identifier}-{value}"
    if key == "style":
        for colour, variable in _VARIABLES.items():
            value = value.replace(colour, variable)
    elif key in ("d", "x", "y", "transform"):
        value = re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", value)
    return re.sub(r"(^|\()#", rf"\1#{identifier}-", value) if key != "style" else value


def _share_styles(root: ElementTree.Element) -> None:
    """Moves the style that all points of a group have to the group."""
    for group in root.iter("g"):
        styles = {child.get("style") for child in group if child.tag == "use"}
        if len(styles) == 1 and all(child.tag in ("use", "defs") for child in group):
            (style,) = styles
            if style is not None:
                group.set("style", f"{group.get('style', '')}{style}")
                for child in group.iter("use"):
                    del child.attrib["style"]
