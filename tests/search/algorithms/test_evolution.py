"""Evolution: who is a parent of what, by hand, and that it gets somewhere."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial

import numpy as np
import pytest

from search import (
    RandomSearch,
    RegularizedEvolution,
    RegularizedEvolutionOptions,
    SearchProblem,
    SpaceExhaustedError,
    SPOSEvolution,
    SPOSEvolutionOptions,
)
from supernets.cost.analytic import Constraint, feasibility_check
from tests.search.algorithms.running import told

ALGORITHMS = {
    "evolution": {"num_initial": 10, "num_parents": 5},
    "regularized-evolution": {"population_size": 10, "tournament_size": 4},
}


@pytest.fixture(params=ALGORITHMS)
def make_algorithm(request, build_algorithm):
    return partial(build_algorithm, request.param, **ALGORITHMS[request.param])


@pytest.fixture
def given_to(monkeypatch):
    """Records the parents that a space's operators are given: rows of choices by operator."""

    def record(space):
        given = {"redraw_choices": [], "crossover_choices": [], "mutate_choices": []}

        def recorded(name, real, *args):
            given[name].append([arg.copy() for arg in args if isinstance(arg, np.ndarray)])
            return real(*args)

        for name in given:
            monkeypatch.setattr(space, name, partial(recorded, name, getattr(space, name)))
        return given

    return record


def _first(space, num):
    return list(itertools.islice(space.enumerate(), num))


def _rows(arrays):
    return {tuple(row) for array in arrays for row in array.tolist()}


def _choices(archs):
    return np.array([arch.choices for arch in archs])


def _none(choices):
    return np.zeros(len(choices), np.bool_)


def test_the_best_of_all_trials_are_parents(medium_space, given_to):
    """Of equal ones at the cut those told first; failed ones never."""
    algorithm = SPOSEvolution(
        SearchProblem(medium_space), SPOSEvolutionOptions(num_initial=12, num_parents=4)
    )
    archs = _first(medium_space, 12)
    told(algorithm, archs, [3.0, None, 9.0, 1.0, 8.0, None, 7.0, -2.0, 9.0, 4.0, 0.0, 7.0])
    given = given_to(medium_space)
    algorithm.ask(40)
    best = {archs[i].choices for i in (2, 8, 4, 6)}
    assert _rows(parents for (parents,) in given["redraw_choices"]) == best
    for first, second in given["crossover_choices"]:
        assert (first != second).any(axis=1).all()
    assert _rows(first for first, _ in given["crossover_choices"]) == best
    assert _rows(second for _, second in given["crossover_choices"]) == best


@pytest.fixture
def zeros_and_ones(large_space):
    """Tells an algorithm of two parents with nothing in common."""
    archs = [large_space.architecture([digit] * 12) for digit in (0, 1)]
    return lambda seed=0, **options: told(
        SPOSEvolution(
            SearchProblem(large_space, seed), SPOSEvolutionOptions(num_initial=2, **options)
        ),
        archs,
        [1.0, 2.0],
    )


def _are_crossovers(archs):
    """A random architecture looks like one once in 4,096."""
    return [max(arch.choices) <= 1 for arch in archs]


def test_half_are_mutants_and_half_crossovers(zeros_and_ones):
    archs = zeros_and_ones(mutation_prob=0.1).ask(20)
    distances = [(_choices(archs[:10]) != digit).sum(axis=1) for digit in (0, 1)]
    assert 1 <= np.min(distances, axis=0).min() and np.min(distances, axis=0).max() <= 4
    assert all(_are_crossovers(archs[10:])) and not all(_are_crossovers(archs[:10]))
    ones = _choices(archs[10:]).mean(axis=1)
    assert 0.3 < ones.mean() < 0.7 and (0 < ones).all() and (ones < 1).all()


def test_mutation_probabilities_of_none_and_all(zeros_and_ones):
    """At 0 a mutant is its parent, so that random ones take its place; at 1 it is random."""
    crossed, random = [True] * 10, [False] * 10
    assert _are_crossovers(zeros_and_ones(mutation_prob=0.0).ask(20)) == crossed + random
    assert _are_crossovers(zeros_and_ones(mutation_prob=1.0).ask(20)) == random + crossed


