"""Bayesian optimisation that sees through the notation, for few queries.

Ours; there is no paper. After every batch an exact Gaussian process over the structure of
architectures (``search.predictors.gaussian_process``) is fitted to all trials, and the next ones
are those of highest expected improvement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from search.algorithms.acquisition import log_expected_improvement
from search.algorithms.log_regret_gp import LogRegretGP, log_regrets
from search.algorithms.options import RankingOptions
from search.algorithms.pool_search import PoolSearch
from search.algorithms.problem import SearchProblem
from search.predictors.base import Predictor
from search.predictors.gaussian_process import Belief, Features, GaussianProcess, Posterior, Table

#: Multiply-adds that may be spent on variances; with more trials, only candidates of high expected
#: score get one, but at least ``MIN_UNCERTAIN``.
MAX_WORK = 5_000_000_000
MIN_UNCERTAIN = 1000
#: In a space too large to rank whole, the best candidates are mutated in some rounds.
NUM_ROUNDS, NUM_PARENTS, NUM_MUTANTS = 3, 50, 1000


@dataclass(frozen=True)
class StructuralBOOptions(RankingOptions):
    """Settings of ``StructuralBO``: where the space is too large, the best of a pool are mutated.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> StructuralBOOptions().settings()
        {'num_initial': 5, 'pool_size': 10000}
    """


class StructuralBO(PoolSearch):
    """Asks for what improves most on the best trial, by expectation.

    Scores are seen as the logarithm of their regret, ``-log(1 + (best - score) / (best - good))``,
    where a quarter of the trials told are as good or better: what tells the best from the good
    counts, and how bad the bad ones are does not. What improves is the score that would be
    measured: where two networks of one structure were trained apart, their scores differ, and
    either may be the best. Of several asked for at once, each one is chosen as if those before it
    had turned out as expected.

    Args:
        problem: What is searched.
        options: Settings of the search.
    """

    def __init__(self, problem: SearchProblem, options: StructuralBOOptions | None = None) -> None:
        options = options or StructuralBOOptions()
        super().__init__(problem, options)
        self._features = Features(self.space)

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """As of ``SearchAlgorithm``: the process, which is fitted to logarithms of regrets."""
        return partial(LogRegretGP, self.space)

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Takes what is expected to improve most."""
        told, scores = self._scored()
        labels = log_regrets(scores)
        process = GaussianProcess(self.space, int(rng.integers(2**31)), features=self._features)
        process.fit(told, labels)
        choices, table = self._unseen(num_archs, rng)
        choices, belief = _most_promising(process.posterior, choices, table, num_archs)
        best = float(labels.max())
        if not self.problem.is_enumerable:
            for _ in range(NUM_ROUNDS):
                choices, table = self._with_mutants(choices, belief, best, rng)
                choices, belief = _most_promising(process.posterior, choices, table, num_archs)
        chosen: list[int] = []
        for _ in range(num_archs):
            gains = log_expected_improvement(belief.mean, belief.score_std, best)
            gains[chosen] = -np.inf
            equals = np.flatnonzero(gains == gains.max())
            chosen.append(int(equals[rng.integers(len(equals))]))
            if len(chosen) < num_archs:
                belief.condition_on_mean(chosen[-1])
        return choices[chosen]

    def _unseen(self, num_archs: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Table]:
        """The candidates that are new, with their features."""
        candidates = self._candidates(rng)
        rows = self._unseen_rows(candidates, num_archs)
        unseen = candidates[rows]
        if self.problem.is_enumerable:
            return unseen, self._whole_table.rows(rows)
        return unseen, self._features.of(unseen)

    @cached_property
    def _whole_table(self) -> Table:
        """Features of all feasible architectures."""
        return self._features.of(self.problem.feasible_choices)

    def _with_mutants(
        self,
        choices: NDArray[np.int64],
        belief: Belief,
        best: float,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.int64], Table]:
        """The candidates and mutants of the most promising of them."""
        gains = log_expected_improvement(belief.mean, belief.score_std, best)
        order = np.argsort(-gains, kind="stable")[:NUM_PARENTS]
        parents = choices[order]
        drawn = self._draw_feasible(
            lambda size: self.space.mutate_choices(
                parents[rng.integers(len(parents), size=size)], rng
            ),
            NUM_MUTANTS,
            excluded=choices,
            max_draws=4 * NUM_MUTANTS,
        )
        table = belief.table.joined(self._features.of(drawn.choices))
        return np.concatenate([choices, drawn.choices]), table


def _most_promising(
    posterior: Posterior, choices: NDArray[np.int64], table: Table, num_archs: int
) -> tuple[NDArray[np.int64], Belief]:
    """Picks as many candidates of high expected score as there is time to find variances of."""
    limit = max(MAX_WORK // posterior.num_observed**2, MIN_UNCERTAIN, num_archs)
    if len(choices) <= limit:
        return choices, posterior.belief(table)
    kept = np.sort(np.argsort(-posterior.mean(table), kind="stable")[:limit])
    return choices[kept], posterior.belief(table.rows(kept))
