"""The process of structural-bo on the scale of the scores: its order, and values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from search.algorithms.log_regret_gp import LogRegretGP, log_regrets
from search.predictors.gaussian_process import GaussianProcess
from supernets.spaces import SearchSpace

Fitted = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture
def fitted(small_space: SearchSpace) -> Fitted:
    """What is fitted to, its scores with few good ones, and what is predicted."""
    choices = small_space.choices_of(small_space.enumerate())
    order = np.random.default_rng(0).permutation(len(choices))
    known = choices[order[:30]]
    return known, np.exp(known.sum(axis=1) / 2), choices[order[30:]]


def test_it_orders_as_the_process_of_the_search(small_space: SearchSpace, fitted: Fitted) -> None:
    known, scores, others = fitted
    process = GaussianProcess(small_space)
    process.fit(known, log_regrets(scores))
    ours, plain = LogRegretGP(small_space, 0), GaussianProcess(small_space)
    ours.fit(known, scores)
    plain.fit(known, scores)
    expected = np.argsort(process.predict(others))
    np.testing.assert_array_equal(np.argsort(ours.predict(others)), expected)
    assert (np.argsort(plain.predict(others)) != expected).any()


def test_predictions_are_on_the_scale_of_the_scores(
    small_space: SearchSpace, fitted: Fitted
) -> None:
    known, scores, others = fitted
    ours, scaled = LogRegretGP(small_space, 0), LogRegretGP(small_space, 0)
    ours.fit(known, scores)
    scaled.fit(known, 3 * scores - 70)
    np.testing.assert_allclose(scaled.predict(others), 3 * ours.predict(others) - 70, rtol=1e-6)
    # scores are taken to be noisy, and so are smoothed
    assert np.abs(ours.predict(known) - scores).max() < 0.3 * scores.std()


def test_labels_become_scores_by_hand(
    small_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, labels = LogRegretGP(small_space, 0), np.array([-4.0, -2.0, 0.0, 1.0, 2.0])
    monkeypatch.setattr(GaussianProcess, "fit", lambda *args: None)
    monkeypatch.setattr(GaussianProcess, "predict", lambda self, choices: labels)
    monkeypatch.setattr(
        "search.algorithms.log_regret_gp.log_regrets", lambda scores: scores / 10 - 2
    )
    process.fit(np.zeros((3, 4), np.int64), np.array([20.0, 0.0, 30.0]))  # labels 0, -2 and 1
    assert process.predict(np.zeros((5, 4), np.int64)).tolist() == [-20, 0, 20, 30, 40]


def test_equal_scores_are_predicted_equal(small_space: SearchSpace, fitted: Fitted) -> None:
    known, _, others = fitted
    process = LogRegretGP(small_space, 0)
    process.fit(known, np.full(len(known), 7.0))
    np.testing.assert_allclose(process.predict(others), 7.0)
