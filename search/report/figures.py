"""Plots of the page about searches, each with what its caption says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from estimators.html import svg
from estimators.html.svg import FAINT, INK, RAMP, SERIES
from search.report.facts import ComparisonFacts, Found
from search.report.groups import Comparison, RunGroup
from search.report.recorded_runs import RecordedRun
from search.report.replay import RoundQuality
from search.report.statistics import (
    MAX_QUERIES,
    Curve,
    curve_over_queries,
    curve_over_seconds,
    is_on_front,
    tsne,
)
from supernets.export.cell_drawing import cells_figure
from supernets.spaces import Architecture, CellSpace

Floats = NDArray[np.float64]
#: CSS variable of a colour, sign, and what both stand for.
Key = tuple[str, str, str]

#: Runs measured in less say nothing about seconds.
MIN_SECONDS = 1.0
#: Architectures whose cells are drawn.
NUM_DRAWN = 3
#: Steps of the ramp that the last rounds of predictions have.
LATE_STEPS = (1, 3, 5)
#: Runs with fewer trials get no map, and only as many are on one.
MIN_MAPPED, MAX_MAPPED = 30, 500
#: Trials of a group that are drawn against MACs, at most.
MAX_POINTS = 2000
#: Space left of the axes for scores, in SVG units.
_LEFT = 62


class ProgressFigure(NamedTuple):
    """Best scores so far against "queries" or "seconds", of the groups with these labels.

    Curves leave the plot below ``cut_below``, None if none does; ``is_thinned`` where not all
    queries are drawn.
    """

    plot: Markup
    unit: str
    labels: Sequence[str]
    cut_below: float | None
    is_thinned: bool


class FrontFigure(NamedTuple):
    """Scores against MACs, and the architectures of the Pareto front, by MACs.

    The ``num_below`` trials below ``lowest`` stand there; ``is_thinned`` where not all are drawn.
    """

    plot: Markup
    found: Sequence[Found]
    lowest: float
    num_below: int
    is_thinned: bool


class MapFigure(NamedTuple):
    """Where one run of a group searched: so many of its trials, coloured by the keys."""

    plot: Markup
    label: str
    run: RecordedRun
    num_shown: int
    keys: Sequence[Key]


def cell_plots(facts: ComparisonFacts, suffix: str) -> list[Markup]:
    """Draws the cells of the best architectures; the page has to give them a white ground."""
    return [
        svg.draw_figure(
            partial(cells_figure, found.run.space, found.trial.arch),
            f"cells{suffix}-{i}",
            f"Cells of {found.architecture}",
        )
        for i, found in enumerate(facts.best[:NUM_DRAWN])
        if isinstance(found.run.space, CellSpace)
    ]


def progress_figures(comparison: Comparison, suffix: str) -> list[ProgressFigure]:
    """Draws the best so far against queries, and against seconds if there are any to speak of."""
    seconds = max(sum(trial.seconds for trial in run.trials) for run in comparison.runs)
    units = ("queries", "seconds") if seconds >= MIN_SECONDS else ("queries",)
    figures = [_progress_figure(comparison, unit, suffix) for unit in units]
    return [figure for figure in figures if figure is not None]


def _progress_figure(comparison: Comparison, unit: str, suffix: str) -> ProgressFigure | None:
    curve_of = curve_over_queries if unit == "queries" else curve_over_seconds
    curves = {g.label: curve for g in comparison.groups if len((curve := curve_of(g)).x)}
    if not curves:
        return None
    low, high = _progress_range(list(curves.values()))

    def paint(axes: Axes) -> None:
        for label, curve in curves.items():
            steps: dict[str, Any] = {
                "markevery": max(len(curve.x) // 6, 1),
                "drawstyle": "steps-post",
            }
            _curve(axes, comparison.series[label], curve, **steps)
        axes.set_ylim(low, high)
        axes.set_xlim(left=0)
        if unit == "queries":
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        axes.set(xlabel=unit, ylabel="best score so far")

    title = f"Best score so far against {unit} of {', '.join(curves)}"
    is_cut = min(curve.mean.min() for curve in curves.values()) < low
    return ProgressFigure(
        plot=svg.draw(paint, f"progress-{unit}{suffix}", title, left=_LEFT),
        unit=unit,
        labels=list(curves),
        cut_below=low if is_cut else None,
        is_thinned=unit == "queries" and max(c.x[-1] for c in curves.values()) > MAX_QUERIES,
    )


def _progress_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """What to show of best scores: from the lowest mean after a tenth to the top.

    Bands may reach out of it.
    """
    low = min(curve.mean[len(curve.mean) // 10] for curve in curves)
    high = max(curve.mean[-1] for curve in curves)
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    ends = [curve.high[-1] for curve in curves if np.isfinite(curve.high[-1])]
    reach = min(max(ends, default=high), high + 0.6 * (high - low))
    return float(low - margin), float(max(high, reach) + margin)


def quality_plot(comparison: Comparison, curves: Mapping[str, Curve], suffix: str) -> Markup:
    """Draws Kendall's tau of predictions for the next trials, against those before them."""

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=FAINT[0], lw=1)
        for label, curve in curves.items():
            _curve(axes, comparison.series[label], curve)
        lowest = min(curve.mean.min() for curve in curves.values())
        axes.set_ylim(min(-0.25, lowest - 0.1), 1.02)
        axes.set_xlim(left=0)
        axes.set(xlabel="trials before the round", ylabel="Kendall τ")

    label = f"Kendall τ of predictions by round of {', '.join(curves)}"
    return svg.draw(paint, f"quality{suffix}", label)


