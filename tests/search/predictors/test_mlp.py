"""The multi-layer perceptron is scikit-learn's, to the bit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor as Reference

from search.predictors.mlp import MLPRegressor


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    ("hidden", "lr", "max_iter", "num_archs"),
    [
        ((300,) * 4, 1e-3, 100, 30),  # ends early, and its arrays have several pieces
        ((64, 64), 1e-2, 200, 450),  # three minibatches, the last of them smaller
        ((20,), 1e-3, 7, 12),  # ends at the last epoch
        ((5,), 1e-2, 200, 1),
    ],
)
def test_fits_and_predictions_are_those_of_scikit_learn(
    hidden: tuple[int, ...], lr: float, max_iter: int, num_archs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 2, (num_archs, 30)).astype(np.float32)
    scores = rng.normal(size=num_archs).astype(np.float32)
    unseen = rng.integers(0, 2, (1000, 30)).astype(np.float32)
    settings: dict[str, Any] = {
        "hidden_layer_sizes": hidden,
        "learning_rate_init": np.float32(lr),
        "max_iter": max_iter,
        "random_state": seed,
    }
    reference, found = Reference(**settings, beta_2=np.float32(0.999)), MLPRegressor(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(features, scores)
    for _ in range(2):  # from nothing each time
        found.fit(features, scores)
    expected = reference.predict(unseen)
    assert found.predict(unseen).dtype == np.float32
    assert np.array_equal(found.predict(unseen), expected)
    assert np.std(expected) > 0


def test_inputs_that_leave_no_numbers_are_refused() -> None:
    features = np.full((4, 3), 1e38, np.float32)
    scores = np.arange(4, dtype=np.float32)
    model = MLPRegressor(
        hidden_layer_sizes=(8,), learning_rate_init=1e-2, max_iter=5, random_state=0
    )
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="weights that are not finite; are the inputs large"),
    ):
        model.fit(features, scores)
