"""What every predictor is: a regression from architectures, and features, to scores.

Predictors take architectures as rows of canonical choices, (num_archs, num_decisions).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from search.predictors.own_predictor import CheckedPredictor
from supernets.runtime.own_code import is_own

#: Gives further inputs of choices, (num_archs, num_inputs); nan where there is none.
FeatureFunction = Callable[[NDArray[np.int64]], NDArray[np.float64]]


class Predictor(Protocol):
    """Predicts scores from architectures; owns its encoding of them."""

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one."""

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts scores, shape (num_archs,), on the scale of those fitted."""


class ProbabilisticPredictor(Predictor, Protocol):
    """A predictor that also says how sure it is."""

    def predict_with_std(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicts scores and their standard deviations, both (num_archs,), not negative."""


class OnScaleOfScores:
    """A predictor that is fitted to standardised scores, and predicts on their own scale.

    Args:
        predictor: Predictor that is fitted to the scores, brought to mean 0 and deviation 1.
        choices: Architectures, (num_archs, num_decisions).
        scores: Scores of these architectures, (num_archs,), finite, of any scale; at least one.

    Raises:
        OwnCodeError: If a predictor of one's own fails; its predictions are checked as well.
    """

    def __init__(
        self, predictor: Predictor, choices: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> None:
        self._predictor = predictor
        self._mean, self._deviation = scores.mean(), scores.std() or 1.0
        if is_own(predictor):
            self._predictor = predictor = CheckedPredictor(predictor)
        predictor.fit(choices, (scores - self._mean) / self._deviation)

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts scores, (num_archs,)."""
        return np.asarray(
            self._predictor.predict(choices) * self._deviation + self._mean, np.float64
        )

    def predict_with_std(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicts scores and their deviations, with a ``ProbabilisticPredictor`` only."""
        mean, std = cast(ProbabilisticPredictor, self._predictor).predict_with_std(choices)
        return mean * self._deviation + self._mean, std * self._deviation


class Standardised:
    """Extra inputs with the mean and deviation of those it is made from.

    What is not finite becomes the least that was known of its column.

    Args:
        table: Inputs of the architectures that are fitted to, (num_archs, num_inputs).
    """

    def __init__(self, table: NDArray[np.float64]) -> None:
        is_known = np.isfinite(table)
        self._least = np.where(is_known, table, np.inf).min(axis=0, initial=np.inf)
        self._least[~np.isfinite(self._least)] = 0.0  # nothing is known of the column
        filled = np.where(is_known, table, self._least)
        deviation = filled.std(axis=0)
        self._mean, self._scale = filled.mean(axis=0), np.where(deviation > 0, deviation, 1.0)

    @property
    def num_inputs(self) -> int:
        """How many columns there are."""
        return len(self._mean)

    def __call__(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardises the inputs of any architectures, (num_archs, num_inputs)."""
        filled = np.where(np.isfinite(table), table, self._least)
        return np.asarray((filled - self._mean) / self._scale, np.float64)
