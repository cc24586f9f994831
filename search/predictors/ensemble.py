"""Deep ensembles: the mean of several fits, and how much they disagree.

Paper: Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
https://arxiv.org/abs/1612.01474

Differs from the paper in:

1. Members predict a score, not a mean with a variance of its own: the deviation is that between
   members and says nothing of the noise of the labels.
2. There is no adversarial training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from search.predictors.base import FeatureFunction, Predictor
from search.predictors.sklearn_models import sklearn_predictor
from supernets.spaces import Encoding, SearchSpace


class EnsemblePredictor:
    """Predictors that differ in their seeds only, fitted to the same labels.

    Args:
        make_member: Builds an unfitted predictor from a seed below 2**32.
        seed: Makes the fits repeatable; not negative.
        num_members: Number of predictors in the ensemble.

    Raises:
        ValueError: If ``num_members`` is less than 2.
    """

    def __init__(
        self, make_member: Callable[[int], Predictor], seed: int, *, num_members: int = 5
    ) -> None:
        if num_members < 2:
            raise ValueError(f"num_members must be at least 2, got {num_members}.")
        seeds = np.random.SeedSequence(seed).generate_state(num_members)
        self._members = [make_member(int(each)) for each in seeds]

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Fits every member from nothing to ``scores``, as ``Predictor.fit``."""
        for member in self._members:
            member.fit(choices, scores)

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts the mean of the members' predictions, shape (num_archs,)."""
        return self.predict_with_std(choices)[0]

    def predict_with_std(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicts mean and standard deviation of the members' predictions, both (num_archs,)."""
        predicted = np.stack([member.predict(choices) for member in self._members])
        return predicted.mean(axis=0), predicted.std(axis=0)


def _ensemble_of(
    model: str,
    num_members: int,
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    zero_cost_features: FeatureFunction | None = None,
) -> EnsemblePredictor:
    """Builds an ensemble of one of ``sklearn_models.MODELS``."""
    make_member = partial(
        sklearn_predictor, model, space, encoding=encoding, zero_cost_features=zero_cost_features
    )
    return EnsemblePredictor(make_member, seed, num_members=num_members)


#: Builder of what ranks for WeakNAS: four MLPs, far narrower than the one that its paper has.
mlp = partial(_ensemble_of, "mlp", 4)
#: Builder of what also says how sure it is, for bo: five small MLPs.
mlp_ensemble = partial(_ensemble_of, "small_mlp", 5)
