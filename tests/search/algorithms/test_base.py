"""The uniform sampling that algorithms share."""

from __future__ import annotations

import numpy as np
import pytest

from search import RandomSearch, SearchProblem, SpaceExhaustedError


def test_uniform_over_what_is_feasible_and_unseen(make_digit_space, measure):
    """Each of 7 remaining points comes first about equally often."""
    space = make_digit_space(2, 3)

    def are_feasible(choices):
        return (choices != 2).any(axis=1)

    told = measure([space.architecture([0, 0])])
    counts: dict[str, int] = {}
    for seed in range(1400):
        algorithm = RandomSearch(SearchProblem(space, seed=seed, are_feasible=are_feasible))
        algorithm.tell(told)
        (arch,) = algorithm.ask(1)
        counts[space.format(arch)] = counts.get(space.format(arch), 0) + 1
    assert len(counts) == 7
    chi_squared = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_squared < 22.5  # 0.999 quantile at 6 degrees of freedom


def test_feasibility_of_an_enumerable_space_is_asked_once(small_space, measure):
    asked = []

    def are_feasible(choices):
        asked.extend(choices.tolist())
        return np.ones(len(choices), np.bool_)

    algorithm = RandomSearch(SearchProblem(small_space, are_feasible=are_feasible))
    algorithm.tell(measure(algorithm.ask(5)))
    algorithm.ask(5)
    assert len(asked) == small_space.size


def test_large_space_is_not_enumerated(large_space):
    algorithm = RandomSearch(SearchProblem(large_space))
    assert not algorithm.problem.is_enumerable
    with pytest.raises(ValueError, match="sample this one instead"):
        algorithm.problem.feasible_choices  # noqa: B018
    assert len(set(algorithm.ask(50))) == 50


def test_sampled_space_says_how_much_was_seen(small_space, measure, monkeypatch):
    """Of 81 points 78 were told: the last three are found, a fourth is missed."""
    monkeypatch.setattr("search.algorithms.problem.MAX_ENUMERABLE_SIZE", 80)
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 30_000)
    archs = list(small_space.enumerate())
    last = {archs[5], archs[40], archs[71]}
    algorithm = RandomSearch(SearchProblem(small_space))
    algorithm.tell(measure([arch for arch in archs if arch not in last]))
    assert set(algorithm.ask(3)) == last
    message = "Found 3 of 4 .* in 30,000 .* 0 of them broke the constraint and 29,997 were seen bef"
    with pytest.raises(SpaceExhaustedError, match=message):
        algorithm.ask(4)
