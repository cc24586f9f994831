"""Uniform random search without replacement, the baseline of every other algorithm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.algorithms.base import SearchAlgorithm


class RandomSearch(SearchAlgorithm):
    """Asks for random feasible architectures, none of them twice.

    They are drawn uniformly where the space is small enough to enumerate; in larger ones every
    decision is.
    """

    def _choose(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return self._sample_unseen(num_archs, rng)
