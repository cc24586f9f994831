"""What every predictor keeps to."""

from __future__ import annotations

import signal
import threading
import warnings

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.neural_network import MLPRegressor
from sklearn.utils import shuffle as sklearn_shuffle

from search.predictors import PREDICTORS, create_predictor, mlp
from supernets.spaces import NASBench201Space


@pytest.fixture(params=PREDICTORS)
def name(request) -> str:
    return request.param


def _sample(space, num_archs, seed=0):
    """Distinct architectures and a linear function of their encoding, normalised."""
    rng = np.random.default_rng(seed)
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(2 * num_archs)))[:num_archs]
    scores = space.encode(archs) @ np.linspace(-1.0, 1.0, space.encode(archs).shape[1])
    return archs, (scores - scores.mean()) / scores.std()


def test_ranks_a_linear_function(name, make_digit_space):
    space = make_digit_space(4, 4)
    archs, scores = _sample(space, 220)
    predictor = create_predictor(name, space, seed=0)
    predictor.fit(archs[:180], scores[:180])
    predicted = predictor.predict(archs[180:])
    assert predicted.shape == (40,) and predicted.dtype == np.float64
    assert kendalltau(predicted, scores[180:]).statistic > 0.9


def test_deterministic_given_the_seed(name, small_space):
    archs, scores = _sample(small_space, 30)
    predicted = []
    for seed in (1, 1, 2):
        np.random.seed(seed + len(predicted))
        predictor = create_predictor(name, small_space, seed)
        predictor.fit(archs, scores)
        predicted.append(predictor.predict(list(small_space.enumerate())))
    assert np.array_equal(predicted[0], predicted[1])
    if name != "gradient_boosting":  # whose trees see everything: the seed only breaks ties
        assert not np.array_equal(predicted[0], predicted[2])


def test_fit_starts_from_nothing(name, small_space):
    archs, scores = _sample(small_space, 30)
    fresh = create_predictor(name, small_space, seed=0)
    fresh.fit(archs[:15], scores[:15])
    used = create_predictor(name, small_space, seed=0)
    used.fit(archs, -scores)
    used.fit(archs[:15], scores[:15])
    assert np.array_equal(fresh.predict(archs), used.predict(archs))


def test_few_and_equal_labels_are_fitted(name, small_space):
    archs, scores = _sample(small_space, 2)
    predictor = create_predictor(name, small_space, seed=0)
    predictor.fit(archs, scores)
    assert np.isfinite(predictor.predict(list(small_space.enumerate()))).all()
    predictor.fit(archs, np.zeros(2))
    assert np.abs(predictor.predict(archs)).max() < 0.3
    assert predictor.predict([]).shape == (0,)


def test_bad_labels_are_refused(name, small_space):
    archs, scores = _sample(small_space, 3)
    predictor = create_predictor(name, small_space, seed=0)
    for wrong_archs, wrong_scores in (([], np.empty(0)), (archs, scores[:2])):
        with pytest.raises(ValueError, match="one score for each"):
            predictor.fit(wrong_archs, wrong_scores)


def test_unknown_name(small_space):
    with pytest.raises(ValueError, match="Unknown predictor 'tree'; choose from mlp, random_f"):
        create_predictor("tree", small_space, seed=0)


def test_mlp_in_single_precision_is_the_double_one(make_digit_space):
    """The same fit as scikit-learn's own in float64, to the accuracy that a ranking needs."""
    space = NASBench201Space()
    archs, scores = _sample(space, 60)
    others, _ = _sample(space, 1000, seed=1)
    predictor = mlp(space, seed=3)
    predictor.fit(archs, scores)
    double = MLPRegressor(hidden_layer_sizes=(1000,) * 4, max_iter=100, random_state=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        double.fit(space.encode(archs).astype(np.float64), scores)
    expected = double.predict(space.encode(others).astype(np.float64))
    assert kendalltau(predictor.predict(others), expected).statistic > 0.99
    assert predictor._model.coefs_[1].dtype == np.float32


def test_mlp_predicts_in_chunks_what_it_predicts_at_once(small_space, monkeypatch):
    archs, scores = _sample(small_space, 10)
    predictor = mlp(small_space, seed=0)
    predictor.fit(archs, scores)
    everything = list(small_space.enumerate())
    whole = predictor.predict(everything)
    monkeypatch.setattr("search.predictors.sklearn_models._CHUNK_SIZE", 7)
    np.testing.assert_allclose(predictor.predict(everything), whole, rtol=1e-4, atol=1e-5)


def test_ctrl_c_during_an_mlp_fit_is_not_swallowed(small_space, monkeypatch):
    """scikit-learn would warn and leave a half-fitted model, and so another ranking."""
    assert threading.current_thread() is threading.main_thread()

    def interrupted(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return sklearn_shuffle(*args, **kwargs)

    monkeypatch.setattr("sklearn.neural_network._multilayer_perceptron.shuffle", interrupted)
    archs, scores = _sample(small_space, 10)
    with pytest.raises(KeyboardInterrupt):
        mlp(small_space, seed=0).fit(archs, scores)
