"""Algorithms that propose from what succeeded: random trials first, and where proposals fall short.

A subclass says what it proposes; everything else of an ask is here.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from estimators.trials import Trial
from search.base import RandomFirstSearch
from search.rows import are_new
from supernets.spaces import Architecture


class ProposalSearch(RandomFirstSearch):
    """Random trials first, then proposals made of the successful ones.

    While fewer than two trials have succeeded, sampling stays random.

    Args:
        space: What is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        num_initial: Number of random trials before the first proposal.

    Raises:
        ValueError: If a number is out of range.
    """

    def ask(self, num_archs: int) -> list[Architecture]:
        """Gives proposals, and random architectures where there are too few.

        Raises:
            ValueError: If ``num_archs`` is less than 1.
            StarvedError: As ``SearchAlgorithm.ask``.
        """
        rng = self._rng()
        self._check_num_archs(num_archs)
        if self._is_initial:
            return self.space.architectures(self._sample_unseen(num_archs, rng))
        successful = [trial for trial in self.trials if trial.score is not None]
        chosen = self._proposals(successful, num_archs, rng)
        if len(chosen) < num_archs:
            if self.is_enumerable:  # so many are enough, whichever of them are proposals
                others = self._sample_unseen(num_archs, rng)
            else:
                excluded = np.concatenate([self._seen_choices, chosen])
                others = self._sample_random(num_archs - len(chosen), rng, excluded=excluded)
            others = others[are_new(others, chosen)]
            chosen = np.concatenate([chosen, others])[:num_archs]
        return self.space.architectures(chosen)

    @abc.abstractmethod
    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Up to ``num_archs`` distinct, unseen, feasible architectures, a row of choices each.

        Args:
            successful: At least two trials, as told.
            num_archs: How many are wanted.
            rng: The random numbers of this ask.
        """


def best_first(trials: Iterable[Trial]) -> list[Trial]:
    """The successful trials by score, equals in the order they come in."""
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    return [trial for _, trial in sorted(scored, key=lambda pair: -pair[0])]
