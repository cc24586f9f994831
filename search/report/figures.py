"""Plots of the page about searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from estimators.html.svg import FAINT, INK, LINES, RAMP, SERIES, draw, draw_figure
from search.report.replay import RoundQuality
from search.report.statistics import Curve
from supernets.export.cell_drawing import cells_figure
from supernets.spaces import Architecture, CellSpace

Floats = NDArray[np.float64]

#: Steps of the ramp that the last rounds of predictions have.
LATE_STEPS = (1, 3, 5)
#: Of a small plot that stands beside others.
_WIDTH, _HEIGHT = 290, 240
_LEFT = 62


def progress_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Returns what to show of best scores: from the lowest mean after a tenth to the top.

    Bands may reach out of it.
    """
    low = min(curve.mean[len(curve.mean) // 10] for curve in curves)
    high = max(curve.mean[-1] for curve in curves)
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    ends = [curve.high[-1] for curve in curves if np.isfinite(curve.high[-1])]
    reach = min(max(ends, default=high), high + 0.6 * (high - low))
    return float(low - margin), float(max(high, reach) + margin)


def plot_progress(
    curves: Mapping[str, Curve],
    series: Mapping[str, int],
    visible: tuple[float, float],
    *,
    unit: str,
    identifier: str,
) -> str:
    """Plots the best so far against what was spent, with bands.

    Args:
        curves: Curves by label.
        series: Number of each label's series, which colours go by.
        visible: Ends of the axis of scores.
        unit: Unit of what was spent, such as "queries".
        identifier: Name of this plot, unique in its page.
    """

    def paint(axes: Axes) -> None:
        for label, curve in curves.items():
            _line(axes, series[label], curve, steps=True)
        axes.set_ylim(visible)
        axes.set_xlim(left=0)
        if unit == "queries":
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        axes.set(xlabel=unit, ylabel="best score so far")

    title = f"Best score so far against {unit} of {', '.join(curves)}"
    return draw(paint, identifier, title, left=_LEFT)


def plot_quality(curves: Mapping[str, Curve], series: Mapping[str, int], identifier: str) -> str:
    """Plots Kendall's tau of predictions for the next trials, against those before them.

    Args:
        curves: Curves by label.
        series: Number of each label's series, which colours go by.
        identifier: Name of this plot, unique in its page.
    """

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=FAINT[0], lw=1)
        for label, curve in curves.items():
            _line(axes, series[label], curve, steps=False)
        lows = [value for curve in curves.values() for value in curve.mean]
        axes.set_ylim(min(-0.25, min(lows) - 0.1), 1.02)
        axes.set_xlim(left=0)
        axes.set(xlabel="trials before the round", ylabel="Kendall τ")

    return draw(paint, identifier, f"Kendall τ of predictions by round of {', '.join(curves)}")


def plot_predictions(rounds: Sequence[Sequence[RoundQuality]], name: str, identifier: str) -> str:
    """Plots measured against predicted scores.

    Args:
        rounds: The rounds of all runs, grouped by the time they were predicted at and in its order;
            the last three groups are coloured, those before them stand back.
        name: Label of the group whose predictions these are.
        identifier: Name of this plot, unique in its page.
    """
    num_faint = max(len(rounds) - len(LATE_STEPS), 0)

    def paint(axes: Axes) -> None:
        for i, judged in enumerate(rounds):
            x = np.concatenate([each.predicted for each in judged])
            y = np.concatenate([each.measured for each in judged])
            if i < num_faint:
                axes.plot(x, y, "o", ms=3, color=FAINT[0], alpha=0.6, clip_on=False)
            else:
                colour, marker = RAMP[LATE_STEPS[i - num_faint]][0], SERIES[i - num_faint][2]
                axes.plot(x, y, marker, ms=4, color=colour, alpha=0.9, clip_on=False)
        ends = np.array([axes.get_xlim(), axes.get_ylim()])
        axes.axline(
            (ends[:, 0].max(), ends[:, 0].max()), slope=1, color=INK[0], lw=1, ls=":", zorder=0
        )
        axes.set(xlim=ends[0], ylim=ends[1], xlabel="predicted score", ylabel="measured score")
        axes.locator_params(nbins=5)

    label = f"Measured against predicted scores of {name}"
    return draw(paint, identifier, label, left=_LEFT)


def plot_front(
    points: Mapping[str, tuple[Floats, Floats]],
    series: Mapping[str, int],
    front: tuple[Floats, Floats],
    lowest: float,
    identifier: str,
) -> str:
    """Plots scores against MACs, marking those that nothing beats in both.

    Args:
        points: Million MACs and scores by label.
        series: Number of each label's series, which colours go by.
        front: Million MACs and scores of the marked architectures, in the order of MACs.
        lowest: Scores below are drawn at this value, as open triangles.
        identifier: Name of this plot, unique in its page.
    """

    def paint(axes: Axes) -> None:
        for label, (macs, scores) in points.items():
            colour, _, marker, _ = SERIES[series[label] % len(SERIES)]
            is_below = scores < lowest
            axes.plot(
                macs[~is_below], scores[~is_below], marker, ms=3.5, color=colour, alpha=0.45,
                clip_on=False,
            )  # fmt: skip
            axes.plot(
                macs[is_below], np.full(is_below.sum(), lowest), "v", ms=3.5, mec=colour,
                mfc="none", clip_on=False,
            )  # fmt: skip
        macs, scores = front
        axes.plot(macs, np.maximum(scores, lowest), color=INK[0], lw=1.2, drawstyle="steps-post")
        is_shown = scores >= lowest
        axes.plot(macs[is_shown], scores[is_shown], "D", ms=5.5, mfc="none", mec=INK[0], mew=1.3)
        axes.set(xlabel="million MACs", ylabel="score")

    title = f"Scores against MACs of {', '.join(points)}, with the Pareto front"
    return draw(paint, identifier, title, left=_LEFT)


def plot_map(
    places: Floats, steps: NDArray[np.int64], best: int, name: str, identifier: str
) -> str:
    """Plots a map of architectures, coloured by when they were asked for.

    Args:
        places: Position of each architecture on the map, (num_archs, 2).
        steps: Step of each architecture on the colour ramp, (num_archs,).
        best: Index of the architecture to mark.
        name: Label of the group whose architectures these are.
        identifier: Name of this plot, unique in its page.
    """

    def paint(axes: Axes) -> None:
        for step in np.unique(steps):
            x, y = places[steps == step].T
            axes.plot(x, y, "o", ms=4.5, color=RAMP[step][0], clip_on=False)
        axes.plot(*places[best], "D", ms=9, mfc="none", mec=SERIES[1][0], mew=2, clip_on=False)
        axes.set(xticks=[], yticks=[])
        axes.margins(0.08)

    label = f"t-SNE map of the trials of {name} by round"
    return draw(paint, identifier, label, width=_WIDTH, height=_HEIGHT, left=8, bottom=8)


def plot_cells(space: CellSpace, arch: Architecture, identifier: str) -> str:
    """Draws the cells of an architecture; the page has to give them a white ground."""
    label = f"Cells of {space.format(arch)}"
    return draw_figure(lambda: cells_figure(space, arch), identifier, label)


def _line(axes: Axes, series: int, curve: Curve, *, steps: bool) -> None:
    colour, _, marker, _ = SERIES[series % len(SERIES)]
    line = LINES[series // len(SERIES) % len(LINES)]
    axes.plot(
        curve.x, curve.mean, line, color=colour, lw=1.6, marker=marker, ms=4.5,
        markevery=max(len(curve.x) // 6, 1) if steps else None,
        drawstyle="steps-post" if steps else "default",
    )  # fmt: skip
    if np.isfinite(curve.low).all():
        axes.fill_between(
            curve.x, curve.low, curve.high, color=colour, alpha=0.13, lw=0,
            step="post" if steps else None,
        )  # fmt: skip