def test_of_an_odd_number_one_is_either(zeros_and_ones):
    counts = Counter(
        sum(_are_crossovers(zeros_and_ones(mutation_prob=1.0, seed=seed).ask(num_archs)))
        for seed in range(30)
        for num_archs in (1, 3)
    )
    assert counts.keys() == {0, 1, 2} and counts[1] > 20 and min(counts[0], counts[2]) > 5


def test_the_oldest_leave_the_population(medium_space, given_to):
    """However good they were; and failed trials are not of it."""
    algorithm = RegularizedEvolution(
        SearchProblem(medium_space),
        RegularizedEvolutionOptions(population_size=3, tournament_size=3),
    )
    archs = _first(medium_space, 9)
    told(algorithm, archs[:6], [100.0, 50.0, 1.0, None, 3.0, 2.0])
    for new_scores, parent in (([], 4), ([1.0, 1.5], 5), ([None], 5)):
        start = len(algorithm.trials)
        told(algorithm, archs[start : start + len(new_scores)], new_scores)
        given = given_to(medium_space)
        (child,) = algorithm.ask(1)
        assert _rows(parents for (parents,) in given["mutate_choices"]) == {archs[parent].choices}
        assert np.count_nonzero(np.subtract(child.choices, archs[parent].choices)) == 1


