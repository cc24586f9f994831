"""A picture of a search: scores in the order of the trials, and against cost if that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from estimators.trials.store import Trial
from supernets.runtime.figures import write_png
from supernets.runtime.wording import plural
from supernets.spaces import Architecture

#: Trials that are drawn as points, at most about.
MAX_POINTS = 5000
#: Part of the range of scores that is free above and below, for the label of the best.
HEADROOM = 0.15


def plot_trials(
    trials: Sequence[Trial],
    path: Path,
    *,
    score_name: str,
    macs: Callable[[Architecture], int] | None,
) -> None:
    """Draws the successful trials as a PNG file.

    Args:
        trials: The trials in the order of their numbers, at least one of which succeeded.
        path: The file, replaced atomically.
        score_name: Name of what the scores are, for the axis.
        macs: Multiply-accumulates of an architecture; None if they are not known, for a picture
            without them.
    """
    scored = [(trial, trial.score) for trial in trials if trial.score is not None]
    numbers = [trial.number for trial, _ in scored]
    scores = np.array([score for _, score in scored])
    num_panels = 1 if macs is None else 2
    figure = Figure(figsize=(4.5 * num_panels, 4), layout="constrained")
    left, *others = figure.subplots(1, num_panels, sharey=True, squeeze=False)[0]
    step = -(-len(scored) // MAX_POINTS)
    left.scatter(numbers[::step], scores[::step], s=14, alpha=0.6, label="trials")
    left.step(numbers, np.maximum.accumulate(scores), where="post", color="C1", label="best so far")
    left.set(xlabel="trial", ylabel=f"score ({score_name}, higher is better)")
    left.legend(loc="lower right", framealpha=0.8)
    left.margins(y=HEADROOM)
    if macs is not None:
        shown = sorted({*range(0, len(scored), step), int(scores.argmax())})
        millions = [macs(scored[i][0].arch) / 1e6 for i in shown]
        _plot_over_macs(others[0], millions, scores[shown], [numbers[i] for i in shown])
    # A few bad cells may lie far below; the picture shows the upper nine tenths and says so.
    low = float(np.quantile(scores, 0.1))
    if scores.min() < low - 2 * (scores.max() - low):
        hidden = int((scores < low).sum())
        margin = HEADROOM * (scores.max() - low)
        left.set_ylim(low - margin, scores.max() + margin)
        left.set_title(f"below this: {plural(hidden, 'trial')}", fontsize=9)
    write_png(figure, path)


def _plot_over_macs(
    axes: Axes, millions: Sequence[float], scores: NDArray[np.float64], numbers: Sequence[int]
) -> None:
    best = int(scores.argmax())
    points = axes.scatter(millions, scores, c=numbers, s=14, cmap="viridis")
    axes.scatter([millions[best]], [scores[best]], s=90, facecolors="none", edgecolors="C3")
    is_left = 2 * millions[best] < min(millions) + max(millions)
    axes.annotate(
        f"best: trial {numbers[best]}",
        (millions[best], scores[best]),
        xytext=(10 if is_left else -10, 8),
        textcoords="offset points",
        ha="left" if is_left else "right",
        color="C3",
    )
    axes.set(xlabel="MMACs")
    axes.figure.colorbar(points, ax=axes, label="trial")
