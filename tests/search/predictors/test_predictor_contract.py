"""What every predictor keeps to, over every space and encoding that it is for."""

from __future__ import annotations

import signal
import threading
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.neural_network import MLPRegressor
from sklearn.utils import shuffle as sklearn_shuffle

from search.predictors import PREDICTORS, create_predictor
from search.predictors.gcn import GCNPredictor
from search.predictors.sklearn_models import MODELS, SklearnPredictor, sklearn_predictor
from supernets.spaces import NASBench201Space
from supernets.spaces.factory import create_space

#: Those that see an encoding. A Gaussian process sees structures, a graph network graphs.
ENCODING = ("mlp", "random_forest", "gradient_boosting", "mlp_ensemble")
#: Those that see extra inputs beside.
EXTRA_INPUTS = (*ENCODING, "gaussian_process")
OWN_VIEWS = ("gaussian_process", "gcn")


@pytest.fixture(params=PREDICTORS)
def name(request) -> str:
    return request.param


@pytest.fixture
def space(name, small_space):
    """A small one that the predictor is for: 81 architectures, or 64 cells."""
    if name != "gcn":
        return small_space
    cells = NASBench201Space()
    two = ("skip_connect", "nor_conv_3x3")
    return cells.restrict({decision.name: two for decision in cells.decisions})


@pytest.fixture
def small_mlp(monkeypatch) -> tuple[int, ...]:
    """Where the MLP's size is not the point; ``test_ranks_a_linear_function`` has the real one."""
    hidden = (150,) * 4
    kind, settings = MODELS["mlp"]
    monkeypatch.setitem(MODELS, "mlp", (kind, {**settings, "hidden_layer_sizes": hidden}))
    return hidden


@pytest.fixture
def quick(small_mlp, monkeypatch) -> None:
    """Fits of a moment: as ``small_mlp``, few trees, and few steps of a small graph network."""
    for name in ("random_forest", "gradient_boosting"):
        kind, settings = MODELS[name]
        monkeypatch.setitem(MODELS, name, (kind, {**settings, "n_estimators": 50}))
    gcn = partial(GCNPredictor, width=16, learning_rate=1e-2, num_epochs=40)
    monkeypatch.setattr("search.predictors.gcn.GCNPredictor", gcn)


def _standardised(scores):
    return (scores - scores.mean()) / scores.std()


def _sample(space, num_archs, seed=0, encoding="one-hot"):
    """Distinct architectures and a linear function of their encoding, normalised."""
    rng = np.random.default_rng(seed)
    choices = rng.choice(space.all_choices(), num_archs, replace=False)
    features = space.encode_choices(choices, encoding)
    weights = np.random.default_rng(99).normal(size=features.shape[1])
    return choices, _standardised(features @ weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *((name, None) for name in EXTRA_INPUTS),
        *((name, "integers") for name in ENCODING),
    ],
)
def test_ranks_a_linear_function(name, encoding, make_digit_space, request):
    if encoding == "integers":
        request.getfixturevalue("small_mlp")
    space = make_digit_space(4, 4)
    choices, scores = _sample(space, 256, encoding=encoding or "one-hot")
    predictor = create_predictor(name, space, seed=0, encoding=encoding)
    predictor.fit(choices[:218], scores[:218])
    predicted = predictor.predict(choices[218:])
    assert predicted.shape == (38,) and predicted.dtype == np.float64
    assert kendalltau(predicted, scores[218:]).statistic > 0.9


