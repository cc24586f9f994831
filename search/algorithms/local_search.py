"""Local search: the neighbors of the best architecture, until none of them is better.

Paper: Local Search is State of the Art for Neural Architecture Search Benchmarks,
https://arxiv.org/abs/2005.02960

Differs from the paper in:

1. The search moves on as soon as a better trial is told; in the paper it measures all neighbors
   and moves to the best of them.
2. Where no neighbor of the best was better, those of the next best trial follow; in the paper the
   search begins anew at a random architecture.
3. An architecture's neighbors are what 1,000 random mutations make of it. These are all of them
   but in spaces where some are improbable or where there are hundreds.
4. Of a pool, a mutation that it does not list stands for the listed architecture that differs from
   it in the fewest decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.trials.store import Trial
from search.algorithms.options import AlgorithmOptions, num_initial_option
from search.algorithms.population_search import PopulationSearch, best_trials
from search.algorithms.problem import SearchProblem
from search.algorithms.rows import unseen_rows
from supernets.spaces import Architecture

_NUM_MUTATIONS = 1000


@dataclass(frozen=True)
class LocalSearchOptions(AlgorithmOptions):
    """Settings of ``LocalSearch``.

    Args:
        num_initial: Number of random trials, from the best of which the search starts.

    Raises:
        ValueError: If it is less than 1.

    Example:
        >>> LocalSearchOptions(num_initial=5)
        LocalSearchOptions(num_initial=5)
    """

    num_initial: int = num_initial_option(10)


class LocalSearch(PopulationSearch):
    """Measures the neighbors of the best trial in random order.

    A neighbor differs in one decision. Once all feasible neighbors of the best trial are told, the
    search goes on with the best trial that has others; where none has, at random.

    Args:
        problem: What is searched.
        options: Settings of the search.
    """

    def __init__(self, problem: SearchProblem, options: LocalSearchOptions | None = None) -> None:
        options = options or LocalSearchOptions()
        super().__init__(problem, options, options.num_initial)
        self._neighbors: dict[Architecture, NDArray[np.int64]] = {}

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        trials = best_trials(successful)
        found = self.space.choices_of([])
        start, stop = 0, 1
        while start < len(trials) and len(found) < num_archs:
            neighbors = [self._neighbors_of(trial) for trial in trials[start:stop]]
            candidates = np.concatenate([found, *neighbors])
            found = candidates[
                unseen_rows(candidates, candidates[:0]) & self._are_unseen(candidates)
            ]
            start, stop = stop, 2 * stop  # late in a search those of many are all seen
        return found[:num_archs]

    def _neighbors_of(self, trial: Trial) -> NDArray[np.int64]:
        """The feasible neighbors, in a random order that stays; found once, as asks repeat."""
        if trial.arch not in self._neighbors:
            rng = np.random.default_rng((self.seed, trial.number, 3))  # (…, …, 1) are predictors'
            copies = np.tile(trial.arch.choices, (_NUM_MUTATIONS, 1))
            mutants = self.space.mutate_choices(copies, rng)
            if self.problem.pool is not None:
                mutants = mutants[unseen_rows(mutants, mutants[:0])]  # finding the nearest is slow
                others = self.problem.feasible_choices
                others = others[unseen_rows(others, copies[:1])]
                mutants = self._within_pool(mutants, others, rng)
            mutants = mutants[self.problem.is_feasible(mutants)]
            self._neighbors[trial.arch] = mutants[unseen_rows(mutants, mutants[:0])]
        return self._neighbors[trial.arch]
