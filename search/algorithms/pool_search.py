"""Algorithms that rank candidates: a whole space where it is small, otherwise a pool of it.

Of a search of listed architectures, the problem's own pool, all are ranked.

A fresh pool is half random, a quarter mutants (1 to 3 decisions redrawn) and a quarter crossovers
of the best 20 trials, together with all successful trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from search.algorithms.base import SpaceExhaustedError, StartupSearch
from search.algorithms.options import Pool, PredictorOptions, RankingOptions
from search.algorithms.population_search import best_trials
from search.algorithms.problem import SearchProblem
from search.predictors.base import FeatureFunction, Predictor
from search.predictors.registry import create_predictor

Floats = NDArray[np.float64]

_NUM_PARENTS = 20  # best trials that a fresh pool takes mutants and crossovers of
_MAX_MUTATIONS = 3  # decisions redrawn in a mutant, at most
#: Draws for the random part of a fresh pool; where a tight constraint leaves it short, mutants and
#: crossovers take its place.
_MAX_RANDOM_DRAWS = 1_000_000
_DRAWS_PER_OFFSPRING = 20


class PoolSearch(StartupSearch):
    """Random trials first, then the best of a ranking.

    Args:
        problem: What is searched.
        options: Settings of the algorithm.
        pool: Which pool is ranked, see ``PoolOptions``.

    Raises:
        ValueError: If a fixed pool is asked for in a space that is ranked whole.
    """

    def __init__(
        self, problem: SearchProblem, options: RankingOptions, pool: Pool = "fresh"
    ) -> None:
        super().__init__(problem, options, options.num_initial)
        if pool == "fixed" and problem.is_enumerable:
            raise ValueError(
                f"{problem.name[0].upper()}{problem.name[1:]} is small enough to be ranked whole; "
                "a fixed pool is for larger ones, leave it out."
            )
        self.pool = pool
        self.pool_size = options.pool_size

    def _scored(self, num_trials: int | None = None) -> tuple[NDArray[np.int64], Floats]:
        """The successful among the first ``num_trials``, by default of all, and their scores.

        Returns:
            (num_archs, num_decisions) and (num_archs,).
        """
        scored = [(t.arch, t.score) for t in self.trials[:num_trials] if t.score is not None]
        choices = self.space.choices_of(arch for arch, _ in scored)
        return choices, np.array([score for _, score in scored], np.float64)

    def _sample_initial(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Random unseen architectures, of the pool where it is fixed."""
        if self.pool == "fresh":
            return self._sample_unseen(num_archs, rng)
        unseen = self._fixed_pool[self._unseen_rows(self._fixed_pool, num_archs)]
        return unseen[rng.choice(len(unseen), num_archs, replace=False)]

    def _candidates(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """What is ranked: distinct and feasible, with all successful trials among them.

        Returns:
            (num_candidates, num_decisions).
        """
        if self.problem.is_enumerable:
            return self.problem.feasible_choices
        return self._fixed_pool if self.pool == "fixed" else self._fresh_pool(rng)

    def _unseen_rows(self, choices: NDArray[np.int64], num_archs: int) -> NDArray[np.intp]:
        """Numbers of the unseen rows, ascending; SpaceExhaustedError if below ``num_archs``."""
        unseen = np.flatnonzero(self._are_unseen(choices))
        if len(unseen) < num_archs:
            raise SpaceExhaustedError(
                f"Only {len(unseen)} of {num_archs} architectures found: a {self.pool} pool of "
                f"{self.pool_size} from space {self.space.name!r} held no more that are feasible "
                "and unseen; loosen the constraint or raise pool_size."
            )
        return unseen

    @cached_property
    def _fixed_pool(self) -> NDArray[np.int64]:
        """Random feasible architectures, the same whatever was told."""
        rng = np.random.default_rng((self.seed, 0, 2))  # predictors are seeded with (…, …, 1)
        return self._sample_random(self.pool_size, rng, allows_seen=True)

    def _fresh_pool(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws a pool of told, random, mutated and crossed architectures."""
        pool = self.space.choices_of(trial.arch for trial in best_trials(self.trials))
        parents = pool[:_NUM_PARENTS]

        def random_parents(num_archs: int) -> NDArray[np.int64]:
            return parents[rng.integers(len(parents), size=num_archs)]

        def mutants(num_archs: int) -> NDArray[np.int64]:
            choices = random_parents(num_archs)
            num_mutations = rng.integers(1, _MAX_MUTATIONS + 1, size=num_archs)
            for i in range(_MAX_MUTATIONS):
                rows = num_mutations > i
                choices[rows] = self.space.mutate_choices(choices[rows], rng)
            return choices

        def crossovers(num_archs: int) -> NDArray[np.int64]:
            first, second = random_parents(num_archs), random_parents(num_archs)
            return self.space.crossover_choices(first, second, rng)

        size = len(pool) + self.pool_size
        for draw, share, max_draws in (
            (lambda n: self.space.sample_choices(n, rng), 0.5, _MAX_RANDOM_DRAWS),
            (mutants, 0.5, None),
            (crossovers, 1.0, None),
        ):
            wanted = round(share * (size - len(pool)))
            drawn = self._draw_feasible(
                draw,
                wanted,
                excluded=pool,
                max_draws=max_draws or _DRAWS_PER_OFFSPRING * wanted,
            )
            pool = np.concatenate([pool, drawn.choices])
        return pool


def chosen_features(problem: SearchProblem, names: Sequence[str]) -> FeatureFunction | None:
    """Returns the problem's zero-cost features if some are asked for, else None.

    Raises:
        ValueError: If some are, and the problem has none.
    """
    if names and problem.zero_cost_features is None:
        raise ValueError(
            f"predictor_inputs {' '.join(names)} are zero-cost features, and the search problem "
            "has none; give it zero_cost_features."
        )
    return problem.zero_cost_features if names else None


def predictor_maker(
    problem: SearchProblem, options: PredictorOptions
) -> Callable[[int], Predictor]:
    """Returns what builds the unfitted predictor of some options from a seed below 2**32.

    Raises:
        ValueError: If it could not see the space, the encoding or the features.
    """
    make = partial(
        create_predictor,
        options.predictor,
        problem.space,
        encoding=options.encoding,
        zero_cost_features=chosen_features(problem, options.predictor_inputs),
    )
    make(0)  # refuses now what it could not be fitted to later
    return make