@pytest.mark.parametrize(("population_size", "tournament_size"), [(4, 1), (4, 2), (6, 3), (3, 3)])
def test_parents_win_random_tournaments(
    large_space, given_to, population_size, tournament_size, monkeypatch
):
    """As often as the best of all possible tournaments; of 100 draws per child."""
    algorithm = RegularizedEvolution(
        SearchProblem(large_space, are_feasible=_none),
        RegularizedEvolutionOptions(
            population_size=population_size, tournament_size=tournament_size
        ),
    )
    archs = [large_space.architecture([rank % 4, rank // 4] + [0] * 10) for rank in range(6)]
    archs = archs[:population_size]
    order = np.random.default_rng(0).permutation(population_size)
    told(algorithm, [archs[rank] for rank in order], [-float(rank) for rank in order])
    given = given_to(large_space)
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 100)
    with pytest.raises(
        SpaceExhaustedError, match="Found 0 of 20 architectures in 100 random draws"
    ):
        algorithm.ask(20)
    parents = np.concatenate([parents for (parents,) in given["mutate_choices"]])
    assert len(parents) == 2000
    tournaments = list(itertools.combinations(range(population_size), tournament_size))
    wins = Counter(min(members) for members in tournaments)
    for rank, arch in enumerate(archs):
        share = (parents == arch.choices).all(axis=1).mean()
        assert share == pytest.approx(wins[rank] / len(tournaments), abs=0.05)


def test_equals_win_equally(large_space, given_to):
    algorithm = RegularizedEvolution(
        SearchProblem(large_space),
        RegularizedEvolutionOptions(population_size=4, tournament_size=4),
    )
    archs = [large_space.architecture([digit] * 12) for digit in range(4)]
    told(algorithm, archs, [1.0] * 4)
    given = given_to(large_space)
    for seed in range(40):
        algorithm.seed = seed
        algorithm.ask(1)
    wins = Counter(parents[0, 0] for (parents,) in given["mutate_choices"])
    assert min(wins[digit] for digit in range(4)) >= 4


@pytest.mark.parametrize("tournament_size", [1, 2])
def test_a_child_seen_before_is_drawn_anew(small_space, tournament_size):
    """All 8 neighbours of the better of two are seen: the other's come, or random ones."""
    neighbours = [arch for arch in small_space.enumerate() if np.count_nonzero(arch.choices) == 1]
    zeros, twos = (small_space.architecture([digit] * 4) for digit in (0, 2))
    algorithm = RegularizedEvolution(
        SearchProblem(small_space),
        RegularizedEvolutionOptions(population_size=2, tournament_size=tournament_size),
    )
    told(algorithm, [zeros, twos, *neighbours], [5.0, 1.0] + [None] * 8)
    archs = algorithm.ask(8)
    are_mutants = (_choices(archs) != 2).sum(axis=1) == 1
    if tournament_size == 1:
        assert are_mutants.all()
    else:
        assert are_mutants.sum() < 4


@pytest.mark.parametrize("num_successful", [0, 1])
def test_nothing_is_bred_of_fewer_than_two(make_algorithm, medium_space, given_to, num_successful):
    algorithm = make_algorithm(medium_space)
    scores = [1.0] * num_successful + [None] * (12 - num_successful)
    told(algorithm, _first(medium_space, 12), scores)
    given = given_to(medium_space)
    assert len(set(algorithm.ask(5))) == 5
    assert not any(given.values())


def test_batches_begin_with_the_initial_trials(make_algorithm, medium_space, measure, given_to):
    algorithm = make_algorithm(medium_space)
    given = given_to(medium_space)
    assert algorithm.next_batch_size(50) == 10
    algorithm.tell(measure(algorithm.ask(7)))
    assert algorithm.next_batch_size(50) == 3
    algorithm.tell(measure(algorithm.ask(3), start=7))
    assert not any(given.values())
    assert algorithm.next_batch_size(50) == 50
    algorithm.ask(2)
    assert any(given.values())


def test_children_are_found_in_a_window_that_random_ones_are_rare_in(
    make_algorithm, mobilenetv3_costs, measure, monkeypatch
):
    """2 million of 445 million MACs; not one of the children is random."""
    window = feasibility_check(mobilenetv3_costs, [Constraint("macs", 350e6, 352e6)])
    algorithm = make_algorithm(mobilenetv3_costs.space, are_feasible=window)
    algorithm.tell(measure(algorithm.ask(10)))
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 0)
    archs = algorithm.ask(10)
    assert len(set(archs)) == 10 and window(_choices(archs)).all()


def _best(algorithm, num_trials, batch_size, score):
    while len(algorithm.trials) < num_trials:
        num_left = num_trials - len(algorithm.trials)
        archs = algorithm.ask(min(algorithm.next_batch_size(batch_size), num_left))
        told(algorithm, archs, [score(arch) for arch in archs])
    return max(trial.score for trial in algorithm.trials)


@pytest.mark.parametrize("space", ["medium_space", "large_space"])
def test_beats_random_on_a_planted_landscape(make_algorithm, space, request, make_estimator):
    space, score = request.getfixturevalue(space), make_estimator().score
    for seed in range(5):
        evolved = _best(make_algorithm(space, seed=seed), 100, 5, score)
        assert evolved > 1.05 * _best(RandomSearch(SearchProblem(space, seed=seed)), 100, 50, score)


@pytest.mark.parametrize(
    ("kind", "wrong", "match"),
    [
        (SPOSEvolutionOptions, {"num_initial": 0}, "num_initial must be at least 1, got 0"),
        (SPOSEvolutionOptions, {"num_parents": 1}, "num_parents must be at least 2.* got 1"),
        (
            SPOSEvolutionOptions,
            {"mutation_prob": -0.1},
            "mutation_prob must be from 0 to 1, got -0.1",
        ),
        (
            SPOSEvolutionOptions,
            {"mutation_prob": 1.1},
            "mutation_prob must be from 0 to 1, got 1.1",
        ),
        (
            SPOSEvolutionOptions,
            {"mutation_prob": float("nan")},
            "mutation_prob must be from 0 to 1, got nan",
        ),
        (
            RegularizedEvolutionOptions,
            {"population_size": 0, "tournament_size": 0},
            "population_size must be at least 1, got 0",
        ),
        (
            RegularizedEvolutionOptions,
            {"tournament_size": 0},
            "tournament_size must be at least 1, got 0",
        ),
        (
            RegularizedEvolutionOptions,
            {"population_size": 5},
            "tournament_size must be from 1 to population_size=5, got 10",
        ),
    ],
)
def test_settings_are_checked(kind, wrong, match):
    with pytest.raises(ValueError, match=match):
        kind(**wrong)
