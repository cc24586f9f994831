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


@pytest.fixture
def small_mlp(monkeypatch) -> tuple[int, ...]:
    """Where the MLP's size is not the point; ``test_ranks_a_linear_function`` has the real one."""
    hidden = (150,) * 4
    monkeypatch.setattr("search.predictors.sklearn_models._MLP_HIDDEN", hidden)
    return hidden


def _sample(space, num_archs, seed=0, encoding="one-hot"):
    """Distinct architectures and a linear function of their encoding, normalised."""
    everything = list(space.enumerate())
    picked = np.random.default_rng(seed).choice(len(everything), num_archs, replace=False)
    archs = [everything[i] for i in picked]
    features = space.encode(archs, encoding)
    scores = features @ np.random.default_rng(99).normal(size=features.shape[1])
    return archs, (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("encoding", ["one-hot", "integers"])
def test_ranks_a_linear_function(name, encoding, make_digit_space, request):
    if encoding == "integers":
        request.getfixturevalue("small_mlp")
    space = make_digit_space(4, 4)
    archs, scores = _sample(space, 256, encoding=encoding)
    predictor = create_predictor(name, space, seed=0, encoding=encoding)
    predictor.fit(archs[:218], scores[:218])
    predicted = predictor.predict(archs[218:])
    assert predicted.shape == (38,) and predicted.dtype == np.float64
    assert kendalltau(predicted, scores[218:]).statistic > 0.9


def test_fit_depends_on_its_labels_and_the_seed_alone(name, small_space, small_mlp):
    """Not on global random state, nor on an earlier fit."""
    archs, scores = _sample(small_space, 30)
    first = create_predictor(name, small_space, seed=1)
    first.fit(archs, scores)
    again = create_predictor(name, small_space, seed=1)
    again.fit(archs[::2], -scores[::2])
    np.random.seed(5)
    again.fit(archs, scores)
    everything = list(small_space.enumerate())
    assert np.array_equal(first.predict(everything), again.predict(everything))
    if name != "gradient_boosting":  # its trees see everything: the seed only breaks ties
        other = create_predictor(name, small_space, seed=2)
        other.fit(archs, scores)
        assert not np.array_equal(first.predict(everything), other.predict(everything))


def test_few_and_equal_labels_are_fitted(name, small_space, small_mlp):
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


@pytest.mark.parametrize("name", ["mlp", "gradient_boosting"])
def test_encoding_is_what_is_fitted(name, small_space, small_mlp):
    archs, scores = _sample(small_space, 5)
    widths = []
    for options in ({}, {"encoding": "integers"}):
        predictor = create_predictor(name, small_space, seed=0, **options)
        predictor.fit(archs, scores)
        widths.append(predictor._model.n_features_in_)
        assert predictor.predict(archs).shape == (5,)
    assert widths == [12, 4]


def test_unknown_name(small_space):
    with pytest.raises(ValueError, match="Unknown predictor 'tree'; choose from mlp, random_f"):
        create_predictor("tree", small_space, seed=0)


def test_mlp_in_single_precision_and_chunks_is_the_double_one(monkeypatch, small_mlp):
    """The same fit as scikit-learn's own in float64, to the accuracy that a ranking needs."""
    monkeypatch.setattr("search.predictors.sklearn_models._CHUNK_SIZE", 300)
    space = NASBench201Space()
    archs, scores = _sample(space, 60)
    others, _ = _sample(space, 1000, seed=1)
    predictor = mlp(space, seed=3)
    predictor.fit(archs, scores)
    double = MLPRegressor(hidden_layer_sizes=small_mlp, max_iter=100, random_state=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        double.fit(space.encode(archs).astype(np.float64), scores)
    expected = double.predict(space.encode(others).astype(np.float64))
    assert kendalltau(predictor.predict(others), expected).statistic > 0.99
    assert predictor._model.coefs_[1].dtype == np.float32


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


def test_sees_what_only_extra_inputs_tell(name, make_digit_space, small_mlp):
    """Whatever their scale, and also where some are missing or never known."""
    space = make_digit_space(4, 4)
    archs = list(space.enumerate())
    rng = np.random.default_rng(0)
    hidden = dict(zip(archs, rng.normal(size=len(archs)), strict=True))

    def extra_inputs(archs):
        values = np.array([[1e9 + 1e6 * hidden[arch], np.nan] for arch in archs])
        values[::50, 0] = np.nan
        return values

    picked = [archs[i] for i in rng.permutation(len(archs))[:200]]
    scores = np.array([hidden[arch] for arch in picked])
    scores = (scores - scores.mean()) / scores.std()
    taus = []
    for given in (None, extra_inputs):
        predictor = create_predictor(name, space, seed=0, extra_inputs=given)
        predictor.fit(picked[:150], scores[:150])
        taus.append(kendalltau(predictor.predict(picked[150:]), scores[150:]).statistic)
    blind, seeing = taus
    assert abs(blind) < 0.35
    assert seeing > 0.8


def test_extra_inputs_are_standardised_by_those_fitted(small_space, small_mlp):
    archs, scores = _sample(small_space, 30)
    values = {arch: float(i) for i, arch in enumerate(small_space.enumerate())}

    def inputs(scale, shift):
        return lambda archs: np.array([[scale * values[arch] + shift] for arch in archs])

    found = []
    for extra_inputs in (inputs(1, 0), inputs(1024, 4096)):
        predictor = create_predictor("mlp", small_space, seed=0, extra_inputs=extra_inputs)
        predictor.fit(archs, scores)
        found.append(predictor.predict(list(small_space.enumerate())))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)
