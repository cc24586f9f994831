"""How well scores rank architectures, with bootstrap intervals and paired differences.

Scores and truths are higher-is-better; a score of nan is a candidate that diverged. Rank
correlations and top-k put those last, tied with each other. Ties share their average rank in
correlations; in the top k the lower index comes first. Scores that order nothing, all being the
same, have a correlation of 0.

All functions raise ``ValueError`` if scores and truth are not of the same architectures, a score is
infinite, a truth is not finite, or ``k`` is not from 1 to the number of architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata

from estimators.bootstrap import (
    Floats,
    Interval,
    Ties,
    correlations,
    draw_resamples,
    interval_of,
)

#: Higher is better for all but ``top_k_regret``.
METRICS = ("spearman", "kendall_tau_b", "pearson", "precision_at_k", "top_k_regret", "top_k_mean")


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes Spearman's rank correlation of (num_archs,) scores with the truth."""
    values, true = _checked(scores, truth)
    ranks, true_ranks = rankdata(diverged_last(values)), rankdata(true)
    return float(correlations(ranks, true_ranks, np.ones((1, len(true))))[0])


def kendall_tau_b(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes Kendall's rank correlation tau-b of (num_archs,) scores with the truth."""
    values, true = _checked(scores, truth)
    ranks = rankdata(diverged_last(values))
    if np.ptp(ranks) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(kendalltau(ranks, true, variant="b").statistic)


def pearson(scores: ArrayLike, truth: ArrayLike) -> float:
    """Computes Pearson's correlation of (num_archs,) scores with the truth, without nan scores."""
    values, true = _checked(scores, truth)
    is_scored = np.isfinite(values)
    return float(correlations(values, true, is_scored[None].astype(np.float64))[0])


def diverged_last(scores: Floats) -> Floats:
    """Puts scores that diverged, nan, below all others; of any shape."""
    return np.where(np.isnan(scores), -np.inf, scores)


def best_first(scores: Floats) -> NDArray[np.int64]:
    """Returns the indices of (num_archs,) scores, the best first; ties by index, nan last."""
    return np.argsort(-diverged_last(scores), kind="stable")


def top_k(scores: ArrayLike, k: int) -> NDArray[np.int64]:
    """Returns indices of the k best (num_archs,) scores, best first; ties by index, nan last."""
    values, _ = _checked(scores, np.zeros(np.shape(scores)))
    _check_k(k, len(values))
    return best_first(values)[:k]


def precision_at_k(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Returns the share of the k best (num_archs,) truths that are among the k of best score."""
    values, true = _checked(scores, truth)
    return float(np.isin(top_k(values, k), top_k(true, k)).mean())


def top_k_regret(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Returns how much the best truth exceeds the best of the k of best score, in its unit."""
    values, true = _checked(scores, truth)
    return float(true.max() - true[top_k(values, k)].max())


def top_k_mean(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Returns the mean truth of the k architectures of best score, in the truth's unit."""
    values, true = _checked(scores, truth)
    return float(true[top_k(values, k)].mean())


@dataclass(frozen=True)
class Summary:
    """One metric of one estimator.

    Args:
        per_supernet: The metric with each supernet.
        mean: Mean of the metric over supernets. The interval is over architectures, with these
            supernets.
        sd: Standard deviation over supernets, with num_supernets - 1 in the denominator; None of
            one supernet.
    """

    per_supernet: tuple[Interval, ...]
    mean: Interval
    sd: float | None


class Comparison:
    """Estimators compared on the same architectures and resamples; ``compare`` makes one.

    Args:
        points: Metrics by estimator, each of shape (num_metrics, num_supernets).
        resampled: Metrics in the resamples by estimator, each of shape (num_metrics, num_supernets,
            num_bootstrap).
        diverged: Indices of the architectures without a score: by estimator, for each supernet.

    Example:
        >>> truth = [91.0, 92.5, 90.1, 93.7, 89.2]
        >>> scores = {"tse": [[-150.0, -140.0, -160.0, -120.0, -170.0]], "macs": [[3, 2, 1, 5, 4]]}
        >>> comparison = compare(scores, truth, k=2, num_bootstrap=50)
        >>> comparison.names
        ('tse', 'macs')
        >>> comparison.summary("tse", "spearman").mean.value
        1.0
    """

    def __init__(
        self,
        points: Mapping[str, Floats],
        resampled: Mapping[str, Floats],
        diverged: Mapping[str, tuple[tuple[int, ...], ...]],
    ) -> None:
        self.names = tuple(points)
        self.diverged = diverged
        self._points = points
        self._resampled = resampled

    def summary(self, name: str, metric: str) -> Summary:
        """Summarises a metric of an estimator.

        Raises:
            ValueError: If either is unknown.
        """
        points, resampled = self._select(name, metric)
        return Summary(
            per_supernet=tuple(map(interval_of, points, resampled)),
            mean=interval_of(points.mean(), resampled.mean(axis=0)),
            sd=float(points.std(ddof=1)) if len(points) > 1 else None,
        )

    def difference(self, a: str, b: str, metric: str) -> Interval:
        """Returns a metric of ``a`` less that of ``b``: means over supernets, paired by resample.

        Raises:
            ValueError: If a name is unknown.
        """
        return interval_of(*self._differences(a, b, metric))

    def share_greater(self, a: str, b: str, metric: str) -> float:
        """Returns the share of the resamples where ``a``'s mean over supernets exceeds ``b``'s.

        Raises:
            ValueError: If a name is unknown.
        """
        _, resampled = self._differences(a, b, metric)
        return float((resampled > 0).mean())

    def _differences(self, a: str, b: str, metric: str) -> tuple[float, Floats]:
        """Returns differences of means over supernets: the one found, and (num_bootstrap,)."""
        (points, resampled), (points_b, resampled_b) = (self._select(n, metric) for n in (a, b))
        return points.mean() - points_b.mean(), resampled.mean(axis=0) - resampled_b.mean(axis=0)

    def _select(self, name: str, metric: str) -> tuple[Floats, Floats]:
        """Shapes (num_supernets,) and (num_supernets, num_bootstrap)."""
        if name not in self.names:
            raise ValueError(f"Unknown estimator {name!r}; choose from {', '.join(self.names)}.")
        if metric not in METRICS:
            raise ValueError(f"Unknown metric {metric!r}; choose from {', '.join(METRICS)}.")
        index = METRICS.index(metric)
        return self._points[name][index], self._resampled[name][index]


def compare(
    scores: Mapping[str, ArrayLike],
    truth: ArrayLike,
    *,
    k: int = 10,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compares estimators by how they rank the same architectures.

    The architectures are resampled with replacement, the same for all estimators and supernets, so
    that differences are paired. Needs memory for a few (num_archs, num_archs) arrays.

    Args:
        scores: Scores by estimator, each of shape (num_supernets, num_archs), higher is better.
        truth: True values, shape (num_archs,), higher is better.
        k: Number of architectures that count as the top.
        num_bootstrap: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: If there is no estimator, shapes differ, a score is infinite, a truth not
            finite, or a number out of range.
    """
    tables = {name: np.asarray(table, np.float64) for name, table in scores.items()}
    shapes = {table.shape for table in tables.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or not shape[0]:
        raise ValueError(
            "A comparison needs one or more estimators with scores of one shape (num_supernets, "
            f"num_archs), got {', '.join(f'{n} {t.shape}' for n, t in tables.items()) or 'none'}."
        )
    for table in tables.values():
        for row in table:
            _, true = _checked(row, truth)
    _check_k(k, shape[1])
    whole = _Resamples(true, k, np.ones((1, shape[1])))
    resamples = _Resamples(true, k, draw_resamples(shape[1], num_bootstrap, seed))

    def of_all(metrics: _Resamples, table: Floats) -> Floats:
        return np.stack([metrics.all(row) for row in table], axis=1)

    return Comparison(
        points={name: of_all(whole, table)[..., 0] for name, table in tables.items()},
        resampled={name: of_all(resamples, table) for name, table in tables.items()},
        diverged={
            name: tuple(tuple(np.flatnonzero(np.isnan(row)).tolist()) for row in table)
            for name, table in tables.items()
        },
    )


def rank_correlation_curve(
    prefix_scores: ArrayLike,
    truth: ArrayLike,
    at: Sequence[int],
    *,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[Interval, ...]:
    """Computes Spearman's correlation with the truth after some numbers of steps.

    Args:
        prefix_scores: Scores of shape (num_archs, B), higher is better; column ``b - 1`` holds
            those after ``b`` steps.
        truth: True values, shape (num_archs,).
        at: The numbers of steps, each from 1 to B.
        num_bootstrap: Number of resamples.
        seed: Seed of the resamples, which are those of ``compare`` with this seed.

    Raises:
        ValueError: If shapes differ, a score is infinite, a truth not finite, or a number out of
            range.
    """
    table = np.asarray(prefix_scores, np.float64)
    if table.ndim != 2:
        raise ValueError(f"prefix_scores must be (num_archs, B), got {table.shape}.")
    if any(not 1 <= num_steps <= table.shape[1] for num_steps in at):
        raise ValueError(
            f"Numbers of steps must be from 1 to the {table.shape[1]} recorded, got {list(at)}."
        )
    true = np.asarray(truth, np.float64)
    for num_steps in at:
        _checked(table[:, num_steps - 1], true)
    weights, curve = draw_resamples(len(table), num_bootstrap, seed), []
    true_ranks = Ties(true, weights).ranks()
    for num_steps in at:
        row = table[:, num_steps - 1]
        ranks = Ties(diverged_last(row), weights).ranks()
        resampled = correlations(ranks, true_ranks, weights)
        curve.append(interval_of(spearman(row, true), resampled))
    return tuple(curve)


class _Resamples:
    """Metrics of any scores in many resamples at once.

    Args:
        truth: True values, shape (num_archs,).
        k: Number of architectures that count as the top.
        weights: How often each resample holds each architecture, shape (num_bootstrap, num_archs).
    """

    def __init__(self, truth: Floats, k: int, weights: Floats) -> None:
        self._truth, self._k, self._weights = truth, k, weights
        ties = Ties(truth, weights)
        self._true_ranks, self._true_ordered = ties.ranks(), ties.num_ordered()
        self._true_signs = _signs(truth)
        self._true_top = self._top(truth)
        self._best = self._max_truth(weights)

    def all(self, scores: Floats) -> Floats:
        """Computes ``METRICS`` of scores (num_archs,), shape (num_metrics, num_bootstrap)."""
        filled, top = diverged_last(scores), self._top(scores)
        ties = Ties(filled, self._weights)
        # A pair counts as often as it is drawn.
        signs = _signs(filled) * self._true_signs
        concordance = ((self._weights @ signs) * self._weights).sum(axis=1)
        scale = np.sqrt(ties.num_ordered() * self._true_ordered)
        return np.stack(
            [
                correlations(ties.ranks(), self._true_ranks, self._weights),
                np.divide(concordance, scale, out=np.zeros_like(scale), where=scale > 0),
                correlations(scores, self._truth, self._weights * np.isfinite(scores)),
                np.minimum(top, self._true_top).sum(axis=1) / self._k,
                self._best - self._max_truth(top),
                top @ self._truth / self._k,
            ]
        )

    def _top(self, scores: Floats) -> Floats:
        """How often each is among the k best, shape (num_bootstrap, num_archs)."""
        order = best_first(scores)
        drawn = self._weights[:, order]
        top = np.empty_like(drawn)
        top[:, order] = np.clip(self._k - (np.cumsum(drawn, axis=1) - drawn), 0, drawn)
        return top

    def _max_truth(self, drawn: Floats) -> Floats:
        """Best truth of those drawn (num_bootstrap, num_archs), shape (num_bootstrap,)."""
        return np.asarray(np.where(drawn > 0, self._truth, -np.inf).max(axis=1), np.float64)


def _signs(values: Floats) -> Floats:
    """Returns the signs of all differences, shape (num_archs, num_archs)."""
    return np.subtract(values[:, None] > values, values[:, None] < values, dtype=np.float64)


def _checked(scores: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    values, true = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if values.ndim != 1 or values.shape != true.shape or not len(values):
        raise ValueError(
            "Scores and truth must be one number for each architecture, got shapes "
            f"{values.shape} and {true.shape}."
        )
    if np.isinf(values).any():
        raise ValueError("A score is infinite; give nan for a candidate that diverged.")
    if not np.isfinite(true).all():
        raise ValueError("A truth is not finite; leave architectures without one out.")
    return values, true


def _check_k(k: int, num_archs: int) -> None:
    if not 1 <= k <= num_archs:
        raise ValueError(f"k must be from 1 to the {num_archs} architectures, got {k}.")
