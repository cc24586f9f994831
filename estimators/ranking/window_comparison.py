"""How well scores rank architectures that cost about the same, within windows of MACs.

Most of what a score says of any architectures may be that the larger ones are better. A search
under a limit of costs has to tell apart those that are about as large as the limit lets them be,
where this says little. So what is free is a baseline here: the MACs themselves, and a random pick,
whose correlation is 0.

What a score puts first is one architecture, or several that tie; then it is worth their mean, which
is what picking one of them is worth on average. A random pick is the tie of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from estimators.bootstrap import Floats, Interval, draw_resamples, interval_of
from estimators.rank_metrics import Comparison, Summary, compare, diverged_last
from estimators.ranking.comparison import plain_summary
from estimators.ranking.macs_windows import MIN_WINDOW_ARCHS, MacsWindow

#: The baseline that is compared with in any case.
MACS = "macs"
CORRELATIONS = ("spearman", "kendall_tau_b")


def compare_windows(
    windows: Sequence[MacsWindow],
    scores: Mapping[str, ArrayLike],
    truth: ArrayLike,
    macs: ArrayLike,
    *,
    notations: Sequence[str],
    num_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Compares scores with the truth, and with what is free, within each window.

    Resamples are of the architectures of a window, the same for all scores and baselines, so that
    differences are paired.

    Args:
        windows: The windows, which may overlap.
        scores: Scores by name, each of shape (num_supernets, num_archs), higher is better, nan
            where an architecture diverged. MACs are compared as well if they are not among them.
        truth: True values, shape (num_archs,), higher is better.
        macs: MACs of the architectures, shape (num_archs,).
        notations: Notation of each architecture.
        num_bootstrap: Number of resamples behind the intervals.
        seed: Seed of the resamples.

    Returns:
        Plain values; nothing in them is nan. A window with fewer than 10 architectures has a
        "problem" and no "estimators".

    Raises:
        ValueError: As ``compare``, or if there is no score.
    """
    tables = {name: np.asarray(table, np.float64) for name, table in scores.items()}
    if not tables:
        raise ValueError("There is no score to compare; give one at least.")
    true, costs = np.asarray(truth, np.float64), np.asarray(macs, np.float64)
    if MACS not in tables:
        tables[MACS] = np.broadcast_to(costs, next(iter(tables.values())).shape)
    held = [window.holds(costs) for window in windows]
    is_outside = ~np.any([np.zeros(len(true), np.bool_), *held], axis=0)
    return {
        "windows": [
            {
                "target": window.target,
                "tolerance": window.tolerance,
                "low": window.low,
                "high": window.high,
                "num_archs": int(inside.sum()),
                **_compare_within(
                    {name: table[:, inside] for name, table in tables.items()},
                    true[inside],
                    num_bootstrap,
                    seed,
                ),
            }
            for window, inside in zip(windows, held, strict=True)
        ],
        "outside": [notations[i] for i in np.flatnonzero(is_outside).tolist()],
    }


def first_truth(scores: ArrayLike, truth: ArrayLike, weights: Floats) -> Floats:
    """Computes the truth of what a score puts first; the mean of those that tie.

    Args:
        scores: Scores, (num_archs,), nan where an architecture diverged, which is below all others.
        truth: True values, (num_archs,).
        weights: How often each resample holds each architecture, (num_bootstrap, num_archs).

    Returns:
        One value for each resample, (num_bootstrap,).
    """
    filled = diverged_last(np.asarray(scores, np.float64))
    best = np.where(weights > 0, filled, -np.inf).max(axis=1, keepdims=True)
    tied = weights * (filled == best)
    return np.asarray(tied @ np.asarray(truth, np.float64) / tied.sum(axis=1), np.float64)


def _compare_within(
    tables: Mapping[str, Floats], truth: Floats, num_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Compares the architectures of one window."""
    num_archs = len(truth)
    if num_archs < MIN_WINDOW_ARCHS:
        problem = f"Only {num_archs} were measured and have a truth; {MIN_WINDOW_ARCHS} are needed."
        return {"problem": problem, "truth": None, "estimators": [], "random": None}
    correlations = compare(tables, truth, k=1, num_bootstrap=num_bootstrap, seed=seed)
    firsts = _Firsts(truth, draw_resamples(num_archs, num_bootstrap, seed))
    found = {name: firsts.of(table) for name, table in tables.items()}
    random = firsts.of(np.zeros((1, num_archs)))
    names = sorted(tables, key=lambda name: -correlations.summary(name, "spearman").mean.value)
    return {
        "problem": None,
        "truth": {
            "mean": float(truth.mean()),
            "sd": float(truth.std()),
            "best": float(truth.max()),
        },
        "estimators": [
            {
                "name": name,
                "metrics": {
                    **{m: plain_summary(correlations.summary(name, m)) for m in CORRELATIONS},
                    **firsts.summaries(found[name]),
                },
                "num_first": [_num_first(row) for row in tables[name]],
                "minus_macs": {
                    **_differences(correlations, name),
                    "first_truth": _plain(_minus(found[name], found[MACS])),
                },
                "minus_random": {"first_truth": _plain(_minus(found[name], random))},
            }
            for name in names
        ],
        "random": firsts.summaries(random),
    }


class _Firsts:
    """What any score puts first, in the window and in its resamples; arrays (num_supernets, …).

    Args:
        truth: True values, (num_archs,).
        weights: How often each resample holds each architecture, (num_bootstrap, num_archs).
    """

    def __init__(self, truth: Floats, weights: Floats) -> None:
        self._truth = truth
        # the window itself is the first row
        self._weights = np.concatenate([np.ones((1, len(truth))), weights])
        self._best = np.where(self._weights > 0, truth, -np.inf).max(axis=1)

    def of(self, table: Floats) -> Floats:
        """Truths of the first of scores (num_supernets, num_archs): (…, 1 + num_bootstrap)."""
        return np.stack([first_truth(row, self._truth, self._weights) for row in table])

    def summaries(self, found: Floats) -> dict[str, Any]:
        """Summarises what ``of`` returned, and how far it lies below the best."""
        both = {"first_truth": found, "regret": self._best - found}
        return {name: plain_summary(_summary(values)) for name, values in both.items()}


def _summary(values: Floats) -> Summary:
    points, resampled = values[:, 0], values[:, 1:]
    return Summary(
        per_supernet=tuple(map(interval_of, points, resampled)),
        mean=interval_of(points.mean(), resampled.mean(axis=0)),
        sd=float(points.std(ddof=1)) if len(points) > 1 else None,
    )


def _minus(first: Floats, second: Floats) -> Interval:
    """The difference of means over supernets, paired by resample."""
    difference = first.mean(axis=0) - second.mean(axis=0)
    return interval_of(difference[0], difference[1:])


def _differences(correlations: Comparison, name: str) -> dict[str, Any]:
    return {metric: _plain(correlations.difference(name, MACS, metric)) for metric in CORRELATIONS}


def _num_first(scores: Floats) -> int:
    filled = diverged_last(scores)
    return int((filled == filled.max()).sum())


def _plain(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
