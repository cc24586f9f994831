"""What is searched: a space, which of its architectures may be asked for, and a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from search.algorithms.rows import RowSet
from search.predictors.base import FeatureFunction
from supernets.runtime.digests import digest_of
from supernets.runtime.instances import check_instance
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

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
        pool: The only architectures that may be asked for, as far as they are feasible; their order
            decides nothing. None for all of the space.

    Raises:
        ValueError: If ``space`` is none, ``seed`` is no whole number or negative, or ``pool`` is
            empty, holds an architecture twice or what is none of the space.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> SearchProblem(NASBench201Space(), seed=3).is_enumerable
        True
        >>> space = NASBench201Space()
        >>> pool = [arch for arch in space.enumerate() if arch.choices[0] == 1]
        >>> len(SearchProblem(space, pool=pool).feasible_choices)
        3125
    """

    space: SearchSpace
    seed: int = 0
    are_feasible: FeasibilityCheck | None = None
    zero_cost_features: FeatureFunction | None = None
    pool: Sequence[Architecture] | None = None

    def __post_init__(self) -> None:
        check_instance("space", self.space, SearchSpace, "create_space('nasbench201') makes one")
        kinds.SEED.check("seed", self.seed)
        if self.pool is None:
            return
        for arch in self.pool:
            check_instance("pool", arch, Architecture, "space.parse(notation) makes one")
        if not len(self.pool):
            raise ValueError("pool must hold at least one architecture, or be None for all.")
        self.space.validate_all(self.pool)
        if len(self._listed) < len(self.pool):
            twice, _ = Counter(self.pool).most_common(1)[0]
            raise ValueError(f"pool holds {self.space.format(twice)} twice; leave one out.")

    @property
    def name(self) -> str:
        """What is searched, in words of messages."""
        named = f"space {self.space.name!r}"
        return named if self.pool is None else f"the pool of {named}"

    @cached_property
    def _listed(self) -> NDArray[np.int64]:
        """The pool, feasible or not, in lexicographic order."""
        assert self.pool is not None
        return np.unique(self.space.choices_of(self.pool), axis=0)

    @cached_property
    def _listed_set(self) -> RowSet:
        listed = RowSet()
        listed.add(self._listed)
        return listed

    @cached_property
    def pool_digest(self) -> str | None:
        """SHA-256 of the pool, whatever its order; None where there is none."""
        return None if self.pool is None else digest_of(self._listed.tolist())

    def is_listed(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which architectures are of the pool, (num_archs,); all where there is none."""
        if self.pool is None:
            return np.ones(len(choices), np.bool_)
        return self._listed_set.hold(choices)

    def is_feasible(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which architectures may be asked for, (num_archs,)."""
        listed = self.is_listed(choices)
        if self.are_feasible is None:
            return listed
        return listed & self.are_feasible(choices)

    @property
    def is_enumerable(self) -> bool:
        """Whether there is a pool, or the space is small enough to be handled whole."""
        return self.pool is not None or self.space.size <= MAX_ENUMERABLE_SIZE

    @cached_property
    def feasible_choices(self) -> NDArray[np.int64]:
        """All feasible architectures of a pool or an enumerable space, in the order of the space.

        Returns:
            (num_archs, num_decisions), read-only.

        Raises:
            ValueError: If there is no pool and the space is too large to enumerate.
        """
        choices = self.space.all_choices() if self.pool is None else self._listed
        feasible = choices[self.is_feasible(choices)]
        feasible.flags.writeable = False
        return feasible

    @cached_property
    def feasible_rows(self) -> dict[tuple[int, ...], int]:
        """Index of each architecture among ``feasible_choices``, by its choices."""
        return {tuple(row): i for i, row in enumerate(self.feasible_choices.tolist())}
