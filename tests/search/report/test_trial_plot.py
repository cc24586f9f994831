"""The picture of a search: what is written into it lies within its frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from estimators.trials.store import Trial
from search.report import trial_plot as report
from search.report.trial_plot import plot_trials
from supernets.spaces import NASBench201Space

SPACE = NASBench201Space()


@pytest.mark.parametrize("best_is_heaviest", [True, False])
@pytest.mark.parametrize("lowest", [50.0, -1e4])
def test_the_label_of_the_best_trial_is_within_the_frame(
    best_is_heaviest: bool, lowest: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(report, "write_png", lambda figure, path: drawn.append(figure))
    archs = [SPACE.architecture([i // 5, i % 5, 0, 0, 0, 0]) for i in range(20)]
    scores = [lowest, *(60.0 + i for i in range(19))]
    trials = [Trial(i, archs[i], scores[i], {}, 0.0, None) for i in range(20)]
    costs = {arch: i if best_is_heaviest else 20 - i for i, arch in enumerate(archs)}
    plot_trials(trials, tmp_path / "x.png", score_name="tse", macs=lambda arch: costs[arch] * 10**6)
    (figure,) = drawn
    figure.draw_without_rendering()
    axes = figure.axes[1]
    (label,) = [text for text in axes.texts if isinstance(text, Annotation)]
    assert label.get_text() == "best: trial 19"
    frame, box = axes.get_window_extent(), label.get_window_extent()
    assert frame.x0 < box.x0 and box.x1 < frame.x1
    assert frame.y0 < box.y0 and box.y1 < frame.y1
