"""A random forest that is as sure of a score as its trees agree on it.

The settings are those of OpenBox, https://arxiv.org/abs/2106.00421, where its compiled forest is
missing: ten trees on bootstrap samples, leaves of at least three, each split choosing among five
sixths of the features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.predictors.sklearn_models import SklearnPredictor
from supernets.spaces import Encoding, SearchSpace

#: Of scores of order one; trees that agree are not certain.
MIN_VARIANCE = 1e-10


class ProbabilisticForest:
    """Predicts the mean of ten trees, and as its standard deviation that between them.

    Args:
        space: Encodes the architectures.
        seed: Makes a fit repeatable; from 0 to 2**32 - 1.
        encoding: Encoding of the architectures, one of the space's.

    Raises:
        ValueError: If the space does not have the encoding.
    """

    def __init__(self, space: SearchSpace, seed: int, encoding: Encoding = "one-hot") -> None:
        from sklearn.ensemble import RandomForestRegressor  # here, as loading takes a second

        space.check_encoding(encoding)
        self._space, self._encoding = space, encoding
        self._forest = RandomForestRegressor(
            n_estimators=10,
            max_features=5 / 6,
            min_samples_split=3,
            min_samples_leaf=3,
            bootstrap=True,
            n_jobs=1,
            random_state=seed,
        )

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one.

        Raises:
            ValueError: If there are no architectures, or not one score for each.
        """
        SklearnPredictor(self._space, self._forest, self._encoding).fit(choices, scores)

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts scores, shape (num_archs,), on the scale of those fitted."""
        return self.predict_with_std(choices)[0]

    def predict_with_std(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicts scores and their standard deviations, both (num_archs,), above 0."""
        features = self._space.encode_choices(choices, self._encoding)
        trees = np.stack(  # (num_trees, num_archs)
            [tree.predict(features, check_input=False) for tree in self._forest.estimators_]
        )
        return trees.mean(axis=0), np.sqrt(np.maximum(trees.var(axis=0), MIN_VARIANCE))
