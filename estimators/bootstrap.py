"""Resamples of architectures with replacement, and correlations in many of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Between them lie 95 % of the resamples.
PERCENTILES = (2.5, 97.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value, and percentiles between which 95 % of its resamples lie.

    Resamples have fewer distinct architectures, so what hangs on the very best few can lie outside.
    """

    value: float
    low: float
    high: float


def interval_of(value: float, resampled: Floats) -> Interval:
    """Returns a value with the percentiles of its resamples, of any number."""
    low, high = np.percentile(resampled, PERCENTILES)
    return Interval(float(value), float(low), float(high))


def draw_resamples(num_archs: int, num_bootstrap: int, seed: int) -> Floats:
    """Draws as many architectures as there are, with replacement.

    Args:
        num_archs: Number of architectures.
        num_bootstrap: Number of resamples.
        seed: Seed of the draws.

    Returns:
        How often each is drawn, shape (num_bootstrap, num_archs).

    Raises:
        ValueError: If ``num_bootstrap`` is less than 1.
    """
    if num_bootstrap < 1:
        raise ValueError(f"num_bootstrap must be at least 1, got {num_bootstrap}.")
    shares = np.full(num_archs, 1 / num_archs)
    drawn = np.random.default_rng(seed).multinomial(num_archs, shares, size=num_bootstrap)
    return drawn.astype(np.float64)


class Ties:
    """Values (num_archs,) in groups of equals, and how often resamples draw of each group.

    Args:
        values: The values, shape (num_archs,).
        weights: How often each resample holds each architecture, shape (num_bootstrap, num_archs).
    """

    def __init__(self, values: Floats, weights: Floats) -> None:
        distinct, self._group = np.unique(values, return_inverse=True)  # ascending
        order = np.argsort(self._group, kind="stable")
        starts = np.searchsorted(self._group[order], np.arange(len(distinct)))
        self._drawn = np.add.reduceat(weights[:, order], starts, axis=1)  # (…, num_groups)

    def ranks(self) -> Floats:
        """Returns average ranks, shape (num_bootstrap, num_archs)."""
        ranks = np.cumsum(self._drawn, axis=1) - (self._drawn - 1) / 2
        return np.asarray(ranks[:, self._group], np.float64)

    def num_ordered(self) -> Floats:
        """Counts pairs that differ, each both ways, shape (num_bootstrap,)."""
        return np.asarray(self._drawn.sum(axis=1) ** 2 - (self._drawn**2).sum(axis=1), np.float64)


def correlations(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Computes weighted linear correlations of rows, 0 where one is constant or nothing has weight.

    All are (num_bootstrap, num_archs), or x and y (num_archs,). Gives (num_bootstrap,).
    """
    found = np.zeros(len(weights))
    has_weight = weights > 0
    x, y = (np.broadcast_to(values, weights.shape) for values in (x, y))
    is_ordered = np.ones(len(weights), np.bool_)
    for values in (x, y):
        highest = np.where(has_weight, values, -np.inf).max(axis=1)
        is_ordered &= highest > np.where(has_weight, values, np.inf).min(axis=1)
    weights, has_weight = weights[is_ordered], has_weight[is_ordered]
    centred = []
    for values in (x, y):
        kept = np.where(has_weight, values[is_ordered], 0.0)  # what has no weight may be nan
        mean = (weights * kept).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
        deviation = np.where(has_weight, kept - mean, 0.0)
        # so that no square is lost, however small or large the values are
        centred.append(deviation / np.abs(deviation).max(axis=1, keepdims=True))
    x, y = centred
    scale = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    found[is_ordered] = np.clip((weights * x * y).sum(axis=1) / scale, -1, 1)
    return found
