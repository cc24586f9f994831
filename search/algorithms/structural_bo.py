"""Bayesian optimisation that sees through the notation, for few queries.

Ours; there is no paper. After every batch an exact Gaussian process over the structure of
architectures (``search.predictors.gaussian_process``) is fitted to all trials, and the next ones
are those of highest expected improvement.

So that an ask takes little time with thousands of trials too, three things are not exact:

1. From ``ALWAYS_FITTED`` successful trials on, or ``ALWAYS_FITTED_IN_POOL``, the parameters of the
   process are fitted again only when there are a tenth more, to the first so many; it is
   conditioned on all trials at every ask.
2. The fit is to at most 300 trials (``gaussian_process.MAX_FITTED``), half of them the best.
3. Where there are too many candidates or trials, only the most promising candidates get a
   variance, without which none is asked for: by the expected improvement that they have with the
   variance that the first 256 trials leave. In a space that is ranked whole these are picked at
   fits, as many as ``MAX_TRACKED`` allows, and of a pool at every ask, as ``MAX_WORK`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from search.algorithms.acquisition import log_expected_improvement
from search.algorithms.log_regret_gp import LogRegretGP, log_regrets
from search.algorithms.options import RankingOptions
from search.algorithms.pool_search import PoolSearch
from search.algorithms.problem import SearchProblem
from search.predictors.base import Predictor
from search.predictors.gaussian_process import Features, GaussianProcess
from search.predictors.gp_posterior import Belief, Posterior, Table, TrackedCandidates

#: Successful trials from which on the parameters are not fitted at every ask, and by what share
#: these must grow until they are.
ALWAYS_FITTED, REFIT_SHARE = 60, 0.1
#: The same of a space too large to rank whole, where two searches of 150 trials with rarer fits
#: found less.
ALWAYS_FITTED_IN_POOL = 300
#: Covariances of candidates and trials that are kept between asks, of 8 bytes each.
MAX_TRACKED = 2**24
#: Multiply-adds that an ask may spend on variances of a pool; with more trials, only the most
#: promising candidates get one, but at least ``MIN_UNCERTAIN``.
MAX_WORK = 1_000_000_000
MIN_UNCERTAIN = 250
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
        self._last_fit: _Fit | None = None

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """As of ``SearchAlgorithm``: the process, which is fitted to logarithms of regrets."""
        return partial(LogRegretGP, self.space)

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Takes what is expected to improve most."""
        told, scores = self._scored()
        labels = log_regrets(scores)
        best = float(labels.max())
        rng.integers(2**31)  # was the seed of the fit: what is drawn after it stays the same
        fit = self._conditioned(told, scores, labels)
        is_open = self._feasible_unseen[fit.rows] if fit.candidates else np.zeros(0, np.bool_)
        if fit.candidates and is_open.sum() >= num_archs:
            choices, belief = self.problem.feasible_choices[fit.rows], fit.candidates.belief()
        else:
            choices, belief = self._promising_unseen(fit.process.posterior, num_archs, best, rng)
            is_open = np.ones(len(choices), np.bool_)
        chosen: list[int] = []
        for _ in range(num_archs):
            gains = log_expected_improvement(belief.mean, belief.score_std, best)
            gains[~is_open] = -np.inf
            equals = np.flatnonzero(gains == gains.max())
            chosen.append(int(equals[rng.integers(len(equals))]))
            is_open[chosen[-1]] = False
            if len(chosen) < num_archs:
                belief.condition_on_mean(chosen[-1])
        return choices[chosen]

    def _conditioned(
        self, told: NDArray[np.int64], scores: NDArray[np.float64], labels: NDArray[np.float64]
    ) -> _Fit:
        """The process of the last fit that is due, conditioned on all trials.

        What it is depends on the trials alone, whatever was asked for before: what was fitted and
        computed at earlier asks is the same as if it were now.
        """
        always = ALWAYS_FITTED if self.problem.is_enumerable else ALWAYS_FITTED_IN_POOL
        num_fitted, num_next = fitted_numbers(len(scores), always)
        fit = self._last_fit
        if fit is None or fit.num_fitted != num_fitted:
            self._last_fit = None  # lets go of what it holds before there is more
            fit = self._last_fit = self._new_fit(told[:num_fitted], scores[:num_fitted], num_next)
        num_observed = fit.process.posterior.num_observed
        if num_observed < len(told):
            fit.process.observe(told[num_observed:], labels)
        return fit

    def _new_fit(self, told: NDArray[np.int64], scores: NDArray[np.float64], num_next: int) -> _Fit:
        """Fits the parameters, and picks the candidates that are kept until ``num_next`` trials."""
        seed = np.random.default_rng((self.seed, len(scores), 5)).integers(2**31)
        process = GaussianProcess(self.space, int(seed), features=self._features)
        labels = log_regrets(scores)
        process.fit(told, labels)
        if not self.problem.is_enumerable or len(scores) < ALWAYS_FITTED:
            return _Fit(len(scores), process)
        is_candidate = np.ones(len(self.problem.feasible_choices), np.bool_)
        found = [self.problem.feasible_rows.get(tuple(row)) for row in told.tolist()]
        is_candidate[[row for row in found if row is not None]] = False
        rows = np.flatnonzero(is_candidate)
        limit = max(MAX_TRACKED // num_next, 1)
        if len(rows) > limit:
            table = self._whole_table.rows(rows)
            rows = rows[_most_promising(process.posterior, table, limit, float(labels.max()))]
        table = self._whole_table.rows(rows)
        return _Fit(
            len(scores), process, rows, TrackedCandidates(table, process.posterior, num_next)
        )

    def _promising_unseen(
        self, posterior: Posterior, num_archs: int, best: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Belief]:
        """Unseen candidates of high expected score, mutants of the best included."""
        choices, table = self._unseen(num_archs, rng)
        limit = max(MAX_WORK // posterior.num_observed**2, MIN_UNCERTAIN, num_archs)
        if len(choices) > limit:
            kept = _most_promising(posterior, table, limit, best)
            choices, table = choices[kept], table.rows(kept)
        belief = posterior.belief(table)
        if not self.problem.is_enumerable:
            for _ in range(NUM_ROUNDS):
                choices, belief = self._with_mutants(posterior, choices, belief, best, rng, limit)
        return choices, belief

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
        posterior: Posterior,
        choices: NDArray[np.int64],
        belief: Belief,
        best: float,
        rng: np.random.Generator,
        limit: int,
    ) -> tuple[NDArray[np.int64], Belief]:
        """The candidates and mutants of the most promising, of all these ``limit`` at most."""
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
        mutants, table = drawn.choices, self._features.of(drawn.choices)
        if len(choices) + len(mutants) > limit:
            kept = _most_promising(posterior, belief.table.joined(table), limit, best)
            old, new = kept[kept < len(choices)], kept[kept >= len(choices)] - len(choices)
            choices, belief = choices[old], belief.rows(old)
            mutants, table = mutants[new], table.rows(new)
        return np.concatenate([choices, mutants]), belief.joined(posterior.belief(table))


def fitted_numbers(num_scored: int, always: int = ALWAYS_FITTED) -> tuple[int, int]:
    """Of how many first trials the parameters are, with so many told, and when there is a next fit.

    Args:
        num_scored: Number of successful trials.
        always: How many there are when fits become rarer.

    Example:
        >>> fitted_numbers(59), fitted_numbers(60), fitted_numbers(100)
        ((59, 60), (60, 66), (94, 103))
    """
    if num_scored < always:
        return num_scored, num_scored + 1
    now, following = always, always
    while following <= num_scored:
        now, following = following, following + max(int(REFIT_SHARE * following), 1)
    return now, following


def _most_promising(
    posterior: Posterior, table: Table, limit: int, best: float
) -> NDArray[np.intp]:
    """Indices of the candidates of the highest rough expected improvement, ascending."""
    gains = log_expected_improvement(*posterior.rough_mean_and_std(table), best)
    return np.sort(np.argsort(-gains, kind="stable")[:limit])


@dataclass(frozen=True)
class _Fit:
    """A process and, where they are kept, the candidates it is asked about."""

    num_fitted: int
    process: GaussianProcess
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    candidates: TrackedCandidates | None = None