def predictions_plot(
    rounds: Sequence[Sequence[RoundQuality]], label: str, identifier: str
) -> tuple[Markup, list[Key]]:
    """Draws measured against predicted scores, and says what the colours stand for.

    Args:
        rounds: The rounds of all runs, grouped by the time they were predicted at and in its order;
            the last three groups are coloured, those before them stand back.
        label: Label of the group whose predictions these are.
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
        start = ends[:, 0].max()
        axes.axline((start, start), slope=1, color=INK[0], lw=1, ls=":", zorder=0)
        axes.set(xlim=ends[0], ylim=ends[1], xlabel="predicted score", ylabel="measured score")
        axes.locator_params(nbins=5)

    plot = svg.draw(paint, identifier, f"Measured against predicted scores of {label}", left=_LEFT)
    late = zip(LATE_STEPS, SERIES, rounds[num_faint:], strict=False)
    return plot, [
        (f"ramp-{step}", sign, f"after {judged[0].num_before} trials")
        for step, (*_, sign), judged in late
    ]


def front_figure(facts: ComparisonFacts, suffix: str) -> FrontFigure | None:
    """Draws scores against MACs and marks what nothing beats in both; None if MACs are unknown."""
    comparison, best = facts.comparison, facts.best
    if not all(run.costs for run in comparison.runs):
        return None
    points: dict[str, tuple[Floats, Floats]] = {}
    is_thinned = False
    for group in comparison.groups:
        pairs = [
            (run.costs[trial.arch].macs / 1e6, trial.score)
            for run in group.runs
            for trial in run.trials
            if trial.score is not None
        ]
        macs, scores = np.array(pairs[:: -(-len(pairs) // MAX_POINTS)], np.float64).T
        points[group.label] = (macs, scores)
        is_thinned |= len(macs) < len(pairs)
    macs = np.array([found.run.costs[found.trial.arch].macs / 1e6 for found in best])
    scores = np.array([found.score for found in best])
    chosen = np.flatnonzero(is_on_front(macs, scores))
    chosen = chosen[np.lexsort((-scores[chosen], macs[chosen]))]
    lowest = svg.lowest_shown(np.concatenate([each for _, each in points.values()]))

    def paint(axes: Axes) -> None:
        for label, (x, y) in points.items():
            colour, _, marker, _ = SERIES[comparison.series[label] % len(SERIES)]
            low, high = x[y < lowest], y >= lowest
            rest: dict[str, Any] = {"ms": 3.5, "clip_on": False}
            axes.plot(x[high], y[high], marker, color=colour, alpha=0.45, **rest)
            axes.plot(low, np.full(len(low), lowest), "v", mec=colour, mfc="none", **rest)
        x, y = macs[chosen], scores[chosen]
        axes.plot(x, np.maximum(y, lowest), color=INK[0], lw=1.2, drawstyle="steps-post")
        x, y = x[y >= lowest], y[y >= lowest]
        axes.plot(x, y, "D", ms=5.5, mfc="none", mec=INK[0], mew=1.3)
        axes.set(xlabel="million MACs", ylabel="score")

    title = f"Scores against MACs of {', '.join(points)}, with the Pareto front"
    return FrontFigure(
        plot=svg.draw(paint, f"front{suffix}", title, left=_LEFT),
        found=[best[i] for i in chosen],
        lowest=lowest,
        num_below=sum(int((y < lowest).sum()) for _, y in points.values()),
        is_thinned=is_thinned,
    )


def map_figures(comparison: Comparison, suffix: str) -> list[MapFigure]:
    """Draws where the first run of each group searched, on one map that all share."""
    groups = [each for each in comparison.groups if len(each.runs[0].trials) >= MIN_MAPPED]
    if not groups:
        return []
    runs = [group.runs[0] for group in groups]
    each = max(MAX_MAPPED // len(runs), MIN_MAPPED)
    shown = [np.unique(np.linspace(0, len(r.trials) - 1, each).round()).astype(int) for r in runs]
    archs = [r.trials[i].arch for r, chosen in zip(runs, shown, strict=True) for i in chosen]
    archs = list(dict.fromkeys(archs))
    places = dict(zip(archs, tsne(runs[0].space, archs), strict=True))
    return [
        _map_figure(group, chosen.tolist(), places, f"map{suffix}-{i}")
        for i, (group, chosen) in enumerate(zip(groups, shown, strict=True))
    ]


def _map_figure(
    group: RunGroup, chosen: list[int], places: Mapping[Architecture, Floats], identifier: str
) -> MapFigure:
    run = group.runs[0]
    trials, parts = run.trials, _steps(run.rounds)
    best = max(chosen, key=lambda i: -np.inf if (score := trials[i].score) is None else score)

    def paint(axes: Axes) -> None:
        for step, part in parts:
            at = [places[trials[i].arch] for i in chosen if i in part]
            if at:
                axes.plot(*np.transpose(at), "o", ms=4.5, color=RAMP[step][0], clip_on=False)
        x, y = places[trials[best].arch]
        axes.plot(x, y, "D", ms=9, mfc="none", mec=SERIES[1][0], mew=2, clip_on=False)
        axes.set(xticks=[], yticks=[])
        axes.margins(0.08)

    label = f"t-SNE map of the trials of {group.label} by round"
    plot = svg.draw(paint, identifier, label, width=290, height=240, left=8, bottom=8)
    keys = [(f"ramp-{step}", "●", f"{part.start + 1}–{part.stop}") for step, part in parts]
    return MapFigure(plot, group.label, run, len(chosen), keys)


def _steps(rounds: Sequence[range]) -> list[tuple[int, range]]:
    """Steps of the ramp, and the positions of the trials that have that colour."""
    parts = np.array_split(np.arange(len(rounds)), min(len(RAMP), len(rounds)))
    steps = np.linspace(0, len(RAMP) - 1, len(parts)).round().astype(int)
    return [
        (int(step), range(rounds[part[0]].start, rounds[part[-1]].stop))
        for step, part in zip(steps, parts, strict=True)
    ]


def _curve(axes: Axes, series: int, curve: Curve, **style: Any) -> None:
    band = (curve.low, curve.high) if np.isfinite(curve.low).all() else ()
    svg.draw_curve(axes, series, curve.x, curve.mean, band, **style)
