"""What is searched: a space, which of its architectures may be asked for, and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from search.predictors.base import FeatureFunction
from supernets.runtime.instances import check_instance
from supernets.spaces import MAX_ENUMERABLE_SIZE, SearchSpace

#: Says of architectures (num_archs, num_decisions) which may be asked for, (num_archs,).
FeasibilityCheck = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """All that an algorithm is told of a search beside its own settings.

    Several algorithms may share one, which then enumerates a small space only once.

    Args:
        space: Space that is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; None for all of them. Must answer the
            same for the same architecture, whichever others it is asked about with.
        zero_cost_features: What predictors may see beside the encoding, and the proxies of ProxyBO:
            numbers that tell of an architecture before any trial. None where there are none.

    Raises:
        ValueError: If ``space`` is none, or ``seed`` is no whole number or negative.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> SearchProblem(NASBench201Space(), seed=3).is_enumerable
        True
    """

    space: SearchSpace
    seed: int = 0
    are_feasible: FeasibilityCheck | None = None
    zero_cost_features: FeatureFunction | None = None

    def __post_init__(self) -> None:
        check_instance("space", self.space, SearchSpace, "create_space('nasbench201') makes one")
        kinds.SEED.check("seed", self.seed)

    def is_feasible(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which architectures may be asked for, (num_archs,)."""
        if self.are_feasible is None:
            return np.ones(len(choices), np.bool_)
        return self.are_feasible(choices)

    @property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to be handled whole instead of by sampling."""
        return self.space.size <= MAX_ENUMERABLE_SIZE

    @cached_property
    def feasible_choices(self) -> NDArray[np.int64]:
        """All feasible architectures of an enumerable space, in the order of the space.

        Returns:
            (num_archs, num_decisions), read-only.

        Raises:
            ValueError: If the space is too large to enumerate.
        """
        choices = self.space.all_choices()
        feasible = choices[self.is_feasible(choices)]
        feasible.flags.writeable = False
        return feasible

    @cached_property
    def feasible_rows(self) -> dict[tuple[int, ...], int]:
        """Index of each architecture among ``feasible_choices``, by its choices."""
        return {tuple(row): i for i, row in enumerate(self.feasible_choices.tolist())}
