"""Uniform random search without replacement, the baseline of every other algorithm."""

from __future__ import annotations

from search.algorithms.base import SearchAlgorithm
from supernets.spaces import Architecture


class RandomSearch(SearchAlgorithm):
    """Asks for random feasible architectures, none of them twice.

    They are drawn uniformly where the space is small enough to enumerate; in larger ones every
    decision is.
    """

    def ask(self, num_archs: int) -> list[Architecture]:
        """Draws from what is feasible and was not told before.

        Raises:
            ValueError: As ``SearchAlgorithm.ask``.
        """
        return self.space.architectures(self._sample_unseen(num_archs, self._rng()))
