"""Algorithms by name, and options that do not apply."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from search import (
    ALGORITHMS,
    DEFAULT_BATCH_SIZES,
    LocalSearch,
    NeuralPredictorSearch,
    ProxyBO,
    RandomSearch,
    RegularizedEvolution,
    SPOSEvolution,
    StructuralBO,
    TPESearch,
    WeakNAS,
    algorithm_settings,
    create_algorithm,
    create_predictor,
)
from search.algorithms.factory import num_random_trials
from search.predictors.gcn import GCNPredictor
from supernets.spaces import MobileNetV3Space, NASNetSpace


def test_builds_by_name(small_space):
    def are_feasible(choices):
        return choices[:, 0] == 0

    random = create_algorithm("random", small_space, seed=4, are_feasible=are_feasible)
    assert isinstance(random, RandomSearch) and random.seed == 4
    assert all(arch.choices[0] == 0 for arch in random.ask(9))
    weaknas = create_algorithm(
        "weaknas",
        small_space,
        seed=5,
        are_feasible=are_feasible,
        predictor="random_forest",
        encoding="integers",
        num_initial=7,
        top_n=[20, 10],
        exclude_before_top=True,
        pool_size=50,
    )
    assert isinstance(weaknas, WeakNAS) and weaknas.seed == 5
    assert weaknas.next_batch_size(3) == 7
    assert weaknas.exclude_before_top and weaknas.pool_size == 50
    assert all(arch.choices[0] == 0 for arch in weaknas.ask(9))
    predictor = weaknas.make_predictor(0)
    assert type(predictor._model).__name__ == "RandomForestRegressor"
    predictor.fit(small_space.choices_of(weaknas.ask(2)), np.zeros(2))
    assert predictor._model.n_features_in_ == 4


def test_builds_evolution(small_space):
    def are_feasible(choices):
        return choices[:, 0] == 0

    evolution = create_algorithm(
        "evolution",
        small_space,
        seed=6,
        are_feasible=are_feasible,
        num_initial=7,
        num_parents=3,
        mutation_prob=0.2,
    )
    assert isinstance(evolution, SPOSEvolution) and evolution.seed == 6
    assert evolution.next_batch_size(50) == 7
    assert (evolution.num_parents, evolution.mutation_prob) == (3, 0.2)
    aging = create_algorithm(
        "regularized-evolution",
        small_space,
        seed=7,
        are_feasible=are_feasible,
        population_size=8,
        tournament_size=4,
    )
    assert isinstance(aging, RegularizedEvolution) and aging.seed == 7
    assert aging.next_batch_size(1) == 8
    assert (aging.population_size, aging.tournament_size) == (8, 4)
    for algorithm in (evolution, aging):
        assert all(arch.choices[0] == 0 for arch in algorithm.ask(9))


def test_builds_a_fixed_pool(large_space):
    weaknas = create_algorithm("weaknas", large_space, pool="fixed", pool_size=50)
    assert isinstance(weaknas, WeakNAS) and (weaknas.pool, weaknas.pool_size) == ("fixed", 50)


def test_settings_are_the_defaults_of_the_algorithm():
    assert algorithm_settings("random") == {}
    settings = algorithm_settings("weaknas", top_n=50, predictor=None)
    assert settings.pop("predictor") == "mlp" and settings.pop("top_n") == 50
    assert settings.pop("encoding") == "one-hot" and settings.pop("predictor_inputs") == ()
    parameters = inspect.signature(WeakNAS.__init__).parameters
    assert settings == {name: parameters[name].default for name in settings}
    assert parameters.keys() - settings == {
        *("self", "space", "seed", "are_feasible"),
        *("make_predictor", "top_n", "num_members"),
    }
    for name, kind in (
        ("evolution", SPOSEvolution),
        ("regularized-evolution", RegularizedEvolution),
        ("structural-bo", StructuralBO),
        ("local-search", LocalSearch),
        ("tpe", TPESearch),
    ):
        parameters = inspect.signature(kind.__init__).parameters
        settings = algorithm_settings(name)
        assert settings == {name: parameters[name].default for name in settings}
        assert parameters.keys() - settings == {"self", "space", "seed", "are_feasible"}
    for name, kind, built in (
        (
            "neural-predictor",
            NeuralPredictorSearch,
            {"make_predictor", "make_classifier", "threshold_quantile"},
        ),
        ("bo", ProxyBO, {"make_predictor", "proxies", "tau0"}),
        ("proxybo", ProxyBO, {"make_predictor", "proxies"}),
    ):
        parameters = inspect.signature(kind.__init__).parameters
        settings = algorithm_settings(name)
        assert ("encoding" in settings) == (name != "neural-predictor")  # its gcn sees graphs
        for option in ("predictor", "encoding", "predictor_inputs"):
            settings.pop(option, None)
        assert settings == {name: parameters[name].default for name in settings}
        assert parameters.keys() - settings == built | {"self", "space", "seed", "are_feasible"}


def test_every_algorithm_has_a_batch_size():
    assert DEFAULT_BATCH_SIZES.keys() == set(ALGORITHMS)


def test_encodings_that_the_space_lacks_are_refused(small_space):
    with pytest.raises(ValueError, match="has no encoding 'path'; choose from one-hot, integers"):
        create_algorithm("weaknas", small_space, encoding="path")
    with pytest.raises(ValueError, match="has no encoding 'path'"):
        create_predictor("mlp", small_space, 0, encoding="path")
    space = NASNetSpace(distinct_inputs=True)
    weaknas = create_algorithm("weaknas", space, encoding="path", predictor="gradient_boosting")
    predictor = weaknas.make_predictor(0)
    predictor.fit(space.choices_of(weaknas.ask(2)), np.zeros(2))
    assert predictor._model.n_features_in_ == 1596


def test_unknown_names(small_space):
    with pytest.raises(ValueError, match="Unknown algorithm 'x'; choose from random, weaknas, s"):
        create_algorithm("x", small_space)
    with pytest.raises(ValueError, match="Unknown predictor 'x'; choose from mlp, random_forest"):
        create_algorithm("weaknas", small_space, predictor="x")
    with pytest.raises(ValueError, match="Unknown encoding 'x'; choose from one-hot, integers, p"):
        create_algorithm("weaknas", small_space, encoding="x")


@pytest.mark.parametrize(
    "option",
    [
        {"predictor": "mlp"},
        {"encoding": "one-hot"},
        {"num_initial": 10},
        {"top_n": 100},
        {"exclude_before_top": False},
        {"pool": "fresh"},
        {"pool_size": 10},
        {"num_parents": 10},
        {"mutation_prob": 0.1},
        {"population_size": 50},
        {"tournament_size": 10},
    ],
)
def test_options_that_do_not_apply_are_refused(small_space, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"Algorithm 'random' has no option {name}"):
        create_algorithm("random", small_space, **option)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("weaknas", {"num_parents": 10}),
        ("evolution", {"population_size": 50}),
        ("evolution", {"predictor": "mlp"}),
        ("regularized-evolution", {"num_initial": 10}),
        ("regularized-evolution", {"mutation_prob": 0.1}),
    ],
)
def test_options_of_another_algorithm_are_refused(small_space, name, option):
    with pytest.raises(ValueError, match=f"Algorithm {name!r} has no option {list(option)[0]}"):
        create_algorithm(name, small_space, **option)


@pytest.mark.parametrize(
    ("name", "option", "default", "other", "needed"),
    [
        ("weaknas", "num_members", 5, "acquisition", "ei"),
        ("neural-predictor", "threshold_quantile", 0.5, "two_stage", True),
    ],
)
def test_options_without_effect_are_refused_and_not_recorded(name, option, default, other, needed):
    assert option not in algorithm_settings(name)
    assert algorithm_settings(name, **{other: needed})[option] == default
    with pytest.raises(ValueError, match=f"{option} of .* no effect unless {other} is {needed}; l"):
        algorithm_settings(name, **{option: default})  # even if it is the default
    options = algorithm_settings(name, **{other: needed, option: default})
    assert options[option] == default


def test_processes_that_all_agree_make_no_ensemble(small_space):
    with pytest.raises(ValueError, match="'gaussian_process' do not; choose another predictor"):
        create_algorithm("weaknas", small_space, acquisition="ei", predictor="gaussian_process")
    create_algorithm("weaknas", small_space, acquisition="ei", predictor="mlp_ensemble")


def test_random_trials_to_begin_with():
    numbers = {name: num_random_trials(algorithm_settings(name)) for name in ALGORITHMS}
    assert numbers.pop("random") == 0 and min(numbers.values()) == 5
    assert (numbers["regularized-evolution"], numbers["neural-predictor"]) == (50, 172)


def test_builds_proxies_from_cheap_scores(small_space):
    def cheap_scores(choices):
        return choices.sum(axis=1, keepdims=True).astype(np.float64)

    with pytest.raises(ValueError, match="proxybo needs predictor_inputs"):
        create_algorithm("proxybo", small_space)
    with pytest.raises(ValueError, match="proxybo needs predictor_inputs"):
        create_algorithm("proxybo", small_space, cheap_scores=cheap_scores)
    proxybo = create_algorithm(
        "proxybo", small_space, predictor_inputs=["macs"], cheap_scores=cheap_scores, tau0=0.1
    )
    assert isinstance(proxybo, ProxyBO) and proxybo.tau0 == 0.1
    assert proxybo.proxies is cheap_scores
    bo = create_algorithm("bo", small_space, rand_prob=0.2)
    assert isinstance(bo, ProxyBO) and bo.proxies is None and bo.rand_prob == 0.2


def test_builds_predictors_that_have_their_own_view():
    space = NASNetSpace(distinct_inputs=True)
    for name in ("gaussian_process", "gcn"):
        with pytest.raises(ValueError, match=f"'{name}' has its own view of architectures"):
            create_predictor(name, space, 0, encoding="path")
        with pytest.raises(ValueError, match=f"'{name}' has its own view .* 'one-hot' out"):
            create_algorithm("weaknas", space, predictor=name, encoding="one-hot")
    with pytest.raises(ValueError, match="are no graphs"):  # before a trial is made
        create_algorithm("neural-predictor", MobileNetV3Space())
    two_stage = create_algorithm("neural-predictor", space, two_stage=True)
    assert isinstance(two_stage.make_predictor(0), GCNPredictor)
    assert isinstance(two_stage.make_classifier(0), GCNPredictor)
    with pytest.raises(ValueError, match="mlp, random_forest"):
        create_predictor("gcn", MobileNetV3Space(), 0)
