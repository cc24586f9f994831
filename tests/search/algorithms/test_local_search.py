"""Local search: whose neighbors are asked for, by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from search import LocalSearchOptions, SearchProblem, Trial
from search.algorithms.local_search import LocalSearch


def _tell(algorithm, archs, scores):
    start = len(algorithm.trials)
    algorithm.tell(
        [
            Trial(start + i, arch, score, {}, 0.0, "failed" if score is None else None)
            for i, (arch, score) in enumerate(zip(archs, scores, strict=True))
        ]
    )


def _distances(archs, center):
    return [int(np.not_equal(arch.choices, center.choices).sum()) for arch in archs]


@pytest.fixture
def constant(medium_space):
    """Architectures of one digit, no two of which have a neighbor in common."""
    return [medium_space.architecture([digit] * 6) for digit in range(4)]


@pytest.fixture
def algorithm(medium_space, constant):
    """Told three of them: the first failed, the last is the best."""
    algorithm = LocalSearch(SearchProblem(medium_space), LocalSearchOptions(num_initial=3))
    _tell(algorithm, constant[:3], [None, 1.0, 2.0])
    return algorithm


def test_all_neighbors_of_the_best_come_before_those_of_the_next(algorithm, constant):
    """18 each: another of four options of one of six decisions."""
    archs = algorithm.ask(36)
    assert _distances(archs[:18], constant[2]) == [1] * 18
    assert _distances(archs[18:], constant[1]) == [1] * 18
    assert len(set(archs)) == 36


def test_goes_on_from_the_next_best_when_no_neighbor_is_better(algorithm, constant):
    _tell(algorithm, algorithm.ask(18), [None] * 17 + [0.0])
    archs = algorithm.ask(18)
    assert _distances(archs, constant[1]) == [1] * 18
    _tell(algorithm, archs[:17], [0.5] + [None] * 16)
    assert algorithm.ask(1) == archs[17:]
    _tell(algorithm, archs[17:], [None])
    last = [algorithm.ask(1)[0]]
    assert _distances(last, archs[0]) == [1]  # of score 0.5, the next


def test_moves_as_soon_as_a_better_one_is_told(algorithm):
    archs = algorithm.ask(3)
    _tell(algorithm, archs, [1.5, 3.0, 2.5])
    assert _distances(algorithm.ask(12), archs[1]) == [1] * 12


def test_of_equal_ones_the_first_told_is_the_best(algorithm, constant):
    _tell(algorithm, constant[3:], [2.0])
    assert _distances(algorithm.ask(18), constant[2]) == [1] * 18


def test_neighbors_come_in_random_order(large_space):
    counts = Counter()
    archs = [large_space.architecture([digit] * 12) for digit in range(2)]
    for seed in range(60):
        algorithm = LocalSearch(
            SearchProblem(large_space, seed=seed), LocalSearchOptions(num_initial=2)
        )
        _tell(algorithm, archs, [1.0, 0.0])
        (arch,) = algorithm.ask(1)
        counts[arch.choices.index(max(arch.choices))] += 1
    assert set(counts) == set(range(12)) and max(counts.values()) < 15


def test_only_feasible_neighbors_are_asked_for(medium_space, constant):
    algorithm = LocalSearch(
        SearchProblem(medium_space, are_feasible=lambda choices: choices.max(axis=1) <= 1),
        LocalSearchOptions(num_initial=2),
    )
    _tell(algorithm, constant[:2], [1.0, 0.0])
    archs = algorithm.ask(12)
    assert _distances(archs, constant[0]) == [1] * 6 + [5] * 6


def test_random_ones_come_where_no_trial_has_neighbors(medium_space, constant):
    """Only the architectures of one digit are feasible."""
    algorithm = LocalSearch(
        SearchProblem(
            medium_space, are_feasible=lambda choices: (choices == choices[:, :1]).all(axis=1)
        ),
        LocalSearchOptions(num_initial=2),
    )
    _tell(algorithm, constant[1:3], [1.0, 0.0])
    assert set(algorithm.ask(2)) == {constant[0], constant[3]}


def test_one_active_decision_changes(mobilenetv3_costs):
    """Blocks come and go with the depth of their stage, and with nothing else."""
    space = mobilenetv3_costs.space
    algorithm = LocalSearch(SearchProblem(space), LocalSearchOptions(num_initial=2))
    _tell(algorithm, [space.sample(np.random.default_rng(i)) for i in (0, 1)], [2.0, 1.0])
    best = np.array(algorithm.trials[0].arch.choices)
    asked = np.array([arch.choices for arch in algorithm.ask(60)])
    was_active = space.is_active(best[None])
    changed = (asked != best) & was_active & space.is_active(asked)
    assert (changed.sum(axis=1) == 1).all()
    is_depth = changed[:, :5].any(axis=1)
    assert (space.is_active(asked) == was_active)[~is_depth].all()
    assert 5 <= is_depth.sum() < 60
