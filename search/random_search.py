"""Uniform random search without replacement, the baseline of every other algorithm."""

from __future__ import annotations

from search.base import SearchAlgorithm
from supernets.spaces import Architecture


class RandomSearch(SearchAlgorithm):
    """Asks for feasible architectures drawn uniformly, none of them twice."""

    def ask(self, num_archs: int) -> list[Architecture]:
        """Draws uniformly from what is feasible and was not told before.

        Raises:
            ValueError: As ``SearchAlgorithm.ask``.
        """
        return self._sample_unseen(num_archs, self._rng())
