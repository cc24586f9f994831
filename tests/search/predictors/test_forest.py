"""The probabilistic forest against its own trees, and what it is for: knowing what it has seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.ensemble import RandomForestRegressor

from search.predictors.forest import MIN_VARIANCE, ProbabilisticForest


def _sample(space, num_archs, encoding="one-hot"):
    """Distinct architectures and a linear function of their encoding, normalised."""
    everything = space.all_choices()
    choices = np.random.default_rng(0).choice(everything, num_archs, replace=False)
    features = space.encode_choices(choices, encoding)
    scores = features @ np.random.default_rng(99).normal(size=features.shape[1])
    return choices, (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("encoding", ["one-hot", "integers"])
def test_mean_and_deviation_are_those_of_ten_trees(small_space, encoding):
    choices, scores = _sample(small_space, 40)
    everything = small_space.all_choices()
    predictor = ProbabilisticForest(small_space, 3, encoding)
    predictor.fit(choices, scores)
    mean, std = predictor.predict_with_std(everything)
    forest = RandomForestRegressor(
        10, max_features=5 / 6, min_samples_split=3, min_samples_leaf=3, random_state=3
    ).fit(small_space.encode_choices(choices, encoding), scores.astype(np.float32))
    features = small_space.encode_choices(everything, encoding)
    trees = [tree.predict(features) for tree in forest.estimators_]
    assert mean == pytest.approx(forest.predict(features))
    assert std == pytest.approx(np.maximum(np.std(trees, axis=0), 1e-5))
    assert np.array_equal(predictor.predict(everything), mean)
    # five sixths of the features, rounded down
    num_features = {"one-hot": 10, "integers": 3}[encoding]
    assert [tree.max_features_ for tree in forest.estimators_] == [num_features] * 10


def test_ranks_a_linear_function(make_digit_space):
    space = make_digit_space(4, 4)
    choices, scores = _sample(space, 256)
    predictor = ProbabilisticForest(space, 0)
    predictor.fit(choices[:200], scores[:200])
    mean, std = predictor.predict_with_std(choices[200:])
    assert mean.dtype == std.dtype == np.float64
    assert kendalltau(mean, scores[200:]).statistic > 0.7


def test_is_less_sure_where_scores_scatter(make_digit_space):
    space = make_digit_space(4, 4)
    choices = space.all_choices()
    is_noisy = choices[:, 0] == 3
    predictor = ProbabilisticForest(space, 0)
    predictor.fit(choices, np.random.default_rng(0).normal(size=len(choices)) * is_noisy)
    _, std = predictor.predict_with_std(choices)
    assert std[is_noisy].mean() > 5 * std[~is_noisy].mean()


def test_fit_depends_on_its_labels_and_the_seed_alone(small_space):
    choices, scores = _sample(small_space, 30)
    first, again = ProbabilisticForest(small_space, 1), ProbabilisticForest(small_space, 1)
    first.fit(choices, scores)
    again.fit(choices[::2], -scores[::2])
    np.random.seed(5)
    again.fit(choices, scores)
    other = ProbabilisticForest(small_space, 2)
    other.fit(choices, scores)
    everything = small_space.all_choices()
    assert np.array_equal(first.predict_with_std(everything), again.predict_with_std(everything))
    assert not np.array_equal(first.predict(everything), other.predict(everything))


def test_equal_labels_are_not_certain(small_space):
    choices, _ = _sample(small_space, 5)
    predictor = ProbabilisticForest(small_space, 0)
    predictor.fit(choices, np.zeros(5))
    mean, std = predictor.predict_with_std(choices)
    assert np.array_equal(mean, np.zeros(5))
    assert np.array_equal(std, np.full(5, np.sqrt(MIN_VARIANCE)))
    nothing = predictor.predict_with_std(choices[:0])
    assert [values.shape for values in nothing] == [(0,), (0,)]


def test_what_is_wrong_is_refused(small_space):
    choices, scores = _sample(small_space, 3)
    with pytest.raises(ValueError, match="one score for each, got 3 .* shape \\(2,\\)"):
        ProbabilisticForest(small_space, 0).fit(choices, scores[:2])
    with pytest.raises(ValueError, match="one score for each"):
        ProbabilisticForest(small_space, 0).fit(choices[:0], np.empty(0))
    with pytest.raises(ValueError, match="has no encoding 'path'"):
        ProbabilisticForest(small_space, 0, "path")