@pytest.mark.parametrize("space_name", ["nasbench201", "nasbench101", "nasnet", "mobilenetv3"])
def test_ranks_in_every_encoding_of_every_space_or_refuses(name, space_name, quick):
    space = create_space(space_name)
    drawn = space.architectures(space.sample_choices(300, np.random.default_rng(0)))
    choices = space.choices_of(list(dict.fromkeys(drawn))[:250])
    # of options in the order of their cost; it depends on all decisions that are active
    integers = space.encode_choices(choices, "integers").astype(np.float64)
    scores = _standardised(integers.sum(axis=1))
    for encoding in (None, *space.encodings):
        make = partial(create_predictor, name, space, seed=0, encoding=encoding)
        if encoding is not None and name in OWN_VIEWS:
            with pytest.raises(ValueError, match=f"own view .* leave encoding '{encoding}' out"):
                make()
        else:
            predictor = make()
            predictor.fit(choices[:150], scores[:150])
            tau = kendalltau(predictor.predict(choices[150:]), scores[150:]).statistic
            assert tau > 0.25, encoding  # by chance below 0.2


def test_an_encoding_that_the_space_has_not_is_refused(name, space):
    why = "own view .* leave encoding 'path' out" if name in OWN_VIEWS else "no encoding 'path'"
    with pytest.raises(ValueError, match=why):
        create_predictor(name, space, seed=0, encoding="path")


def test_fit_depends_on_its_labels_and_the_seed_alone(name, space, quick):
    """Not on global random state, nor on an earlier fit."""
    choices, scores = _sample(space, 30)
    first = create_predictor(name, space, seed=1)
    first.fit(choices, scores)
    again = create_predictor(name, space, seed=1)
    again.fit(choices[::2], -scores[::2])
    np.random.seed(5)
    again.fit(choices, scores)
    everything = space.all_choices()
    assert np.array_equal(first.predict(everything), again.predict(everything))
    # Of boosted trees, which see everything, the seed only breaks ties; of a Gaussian process it
    # draws from more scores than these.
    if name not in ("gradient_boosting", "gaussian_process"):
        other = create_predictor(name, space, seed=2)
        other.fit(choices, scores)
        assert not np.array_equal(first.predict(everything), other.predict(everything))


def test_predictions_need_no_loop_over_architectures(name, quick, lines_of):
    space = NASBench201Space()
    choices, scores = _sample(space, 12)
    predictor = create_predictor(name, space, seed=0)
    predictor.fit(choices, scores)
    assert lines_of(predictor.predict, space.all_choices()[:5000]) < 1000


def test_few_and_equal_labels_are_fitted(name, space, quick):
    choices, scores = _sample(space, 2)
    predictor = create_predictor(name, space, seed=0)
    predictor.fit(choices, scores)
    assert np.isfinite(predictor.predict(space.all_choices())).all()
    predictor.fit(choices, np.zeros(2))
    assert np.abs(predictor.predict(choices)).max() < 0.3
    assert predictor.predict(choices[:0]).shape == (0,)


def test_bad_labels_are_refused(name, space):
    choices, scores = _sample(space, 3)
    predictor = create_predictor(name, space, seed=0)
    for wrong_choices, wrong_scores in ((choices[:0], np.empty(0)), (choices, scores[:2])):
        with pytest.raises(ValueError, match="one score for each"):
            predictor.fit(wrong_choices, wrong_scores)


@pytest.mark.parametrize("name", ENCODING)
def test_encoding_is_what_is_fitted(name, small_space, quick):
    choices, scores = _sample(small_space, 5)
    widths = []
    for options in ({}, {"encoding": "integers"}):
        predictor = create_predictor(name, small_space, seed=0, **options)
        predictor.fit(choices, scores)
        one = predictor._members[0] if "mlp" in name else predictor
        widths.append(one._model.n_features_in_)
        assert predictor.predict(choices).shape == (5,)
    assert widths == [12, 4]


def test_unknown_name(small_space):
    with pytest.raises(ValueError, match="Unknown predictor 'tree'; choose from mlp, random_f"):
        create_predictor("tree", small_space, seed=0)


