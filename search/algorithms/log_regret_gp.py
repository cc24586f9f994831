"""The Gaussian process of a structural-bo search, whose predictions are scores again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.predictors.gaussian_process import GaussianProcess
from supernets.spaces import SearchSpace

Floats = NDArray[np.float64]
#: Regrets are measured in the distance from the best score to this quantile of all.
GOOD = 0.75


class LogRegretGP:
    """A Predictor that learns logarithms of regrets, as the search does.

    Labels are turned into scores by linear interpolation between those it was fitted to, and beyond
    them by the line through the last two; that keeps the order of all predictions.

    Args:
        space: Space of the architectures.
        seed: Seed of the Gaussian process.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._process = GaussianProcess(space, seed)
        self._labels, self._scores = np.zeros(0), np.zeros(0)

    def fit(self, choices: NDArray[np.int64], scores: Floats) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite.

        Raises:
            ValueError: If there are no architectures, or not one score for each.
        """
        labels = log_regrets(scores)
        self._process.fit(choices, labels)
        self._labels, self._scores = labels, scores

    def predict(self, choices: NDArray[np.int64]) -> Floats:
        """Predicts scores, shape (num_archs,), on the scale of those fitted."""
        return scores_of_labels(self._process.predict(choices), self._labels, self._scores)


def log_regrets(scores: Floats) -> Floats:
    """Turns finite scores (num_archs,) into standardised negative logarithms of their regrets."""
    best = scores.max()
    scale = best - np.quantile(scores, GOOD)
    if scale <= 0:  # at least a quarter of them are the best
        scale = best - scores.min() or 1.0
    labels = -np.log1p((best - scores) / scale)
    return np.asarray((labels - labels.mean()) / (labels.std() or 1.0), np.float64)


def scores_of_labels(labels: Floats, known: Floats, scores: Floats) -> Floats:
    """Turns labels into scores by linear interpolation between those that are known.

    Beyond them it is by the line through the last two, which keeps the order of all labels.

    Args:
        labels: Labels, (num_archs,).
        known: What ``log_regrets`` made of ``scores``, (num_known,).
        scores: Scores, (num_known,).

    Example:
        >>> known, scores = np.array([-1.0, 0.0, 1.0]), np.array([50.0, 90.0, 92.0])
        >>> scores_of_labels(np.array([-0.5, 2.0]), known, scores).tolist()
        [70.0, 94.0]
    """
    known, firsts = np.unique(known, return_index=True)
    scores = scores[firsts]
    if len(known) == 1:
        return np.asarray(labels - known[0] + scores[0], np.float64)
    below, above = np.minimum(labels - known[0], 0), np.maximum(labels - known[-1], 0)
    inside = np.interp(labels, known, scores)
    return np.asarray(
        inside
        + below * (scores[1] - scores[0]) / (known[1] - known[0])
        + above * (scores[-1] - scores[-2]) / (known[-1] - known[-2]),
        np.float64,
    )
