"""Algorithms that propose from what succeeded: random trials first, and where proposals fall short.

A subclass says what it proposes; everything else of an ask is here.
"""

from __future__ import annotations

import abc
import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from estimators.trials.store import Trial
from search.algorithms.base import StartupSearch
from search.algorithms.rows import unseen_rows


class PopulationSearch(StartupSearch):
    """Random trials first, then proposals made of the successful ones.

    While fewer than two trials have succeeded, sampling stays random.

    Args:
        problem: What is searched.
        options: Settings of the algorithm.
        num_initial: Number of random trials before the first proposal.

    Raises:
        ValueError: If ``num_initial`` is less than 1.
    """

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Takes proposals, and random architectures where there are too few."""
        chosen = self._proposals(self._successful, num_archs, rng)
        if len(chosen) < num_archs:
            if self.problem.is_enumerable:  # so many are enough, whichever of them are proposals
                others = self._sample_unseen(num_archs, rng)
            else:
                others = self._sample_random(num_archs - len(chosen), rng, excluded=chosen)
            others = others[unseen_rows(others, chosen)]
            chosen = np.concatenate([chosen, others])[:num_archs]
        return chosen

    @abc.abstractmethod
    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Proposes up to ``num_archs`` distinct, unseen, feasible architectures as rows of choices.

        Args:
            successful: Successful trials in the order they were told; at least two.
            num_archs: Number of architectures that are wanted.
            rng: The random numbers of this ask.
        """


def best_trials(trials: Iterable[Trial], num_trials: int | None = None) -> list[Trial]:
    """Sorts the successful trials by score, equals as they come in; the first of them or all.

    Args:
        trials: Failed ones are left out.
        num_trials: Number of best trials to return; None for all.
    """
    scored = [(-trial.score, trial) for trial in trials if trial.score is not None]
    num_best = len(scored) if num_trials is None else num_trials
    return [trial for _, trial in heapq.nsmallest(num_best, scored, key=lambda pair: pair[0])]
