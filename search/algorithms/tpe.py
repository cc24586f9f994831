"""TPE: draws from where good trials are dense, and keeps what is dense there only.

Paper: Algorithms for Hyper-Parameter Optimization (the tree-structured Parzen estimator),
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization

Differs from the paper in:

1. Architectures told before are no candidates; with a large batch, neither is one twice. All of
   an ask come from the same two densities.
2. A share ``gamma`` of the trials is good, rounded up, as in the paper; hyperopt, whose 20 random
   trials, ``gamma`` and 24 candidates are the defaults here, calls ``gamma`` times the square root
   of their number good.
3. Candidates are whole architectures, as in the paper; hyperopt chooses the best of 24 options for
   each decision on its own.
4. Failed trials are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial
from search.algorithms.options import AlgorithmOptions, num_initial_option
from search.algorithms.population_search import PopulationSearch, best_trials
from search.algorithms.problem import SearchProblem
from supernets.runtime.options import option

_DRAWS_PER_CANDIDATE = 50


@dataclass(frozen=True)
class TPEOptions(AlgorithmOptions):
    """Settings of ``TPESearch``.

    Args:
        num_initial: Number of random trials to begin with.
        gamma: Share of the trials that count as good; between 0 and 1.
        num_candidates: Number of candidates that are drawn for each architecture asked for.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TPEOptions(gamma=0.1).num_candidates
        24
    """

    num_initial: int = num_initial_option(20)
    gamma: float = option(0.25, "share of trials that count as good", kinds.FRACTION, metavar="G")
    num_candidates: int = option(24, "draws for each trial", kinds.BATCH, metavar="N")


class TPESearch(PopulationSearch):
    """Tree-structured Parzen estimator over categorical decisions.

    The best ``gamma`` of the trials and the others each give a density ``l`` and ``g``: a product
    over the active decisions, where an option is as probable as the number of trials that chose it
    plus one. Of candidates drawn from ``l`` those with the highest ``l / g`` are asked for.

    Args:
        problem: What is searched.
        options: Settings of the search.
    """

    options: TPEOptions

    def __init__(self, problem: SearchProblem, options: TPEOptions | None = None) -> None:
        options = options or TPEOptions()
        super().__init__(problem, options, options.num_initial)

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        num_good = math.ceil(self.options.gamma * len(successful))
        choices = self.space.choices_of(trial.arch for trial in best_trials(successful))
        good, bad = (self._log_probs(part) for part in (choices[:num_good], choices[num_good:]))

        def draw(size: int) -> NDArray[np.int64]:
            # the largest of log-probabilities with Gumbel noise is drawn from them
            noise = rng.gumbel(size=(size, *good.shape))
            return self.space.canonicalize((good + noise).argmax(axis=2))

        wanted = self.options.num_candidates * num_archs
        candidates = self._draw_feasible(
            draw, wanted, max_draws=_DRAWS_PER_CANDIDATE * wanted
        ).choices
        # in some spaces choices drawn one by one may make no architecture
        candidates = candidates[self.space.are_valid(candidates)]
        active = self.space.is_active(candidates)
        likely_good, likely_bad = (
            np.where(active, logs[np.arange(len(logs)), candidates], 0.0).sum(axis=1)
            for logs in (good, bad)
        )
        return candidates[np.argsort(likely_bad - likely_good, kind="stable")[:num_archs]]

    def _log_probs(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The density of some trials' choices (num_trials, num_decisions).

        Returns:
            Logarithms of the probabilities, (num_decisions, max_options); minus infinity for what
            is not offered.
        """
        max_options = max(len(decision.options) for decision in self.space.decisions)
        counts = np.zeros((len(self.space.decisions), max_options))
        for row, offered in zip(counts, self.space.allowed, strict=True):
            row[list(offered)] = 1.0
        trials, decisions = np.nonzero(self.space.is_active(choices))
        np.add.at(counts, (decisions, choices[trials, decisions]), 1.0)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(counts / counts.sum(axis=1, keepdims=True)))
