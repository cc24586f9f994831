"""Algorithms by name, and options that do not apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import (
    ALGORITHMS,
    AlgorithmDefinition,
    ProxyBO,
    RandomSearch,
    RegularizedEvolution,
    SearchProblem,
    SPOSEvolution,
    SPOSEvolutionOptions,
    TPEOptions,
    TrialStore,
    WeakNAS,
    algorithm_settings,
    create_algorithm,
    create_predictor,
    run_search,
)
from search.algorithms.options import AlgorithmOptions
from search.algorithms.registry import num_random_trials
from search.cli.options import build_parser
from search.predictors.gcn import GCNPredictor
from supernets.spaces import NASNetSpace

#: What headers of trials record of a search by default, which must stay as it is; a new algorithm
#: need not be here.
POOL = {"pool": "fresh", "pool_size": 10_000}
DEFAULTS: dict[str, dict[str, Any]] = {
    "random": {},
    "weaknas": {
        "predictor": "mlp",
        "encoding": "one-hot",
        "predictor_inputs": (),
        "num_initial": 10,
        "top_n": 100,
        "exclude_before_top": False,
        "sampling": "uniform",
        "keep": "all",
        "acquisition": "mean",
        **POOL,
    },
    "structural-bo": {"num_initial": 5, "pool_size": 10_000},
    "neural-predictor": {
        "predictor": "gcn",
        "predictor_inputs": (),
        "num_initial": 172,
        "two_stage": False,
        **POOL,
    },
    "bo": {"encoding": "one-hot", "num_initial": 5, "rand_prob": 0.0, **POOL, "pool_size": 5_000},
    "proxybo": {
        "encoding": "one-hot",
        "predictor_inputs": (),
        "num_initial": 5,
        "tau0": 0.05,
        "rand_prob": 0.0,
        **POOL,
        "pool_size": 5_000,
    },
    "evolution": {"num_initial": 50, "num_parents": 10, "mutation_prob": 0.1},
    "regularized-evolution": {"population_size": 50, "tournament_size": 10},
    "local-search": {"num_initial": 10},
    "tpe": {"num_initial": 20, "gamma": 0.25, "num_candidates": 24},
}


def _starts_with_zero(choices):
    return choices[:, 0] == 0


def test_builds_by_name(small_space):
    problem = SearchProblem(small_space, seed=5, are_feasible=_starts_with_zero)
    random = create_algorithm("random", problem)
    assert isinstance(random, RandomSearch) and random.seed == 5
    weaknas = create_algorithm(
        "weaknas",
        problem,
        predictor="random_forest",
        encoding="integers",
        num_initial=7,
        top_n=[20, 10],
        pool_size=None,
    )
    assert isinstance(weaknas, WeakNAS) and weaknas.problem is problem
    assert weaknas.next_batch_size(3) == 7
    assert weaknas.options.top_ns == (20, 10) and weaknas.options.pool_size == 10_000
    predictor = weaknas.make_predictor(0)
    assert type(predictor._model).__name__ == "RandomForestRegressor"
    predictor.fit(small_space.choices_of(weaknas.ask(2)), np.zeros(2))
    assert predictor._model.n_features_in_ == 4
    evolution = create_algorithm("evolution", problem, SPOSEvolutionOptions(num_initial=8))
    assert isinstance(evolution, SPOSEvolution) and evolution.next_batch_size(50) == 8
    aging = create_algorithm("regularized-evolution", problem, population_size=11)
    assert isinstance(aging, RegularizedEvolution) and aging.next_batch_size(1) == 11
    for algorithm in (random, weaknas, evolution, aging):
        assert all(arch.choices[0] == 0 for arch in algorithm.ask(9))


def test_settings_are_the_defaults_of_the_algorithm():
    assert {name: algorithm_settings(name) for name in DEFAULTS} == DEFAULTS
    for name, entry in ALGORITHMS.items():
        assert algorithm_settings(name) == entry.options().settings()
        assert entry.batch_size >= 1
    settings = algorithm_settings("weaknas", top_n=50, predictor=None)
    assert settings == {**DEFAULTS["weaknas"], "top_n": 50}
    sizes = {name: ALGORITHMS[name].batch_size for name in DEFAULTS}
    assert {name: size for name, size in sizes.items() if size > 1} == {
        "random": 10,
        "weaknas": 10,
        "neural-predictor": 10,
        "evolution": 50,
    }


def test_the_example_of_contributing_is_a_file(tmp_path, small_space, make_estimator):
    """It is found by where it is, its settings are flags, and a search by it gets to the best."""
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = guide.split("## Add a search algorithm")[1].split("```python\n")[1].split("```")[0]
    assert 20 < len(example.splitlines()) < 50
    (tmp_path / "best_mutants.py").write_text(example, encoding="utf-8")
    name = f"{tmp_path / 'best_mutants.py'}:BEST_MUTANTS"
    algorithm = create_algorithm(name, SearchProblem(small_space), num_best=5)
    with TrialStore.open(tmp_path / "trials.db", {}, small_space) as store:
        best = run_search(algorithm, make_estimator(), store, num_trials=40, batch_size=1)
    assert best.arch.choices == (2, 2, 2, 2)
    args = build_parser(algorithm=name).parse_args(["--algorithm", name, "--num-best", "5"])
    assert args.num_best == 5
    assert {ALGORITHMS.own_name(each) for each in (name, "best-mutants")} == {"best-mutants"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"algorithm": "weaknas"}, "algorithm must be a subclass of SearchAlgorithm, got 'weak"),
        ({"options": dict}, "options must be a subclass of AlgorithmOptions, got the class dict"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"name": None}, "name must be text, got None"),
    ],
)
def test_what_a_definition_says_is_checked(changed, message):
    good = {"name": "mine", "algorithm": RandomSearch}
    assert AlgorithmDefinition(**good).options is AlgorithmOptions
    with pytest.raises(ValueError, match=message):
        AlgorithmDefinition(**{**good, **changed})


def test_options_are_of_the_algorithm(small_space):
    problem = SearchProblem(small_space)
    with pytest.raises(ValueError, match="'tpe' takes TPEOptions, .* got SPOSEvolutionOptions."):
        create_algorithm("tpe", problem, SPOSEvolutionOptions())
    with pytest.raises(ValueError, match="'tpe' takes .* got TPEOptions, gamma."):
        create_algorithm("tpe", problem, TPEOptions(), gamma=0.2)


def test_encodings_that_the_space_lacks_are_refused(small_space):
    with pytest.raises(ValueError, match="has no encoding 'path'; choose from one-hot, integers"):
        create_algorithm("weaknas", SearchProblem(small_space), encoding="path")
    with pytest.raises(ValueError, match="has no encoding 'path'"):
        create_predictor("mlp", small_space, 0, encoding="path")
    space = NASNetSpace(distinct_inputs=True)
    weaknas = create_algorithm(
        "weaknas", SearchProblem(space), encoding="path", predictor="gradient_boosting"
    )
    predictor = weaknas.make_predictor(0)
    predictor.fit(space.choices_of(weaknas.ask(2)), np.zeros(2))
    assert predictor._model.n_features_in_ == 1596


def test_unknown_names(small_space):
    with pytest.raises(ValueError, match="Unknown algorithm 'x'; choose from random, weaknas, s"):
        create_algorithm("x", SearchProblem(small_space))
    with pytest.raises(ValueError, match="Unknown predictor 'x'; choose from mlp, random_forest"):
        create_algorithm("weaknas", SearchProblem(small_space), predictor="x")
    with pytest.raises(ValueError, match="encoding must be one of one-hot, integers, p"):
        create_algorithm("weaknas", SearchProblem(small_space), encoding="x")


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
        create_algorithm("random", SearchProblem(small_space), **option)


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
        create_algorithm(name, SearchProblem(small_space), **option)


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
    with pytest.raises(ValueError, match=f"{option} has no effect unless {other} is {needed}; l"):
        algorithm_settings(name, **{option: default})  # even if it is the default
    options = algorithm_settings(name, **{other: needed, option: default})
    assert options[option] == default


def test_processes_that_all_agree_make_no_ensemble(small_space):
    with pytest.raises(ValueError, match="'gaussian_process' do not; choose another predictor"):
        create_algorithm(
            "weaknas", SearchProblem(small_space), acquisition="ei", predictor="gaussian_process"
        )
    create_algorithm(
        "weaknas", SearchProblem(small_space), acquisition="ei", predictor="mlp_ensemble"
    )


def test_random_trials_to_begin_with():
    numbers = {name: num_random_trials(algorithm_settings(name)) for name in DEFAULTS}
    assert numbers.pop("random") == 0 and min(numbers.values()) == 5
    assert (numbers["regularized-evolution"], numbers["neural-predictor"]) == (50, 172)


def test_builds_proxies_from_zero_cost_features(small_space):
    def features(choices):
        return choices.sum(axis=1, keepdims=True).astype(np.float64)

    problem = SearchProblem(small_space, zero_cost_features=features)
    with pytest.raises(ValueError, match="ProxyBO needs predictor_inputs"):
        create_algorithm("proxybo", problem)
    for name in ("proxybo", "weaknas"):
        with pytest.raises(ValueError, match="predictor_inputs macs are .* problem has none; give"):
            create_algorithm(name, SearchProblem(small_space), predictor_inputs=["macs"])
    proxybo = create_algorithm("proxybo", problem, predictor_inputs=["macs"])
    assert isinstance(proxybo, ProxyBO) and proxybo.proxies is features
    bo = create_algorithm("bo", problem, rand_prob=0.2)
    assert isinstance(bo, ProxyBO) and bo.proxies is None and bo.options.rand_prob == 0.2


def test_builds_predictors_that_have_their_own_view():
    space = NASNetSpace(distinct_inputs=True)
    for name in ("gaussian_process", "gcn"):
        with pytest.raises(ValueError, match=f"'{name}' has its own view of architectures"):
            create_predictor(name, space, 0, encoding="path")
        with pytest.raises(ValueError, match=f"'{name}' has its own view .* 'one-hot' out"):
            create_algorithm("weaknas", SearchProblem(space), predictor=name, encoding="one-hot")
    two_stage = create_algorithm("neural-predictor", SearchProblem(space), two_stage=True)
    assert isinstance(two_stage.make_predictor(0), GCNPredictor)
    assert isinstance(two_stage.make_classifier(0), GCNPredictor)
