"""What is searched, and the pool it may be restricted to."""

from __future__ import annotations

import re

import numpy as np
import pytest

from search import SearchProblem
from search.algorithms.rows import nearest_rows


def test_a_pool_is_a_check_and_a_source(small_space):
    pool = list(small_space.enumerate())[5:25]
    problem = SearchProblem(small_space, are_feasible=lambda c: c[:, -1] == 0, pool=pool)
    expected = [arch for arch in pool if arch.choices[-1] == 0]
    assert small_space.architectures(problem.feasible_choices) == expected
    assert problem.is_feasible(small_space.all_choices()).sum() == len(expected)
    assert problem.is_listed(small_space.all_choices()).sum() == 20
    assert problem.pool_digest == SearchProblem(small_space, pool=pool[::-1]).pool_digest
    assert problem.pool_digest != SearchProblem(small_space, pool=pool[1:]).pool_digest
    assert SearchProblem(small_space).pool_digest is None


@pytest.mark.parametrize(
    ("pool_of", "message"),
    [
        (lambda space: [], "pool must hold at least one architecture"),
        (lambda space: [space.architecture([1] * 4)] * 2, "pool holds 1-1-1-1 twice"),
        (lambda space: ["1-1-1-1"], "pool must be an Architecture"),
    ],
)
def test_pools_are_checked(small_space, pool_of, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchProblem(small_space, pool=pool_of(small_space))


def test_a_pool_of_another_space_is_refused(small_space, medium_space):
    with pytest.raises(ValueError, match="is from space"):
        SearchProblem(small_space, pool=[medium_space.architecture([0] * 6)])


def test_nearest_rows_are_those_of_fewest_differences_equals_at_random():
    rng = np.random.default_rng(0)
    listed = np.array([[0, 0, 0], [1, 1, 0], [2, 2, 2]])
    near = nearest_rows(np.array([[2, 2, 0], [0, 0, 3], [1, 1, 0]]), listed, rng)
    assert near.tolist() == [[2, 2, 2], [0, 0, 0], [1, 1, 0]]
    between = nearest_rows(np.tile([0, 1, 0], (50, 1)), listed, rng)
    assert {tuple(row) for row in between.tolist()} == {(0, 0, 0), (1, 1, 0)}
