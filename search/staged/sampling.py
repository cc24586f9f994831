"""Architectures of a problem as they come, and the heaviest of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.algorithms.problem import SearchProblem
from search.algorithms.random_search import RandomSearch
from supernets.spaces import Architecture

#: Random architectures that are tried for a pool, so that tight limits leave a smaller one.
MAX_POOL_DRAWS = 200_000


def some_of(problem: SearchProblem, num_archs: int) -> NDArray[np.int64]:
    """Returns architectures as they come, (num_archs, num_decisions).

    Args:
        problem: What is searched.
        num_archs: How many at most of a space too large to be ranked whole; of others they are all,
            mixed.

    Raises:
        SpaceExhaustedError: If there is none.
    """
    rng = np.random.default_rng((problem.seed, 1))
    if problem.is_enumerable:
        feasible = problem.feasible_choices
        return feasible[rng.permutation(len(feasible))]
    return Sampler(problem).others(num_archs, problem.space.choices_of([]), rng)


def heaviest_of(
    problem: SearchProblem, costs: Callable[[NDArray[np.int64]], NDArray[Any]], num_archs: int
) -> Architecture:
    """Returns the architecture of the highest cost, what one takes who does not search.

    Args:
        problem: What is searched.
        costs: Costs, (num_archs,), of choices (num_archs, num_decisions).
        num_archs: As of ``some_of``: of a space too large it is the heaviest of so many.

    Raises:
        SpaceExhaustedError: If there is none.
    """
    choices = some_of(problem, num_archs)
    (arch,) = problem.space.architectures(choices[[int(np.argmax(costs(choices)))]])
    return arch


class Sampler(RandomSearch):
    """Draws architectures of a problem, with the errors of a search where there are too few."""

    def unseen(self, excluded: set[Architecture]) -> Architecture:
        """Returns one at random that was not told and is not excluded."""
        for num_archs in (1, len(excluded) + 1):
            for arch in self.ask(num_archs):
                if arch not in excluded:
                    return arch
        raise AssertionError("one more than those that are excluded was drawn")

    def others(
        self, num_archs: int, excluded: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draws at most as many that are not excluded, told or not, (num_drawn, num_decisions).

        Raises:
            SpaceExhaustedError: If there is none, and none is excluded.
        """
        drawn = self._draw_feasible(
            lambda size: self.space.sample_choices(size, rng),
            num_archs,
            excluded=excluded,
            allows_seen=True,
            max_draws=MAX_POOL_DRAWS,
        ).choices
        if len(drawn) or len(excluded):
            return drawn
        return self._sample_random(1, rng, allows_seen=True)  # which tries longer, and says why

    def mutants(
        self,
        parents: NDArray[np.int64],
        num_archs: int,
        excluded: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Draws mutants that are not excluded, as many at most, (num_mutants, num_decisions)."""

        def draw(size: int) -> NDArray[np.int64]:
            return self.space.mutate_choices(parents[rng.integers(len(parents), size=size)], rng)

        return self._draw_feasible(
            draw, num_archs, excluded=excluded, allows_seen=True, max_draws=4 * num_archs
        ).choices
