"""Plots of a ranking as inline SVG; the page they stand in sets their colours and letters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

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
#: Of letters and axes, and of what stands back.
INK, FAINT = ("#1f2328", "#e6e6e6"), ("#8c959f", "#7d8590")

#: In units that are about pixels, at which letters are as large as those of the page.
_WIDTH, _HEIGHT = 380, 280
_PANEL = 170
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ranking",
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
}


def plot_budgets(curves: Mapping[str, Mapping[str, Any]], suggested: int | None) -> str:
    """Correlation against B, with bands.

    Args:
        curves: "num_steps", "spearman", "low" and "high" of each score.
        suggested: B to mark, or None.
    """

    def paint(axes: Axes) -> None:
        for i, curve in enumerate(curves.values()):
            _line(axes, i, curve["num_steps"], curve)
        if suggested is not None:
            _mark(axes, suggested, f"B = {suggested}")
        _log(axes, [step for curve in curves.values() for step in curve["num_steps"]])
        axes.set(xlabel="B, extra training steps", ylabel="Spearman")

    return _draw(paint, "budgets", f"Spearman against B of {', '.join(curves)}")


def plot_costs(
    estimators: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Any]],
    baselines: Sequence[str],
) -> str:
    """Correlation against seconds: lines of scores of curves, and a point for every other.

    Args:
        estimators: Labelled by their place in this list, from 1.
        curves: As for ``plot_budgets``, and "seconds".
        baselines: Names of estimators to draw as squares.
    """

    def paint(axes: Axes) -> None:
        points: list[tuple[float, float, str]] = []
        for i, curve in enumerate(curves.values()):
            _line(axes, i, np.maximum(curve["seconds"], MIN_SECONDS), curve, band=False)
        for place, estimator in enumerate(estimators, 1):
            name, spearman = estimator["name"], estimator["metrics"]["spearman"]
            if spearman["mean"] is None:
                continue
            x, y = max(estimator["seconds"], MIN_SECONDS), spearman["mean"]
            points.append((x, y, str(place)))
            if name not in curves:
                is_baseline = name in baselines
                fill = "none" if is_baseline else INK[0]
                axes.plot(
                    x, y, "s" if is_baseline else "o", ms=5, mfc=fill, mec=INK[0], clip_on=False
                )
        seconds = [estimator["seconds"] for estimator in estimators]
        seconds += [x for curve in curves.values() for x in curve["seconds"]]
        _log(axes, np.maximum(seconds, MIN_SECONDS).tolist())
        axes.set(xlabel="seconds per architecture", ylabel="Spearman")
        _label(axes, points)

    return _draw(paint, "costs", "Spearman against seconds per architecture, all estimators")


#: Scores that cost less are drawn here.
MIN_SECONDS = 0.001


def plot_early(
    epochs: Sequence[int], curves: Mapping[str, Sequence[float | None]], effective: int | None
) -> str:
    """Correlation of what trainings from scratch show early, against the epoch.

    Args:
        epochs: Along the axis.
        curves: Spearman by estimator, one for each epoch.
        effective: Epoch to mark, or None.
    """

    def paint(axes: Axes) -> None:
        for i, values in enumerate(curves.values()):
            _line(axes, i, epochs, {"spearman": values}, band=False)
        if effective is not None:
            _mark(axes, effective, f"{effective} epochs")
        axes.locator_params(axis="x", integer=True)
        axes.set(xlabel="epochs of training from scratch", ylabel="Spearman")

    return _draw(paint, "early", f"Spearman against epochs of {', '.join(curves)}")


def plot_scatter(
    name: str,
    truth: NDArray[np.float64],
    places: NDArray[np.int64],
    is_top: NDArray[np.bool_],
    is_diverged: NDArray[np.bool_],
    lowest: float,
    identifier: str,
) -> str:
    """A small panel: truth of every architecture against its place by a score, the best on top.

    Args:
        name: Of the score.
        truth: (num_archs,).
        places: (num_archs,), from 1.
        is_top: Which to draw as diamonds, the best by truth; (num_archs,).
        is_diverged: Which to draw as crosses, in the last place; (num_archs,).
        lowest: Truths below are drawn at this value, as open triangles.
        identifier: Of this panel in its page.
    """
    count = len(truth)
    is_below = truth < lowest
    y = np.where(is_diverged, count, places)
    kinds: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (~(is_top | is_diverged | is_below), {"marker": "o", "color": SERIES[0][0], "alpha": 0.5}),
        (is_below & ~is_diverged, {"marker": "<", "mec": SERIES[0][0], "mfc": "none"}),
        (is_top & ~is_diverged, {"marker": "D", "color": SERIES[1][0]}),
        (is_diverged, {"marker": "x", "color": INK[0]}),
    ]

    def paint(axes: Axes) -> None:
        for chosen, kind in kinds:
            x = np.maximum(truth[chosen], lowest)
            size = 4.5 if kind["marker"] in "Dx" else 3.2
            axes.plot(x, y[chosen], ls="none", ms=size, clip_on=False, **kind)
        axes.axhline(is_top.sum() + 0.5, color=FAINT[0], lw=1)
        margin = 0.04 * count
        axes.set_ylim(count + margin, 1 - margin)
        axes.set_yticks([1, count])
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(labelsize=10.5, length=2)

    label = f"Truth against place by {name}"
    return _draw(paint, identifier, label, width=_PANEL, height=_PANEL, left=30, bottom=24)


def _line(axes: Axes, series: int, x: Any, curve: Mapping[str, Any], *, band: bool = True) -> None:
    colour, _, marker, _ = SERIES[series % len(SERIES)]
    y = np.array(curve["spearman"], dtype=float)  # None is nan
    axes.plot(x, y, color=colour, marker=marker, ms=4.5, lw=1.6)
    if band:
        low, high = (np.array(curve[key], dtype=float) for key in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.13, lw=0)


def _mark(axes: Axes, x: float, text: str) -> None:
    axes.axvline(x, color=INK[0], lw=1, ls=":")
    axes.annotate(
        text, (x, 0), (-4, 5), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="right",
    )  # fmt: skip


def _log(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis from below the least value to above the largest, with few numbers."""
    low, high = min(values) / 1.5, max(values) * 1.5
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Texts beside points, each where it hides least of the others."""
    at = axes.transData.transform(np.reshape([(x, y) for x, y, _ in points], (-1, 2)))
    taken = list(at)
    for (x, y, text), centre in zip(points, at, strict=True):
        reach = 5 + 3 * len(text)
        offsets = [
            (scale * dx, scale * dy)
            for scale in (1, 2)
            for dx, dy in ((0, 10), (0, -10), (reach, 0), (-reach, 0), (reach, 8), (-reach, -8))
        ]
        free = [
            min(max(abs(place - centre - offset) / (12, 10)) for place in taken)
            for offset in np.array(offsets)
        ]
        best = next((i for i, space in enumerate(free) if space >= 1), int(np.argmax(free)))
        taken.append(centre + offsets[best])
        axes.annotate(
            text, (x, y), offsets[best], textcoords="offset points", ha="center",
            va="center", fontsize=11, annotation_clip=False,
        )  # fmt: skip


def _draw(
    paint: Callable[[Axes], None],
    identifier: str,
    label: str,
    *,
    width: int = _WIDTH,
    height: int = _HEIGHT,
    left: int = 52,
    bottom: int = 44,
) -> str:
    """One pair of axes, which ``paint`` fills."""
    text = io.StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        inside = ((width - left - 8) / width, (height - bottom - 8) / height)
        axes = figure.add_axes((left / width, bottom / height, *inside))
        paint(axes)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(text, metadata=metadata)  # type: ignore[no-untyped-call]
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