def test_mlp_in_single_precision_and_chunks_is_the_double_one(monkeypatch, small_mlp):
    """The same fit as scikit-learn's own in float64, to the accuracy that a ranking needs."""
    monkeypatch.setattr("search.predictors.sklearn_models._CHUNK_SIZE", 300)
    space = NASBench201Space()
    choices, scores = _sample(space, 60)
    others, _ = _sample(space, 1000, seed=1)
    predictor = sklearn_predictor("mlp", space, seed=3)
    predictor.fit(choices, scores)
    double = MLPRegressor(
        hidden_layer_sizes=small_mlp, learning_rate_init=5e-3, max_iter=100, random_state=3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        double.fit(space.encode_choices(choices).astype(np.float64), scores)
    expected = double.predict(space.encode_choices(others).astype(np.float64))
    assert kendalltau(predictor.predict(others), expected).statistic > 0.99
    assert predictor._model.coefs_[1].dtype == np.float32


def test_ctrl_c_during_an_mlp_fit_is_not_swallowed(small_space, monkeypatch):
    """scikit-learn would warn and leave a half-fitted model, and so another ranking."""
    assert threading.current_thread() is threading.main_thread()

    def interrupted(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return sklearn_shuffle(*args, **kwargs)

    monkeypatch.setattr("sklearn.neural_network._multilayer_perceptron.shuffle", interrupted)
    choices, scores = _sample(small_space, 10)
    with pytest.raises(KeyboardInterrupt):
        create_predictor("mlp", small_space, seed=0).fit(choices, scores)


def test_a_warning_that_is_an_error_is_not_taken_for_ctrl_c(small_space):
    class Warns:
        def fit(self, features, scores):
            warnings.warn("odd features", UserWarning, stacklevel=1)

    predictor = SklearnPredictor(small_space, Warns(), "one-hot")
    with pytest.raises(UserWarning, match="odd features"):
        predictor.fit(*_sample(small_space, 10))


@pytest.mark.parametrize("name", EXTRA_INPUTS)
def test_sees_what_only_zero_cost_features_tell(name, make_digit_space, quick):
    """Whatever their scale, and also where some are missing or never known."""
    space = make_digit_space(4, 4)
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4, 4, 4, 4))

    def zero_cost_features(choices):
        values = np.full((len(choices), 2), np.nan)
        values[:, 0] = 1e9 + 1e6 * hidden[tuple(choices.T)]
        values[::50, 0] = np.nan
        return values

    picked = rng.permutation(space.all_choices())[:200]
    scores = _standardised(hidden[tuple(picked.T)])
    taus = []
    for given in (None, zero_cost_features):
        predictor = create_predictor(name, space, seed=0, zero_cost_features=given)
        predictor.fit(picked[:150], scores[:150])
        taus.append(kendalltau(predictor.predict(picked[150:]), scores[150:]).statistic)
    blind, seeing = taus
    assert abs(blind) < 0.35
    assert seeing > 0.8


def test_zero_cost_features_that_a_predictor_cannot_see_are_refused():
    assert set(PREDICTORS) - set(EXTRA_INPUTS) == {"gcn"}
    with pytest.raises(
        ValueError, match="'gcn' sees nothing but architectures; leave predictor inputs"
    ):
        create_predictor(
            "gcn", NASBench201Space(), seed=0, zero_cost_features=lambda choices: np.ones(0)
        )


@pytest.mark.parametrize("name", ["mlp", "gaussian_process"])
def test_zero_cost_features_are_standardised_by_those_fitted(name, small_space, small_mlp):
    choices, scores = _sample(small_space, 30)

    def inputs(scale, shift):
        return lambda choices: scale * (choices @ [[27.0], [9.0], [3.0], [1.0]]) + shift

    found = []
    for zero_cost_features in (inputs(1, 0), inputs(1024, 4096)):
        predictor = create_predictor(
            name, small_space, seed=0, zero_cost_features=zero_cost_features
        )
        predictor.fit(choices, scores)
        found.append(predictor.predict(small_space.all_choices()))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)
