"""A picture of a search: scores in the order of the trials, and against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from estimators.trials import Trial
from supernets.atomic import atomic_write
from supernets.spaces import Architecture


def plot_trials(
    trials: Sequence[Trial],
    path: Path,
    *,
    score_name: str,
    macs: Callable[[Architecture], int],
) -> None:
    """Draws the successful trials as a PNG file.

    Args:
        trials: In the order of their numbers; at least one of them succeeded.
        path: The file, replaced atomically.
        score_name: What the scores are, for the axis.
        macs: Multiply-accumulates of an architecture.
    """
    scored = [(trial, trial.score) for trial in trials if trial.score is not None]
    numbers = [trial.number for trial, _ in scored]
    scores = np.array([score for _, score in scored])
    millions = [macs(trial.arch) / 1e6 for trial, _ in scored]
    best = int(scores.argmax())

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.scatter(numbers, scores, s=14, alpha=0.6, label="trials")
    left.step(numbers, np.maximum.accumulate(scores), where="post", color="C1", label="best so far")
    left.set(xlabel="trial", ylabel=f"score ({score_name}, higher is better)")
    left.legend(loc="lower right", framealpha=0.8)
    points = right.scatter(millions, scores, c=numbers, s=14, cmap="viridis")
    right.scatter([millions[best]], [scores[best]], s=90, facecolors="none", edgecolors="C3")
    right.annotate(
        f"best: trial {numbers[best]}",
        (millions[best], scores[best]),
        xytext=(-10, 8),
        textcoords="offset points",
        ha="right",
        color="C3",
    )
    right.set(xlabel="MMACs")
    figure.colorbar(points, ax=right, label="trial")
    # A few bad cells may lie far below; the picture shows the upper nine tenths and says so.
    low = float(np.quantile(scores, 0.1))
    if scores.min() < low - 2 * (scores.max() - low):
        hidden = int((scores < low).sum())
        margin = 0.08 * (scores.max() - low)
        left.set_ylim(low - margin, scores.max() + margin)
        left.set_title(f"{hidden} trials lie below", fontsize=9)
    with atomic_write(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
