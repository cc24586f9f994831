"""Algorithms by name, and options that do not apply."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from search import (
    ALGORITHMS,
    DEFAULT_BATCH_SIZES,
    GeneticSearch,
    RandomSearch,
    RegularizedEvolution,
    WeakNAS,
    algorithm_settings,
    create_algorithm,
    create_predictor,
)
from supernets.spaces import NASNetSpace


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
    predictor.fit(weaknas.ask(2), np.zeros(2))
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
    assert isinstance(evolution, GeneticSearch) and evolution.seed == 6
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
    assert set(settings) == {"num_initial", "exclude_before_top", "pool", "pool_size"}
    for name, kind in (
        ("evolution", GeneticSearch),
        ("regularized-evolution", RegularizedEvolution),
    ):
        parameters = inspect.signature(kind.__init__).parameters
        settings = algorithm_settings(name)
        assert settings == {name: parameters[name].default for name in settings}
        assert parameters.keys() - settings == {"self", "space", "seed", "are_feasible"}


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
    predictor.fit(weaknas.ask(2), np.zeros(2))
    assert predictor._model.n_features_in_ == 1596


def test_unknown_names(small_space):
    with pytest.raises(ValueError, match="Unknown algorithm 'x'; choose from random, weaknas, e"):
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
