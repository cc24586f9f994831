"""Plots of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from estimators.html.svg import FAINT, INK, SERIES, draw, draw_curve, lowest_shown
from estimators.rank_metrics import best_first
from estimators.ranking.report_facts import (
    BASELINES,
    RankingFacts,
    places_of,
    reported_scores,
    truth_of,
)
from supernets.runtime.wording import plural

#: Scores that cost less are drawn here.
MIN_SECONDS = 0.001
Floats = NDArray[np.float64]


def ranking_plots(result: Mapping[str, Any], facts: RankingFacts) -> dict[str, Markup]:
    """Draws "costs", and "budgets" and "early" where there is something to draw."""
    curves, early = result["curves"], result["early"]

    def paint_budgets(axes: Axes) -> None:
        for i, curve in enumerate(curves.values()):
            band = curve["low"], curve["high"]
            draw_curve(axes, i, curve["num_steps"], curve["spearman"], band)
        if facts.settled_num_steps is not None:
            _mark(axes, facts.settled_num_steps, f"B = {facts.settled_num_steps}")
        _log(axes, [step for curve in curves.values() for step in curve["num_steps"]])
        axes.set(xlabel="B, extra training steps", ylabel="Spearman")

    def paint_early(axes: Axes) -> None:
        for i, values in enumerate(early["spearman"].values()):
            draw_curve(axes, i, early["epochs"], values)
        if facts.effective_budget is not None:
            _mark(axes, facts.effective_budget, plural(facts.effective_budget, "epoch"))
        axes.locator_params(axis="x", integer=True)
        axes.set(xlabel="epochs of training from scratch", ylabel="Spearman")

    def paint_costs(axes: Axes) -> None:
        _paint_costs(axes, result["estimators"], curves)

    plots = {
        "costs": draw(
            paint_costs, "costs", "Spearman against seconds per architecture, all estimators"
        )
    }
    if curves:
        label = f"Spearman against B of {', '.join(curves)}"
        plots["budgets"] = draw(paint_budgets, "budgets", label)
    if early is not None:
        label = f"Spearman against epochs of {', '.join(early['spearman'])}"
        plots["early"] = draw(paint_early, "early", label)
    return plots


def _paint_costs(
    axes: Axes, estimators: Sequence[Mapping[str, Any]], curves: Mapping[str, Mapping[str, Any]]
) -> None:
    """Lines of scores of curves, and a point for every other, with its place beside it."""
    points: list[tuple[float, float, str]] = []
    for i, curve in enumerate(curves.values()):
        draw_curve(axes, i, np.maximum(curve["seconds"], MIN_SECONDS), curve["spearman"])
    for place, estimator in enumerate(estimators, 1):
        name, spearman = estimator["name"], estimator["metrics"]["spearman"]["mean"]
        if spearman is None:
            continue
        x = max(estimator["seconds"], MIN_SECONDS)
        points.append((x, spearman, str(place)))
        if name not in curves:
            marker, fill = ("s", "none") if name in BASELINES else ("o", INK[0])
            axes.plot(x, spearman, marker, ms=5, mfc=fill, mec=INK[0], clip_on=False)
    seconds = [estimator["seconds"] for estimator in estimators]
    seconds += [x for curve in curves.values() for x in curve["seconds"]]
    _log(axes, np.maximum(seconds, MIN_SECONDS).tolist())
    axes.set(xlabel="seconds per architecture", ylabel="Spearman")
    _label(axes, points)


def ranking_panels(result: Mapping[str, Any]) -> tuple[list[Markup], float, int]:
    """Draws a panel for each estimator, of its scores on the first supernet.

    Returns:
        The panels, the least truth that is drawn, and how many are worth less, which stand there.
    """
    truth = truth_of(result)
    is_top = np.isin(np.arange(len(truth)), best_first(truth)[: result["top_k"]])
    known = truth[np.isfinite(truth)]
    lowest = lowest_shown(known)
    plots = []
    for i, estimator in enumerate(result["estimators"]):
        name, scores = estimator["name"], reported_scores(result, estimator["name"])
        plots.append(plot_scatter(name, truth, scores, is_top, lowest, f"places-{i}"))
    return plots, lowest, int((known < lowest).sum())


def plot_scatter(
    name: str,
    truth: Floats,
    scores: Floats,
    is_top: NDArray[np.bool_],
    lowest: float,
    identifier: str,
) -> Markup:
    """Plots a panel: truth of every architecture against its place by a score, the best on top.

    Args:
        name: Name of the score.
        truth: True values, (num_archs,).
        scores: Scores, nan where it diverged, which is drawn as a cross in the last place.
        is_top: Which to draw as diamonds, the best by truth; (num_archs,).
        lowest: Truths below are drawn at this value, as open triangles.
        identifier: Name of this panel, unique in its page.
    """
    count, is_below, is_diverged = len(truth), truth < lowest, np.isnan(scores)
    x, y = np.maximum(truth, lowest), np.where(is_diverged, count, places_of(scores))
    kinds: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (~(is_top | is_diverged | is_below), {"marker": "o", "color": SERIES[0][0], "alpha": 0.5}),
        (is_below & ~is_diverged, {"marker": "<", "mec": SERIES[0][0], "mfc": "none"}),
        (is_top & ~is_diverged, {"marker": "D", "color": SERIES[1][0], "ms": 4.5}),
        (is_diverged, {"marker": "x", "color": INK[0], "ms": 4.5}),
    ]

    def paint(axes: Axes) -> None:
        for chosen, kind in kinds:
            axes.plot(x[chosen], y[chosen], ls="none", clip_on=False, **{"ms": 3.2, **kind})
        axes.axhline(is_top.sum() + 0.5, color=FAINT[0], lw=1)
        axes.set_ylim(1.04 * count, 1 - 0.04 * count)
        axes.set_yticks([1, count])
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(labelsize=10.5, length=2)

    label = f"Truth against place by {name}"
    return draw(paint, identifier, label, width=170, height=170, left=30, bottom=24)


def _mark(axes: Axes, x: float, text: str) -> None:
    axes.axvline(x, color=INK[0], lw=1, ls=":")
    at = ("data", "axes fraction")
    axes.annotate(text, (x, 0), (-4, 5), xycoords=at, textcoords="offset points", ha="right")


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
        around = np.array([(0, 10), (0, -10), (reach, 0), (-reach, 0), (reach, 8), (-reach, -8)])
        offsets = np.concatenate([around, 2 * around])
        free = [min(max(abs(p - centre - o) / (12, 10)) for p in taken) for o in offsets]
        best = next((i for i, space in enumerate(free) if space >= 1), int(np.argmax(free)))
        taken.append(centre + offsets[best])
        axes.annotate(
            text, (x, y), offsets[best], textcoords="offset points", ha="center",
            va="center", fontsize=11, annotation_clip=False,
        )  # fmt: skip
