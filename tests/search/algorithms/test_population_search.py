"""What algorithms have in common that propose from what succeeded."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from search import AlgorithmOptions, RandomSearch, SearchProblem, SpaceExhaustedError
from search.algorithms.population_search import PopulationSearch, best_trials
from supernets.spaces import NASNetSpace
from tests.search.algorithms.running import run, told


@pytest.fixture(params=["local-search", "tpe"])
def make_algorithm(request, build_algorithm):
    return partial(build_algorithm, request.param, num_initial=6)


class FirstOnes(PopulationSearch):
    """Proposes the first of the space that were not seen, three at most."""

    given: list = []

    def __init__(self, space):
        super().__init__(SearchProblem(space), AlgorithmOptions(), num_initial=4)

    def _proposals(self, successful, num_archs, rng):
        self.given = successful
        first = np.array([[0] * 10 + [i // 2, i % 2] for i in range(4)])
        return first[self._are_unseen(first)][: min(num_archs, 3)]


def _choices(archs):
    return np.array([arch.choices for arch in archs])


def test_random_at_first_and_while_too_few_succeed(large_space):
    algorithm = FirstOnes(large_space)
    for num_left, scores in ((4, [1.0, 3.0]), (2, [None, 1.0])):
        assert algorithm.next_batch_size(5) == num_left
        archs = algorithm.ask(len(scores))
        assert not algorithm.given
        told(algorithm, archs, scores)
    assert algorithm.next_batch_size(5) == 5
    assert algorithm.ask(2) and [trial.score for trial in algorithm.given] == [1.0, 3.0, 1.0]
    one = told(FirstOnes(large_space), archs[:1], [1.0])
    told(one, RandomSearch(SearchProblem(large_space)).ask(5), [None] * 5)
    assert one.ask(2) and not one.given


@pytest.mark.parametrize("num_options", [2, 4])  # of an enumerable space, and of a sampled one
def test_random_ones_fill_what_proposals_leave(make_digit_space, num_options):
    space = make_digit_space(12, num_options)
    algorithm = told(FirstOnes(space), RandomSearch(SearchProblem(space)).ask(4), [1.0] * 4)
    archs = algorithm.ask(8)
    assert archs[:3] == algorithm.ask(3) and not any(map(any, _choices(archs[:3])[:, :10]))
    assert len(set(archs) - {trial.arch for trial in algorithm.trials}) == 8


def test_the_best_come_first_and_failed_ones_not_at_all(small_space):
    archs = list(small_space.enumerate())[:5]
    algorithm = told(RandomSearch(SearchProblem(small_space)), archs, [0.0, 2.0, None, -1.0, 2.0])
    assert [trial.number for trial in best_trials(algorithm.trials)] == [1, 4, 0, 3]


@pytest.fixture(params=["small_space", "medium_space", "large_space", "mobilenetv3", "nasnet"])
def space(request):
    if request.param == "nasnet":
        return NASNetSpace(distinct_inputs=False)
    if request.param == "mobilenetv3":
        return request.getfixturevalue("mobilenetv3_costs").space
    return request.getfixturevalue(request.param)


def _even(choices):
    return choices.sum(axis=1) % 2 == 0


def test_asks_are_pure_distinct_unseen_and_feasible(make_algorithm, space, measure, make_estimator):
    """Also of an instance that was asked before, in other numbers."""
    algorithm = make_algorithm(space, seed=3, are_feasible=_even)
    estimator = make_estimator(fails=lambda arch: sum(arch.choices) % 3 == 0)
    for num_archs in (6, 5, 1, 7):
        archs = algorithm.ask(num_archs)
        assert algorithm.ask(num_archs) == archs
        told_at_once = make_algorithm(space, seed=3, are_feasible=_even)
        told_at_once.tell(algorithm.trials)
        assert told_at_once.ask(num_archs) == archs
        assert len(set(archs) - {trial.arch for trial in algorithm.trials}) == num_archs
        assert _even(_choices(archs)).all()
        for arch in archs:
            space.validate(arch)
        algorithm.tell(measure(archs, start=len(algorithm.trials), estimator=estimator))


def test_a_space_is_searched_to_its_end(make_algorithm, small_space, make_estimator):
    algorithm = run(
        make_algorithm(small_space, are_feasible=_even), 40, 8, make_estimator().score
    )  # of 41
    with pytest.raises(SpaceExhaustedError, match="2 architectures: 1 of the 41 feasible"):
        algorithm.ask(2)
    told(algorithm, algorithm.ask(1), [0.0])
    with pytest.raises(SpaceExhaustedError, match="0 of the 41"):
        algorithm.ask(1)


def test_too_small_a_part_of_a_large_space_starves(make_algorithm, large_space, monkeypatch):
    """The three that are feasible are told."""
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 2000)
    archs = [large_space.architecture([digit] * 12) for digit in range(3)]

    def are_feasible(choices):
        return (choices[:, :1] == choices).all(axis=1) & (choices[:, 0] < 3)

    algorithm = make_algorithm(large_space, are_feasible=are_feasible)
    told(
        algorithm,
        [*archs, *RandomSearch(SearchProblem(large_space)).ask(3)],
        [1.0, 2.0, *[None] * 4],
    )
    with pytest.raises(
        SpaceExhaustedError, match="Found 0 of 1 architectures in 2,000 random draws"
    ):
        algorithm.ask(1)


@pytest.mark.parametrize(("space", "batch_size"), [("medium_space", 10), ("large_space", 1)])
def test_beats_random_on_a_planted_landscape(
    make_algorithm, space, request, make_estimator, batch_size
):
    space, score = request.getfixturevalue(space), make_estimator().score
    for seed in range(3):
        found, random = (
            max(t.score for t in run(algorithm, 80, size, score).trials)
            for algorithm, size in (
                (make_algorithm(space, seed=seed), batch_size),
                (RandomSearch(SearchProblem(space, seed=seed)), 80),
            )
        )
        assert found > 1.1 * random


def test_the_number_of_initial_trials_is_checked(make_algorithm, small_space):
    with pytest.raises(ValueError, match="num_initial must be at least 1, got 0"):
        make_algorithm(small_space, num_initial=0)
