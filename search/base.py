"""What every ask/tell search algorithm is, and the uniform sampling they share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property

import numpy as np

from search.trials import Trial
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

#: In spaces too large to enumerate, how many random architectures are tried for each one wanted.
MAX_DRAWS_PER_ARCH = 10_000


class SearchAlgorithm(abc.ABC):
    """Proposes architectures from the trials it has been told.

    ``ask`` is a pure function of the settings, the seed and the told trials. A search is therefore
    resumed by telling a new algorithm the recorded trials; there is no other state to save.

    Args:
        space: What is searched.
        seed: Makes the search repeatable; not negative.
        is_feasible: Which architectures may be asked for; all of them by default. Must answer the
            same for the same architecture.

    Raises:
        ValueError: If ``seed`` is negative.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        is_feasible: Callable[[Architecture], bool] | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}.")
        self.space = space
        self.seed = seed
        self.is_feasible = is_feasible if is_feasible is not None else _all_feasible
        self.trials: list[Trial] = []
        self._seen: set[Architecture] = set()

    @abc.abstractmethod
    def ask(self, num_archs: int) -> list[Architecture]:
        """Proposes architectures to measure: distinct, feasible, and never told before.

        Architectures that failed count as told.

        Raises:
            ValueError: If ``num_archs`` is less than 1, or fewer such architectures are left or can
                be found.
        """

    def tell(self, trials: Sequence[Trial]) -> None:
        """Adds measured trials, failed ones included, in the order of their numbers.

        Raises:
            ValueError: If an architecture is not of this space, or was told before.
        """
        seen = set(self._seen)
        for trial in trials:
            self.space.validate(trial.arch)
            if trial.arch in seen:
                raise ValueError(f"{self.space.format(trial.arch)} was told before.")
            seen.add(trial.arch)
        self._seen = seen
        self.trials.extend(trials)

    def next_batch_size(self, batch_size: int) -> int:
        """How many architectures to ask for next in a search by batches of ``batch_size``."""
        return batch_size

    @property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to be handled whole instead of by sampling."""
        return self.space.size <= MAX_ENUMERABLE_SIZE

    @cached_property
    def feasible_archs(self) -> tuple[Architecture, ...]:
        """All feasible architectures of an enumerable space, in the order of the space.

        Raises:
            ValueError: If the space is too large to enumerate.
        """
        return tuple(arch for arch in self.space.enumerate() if self.is_feasible(arch))

    def _rng(self) -> np.random.Generator:
        """The random numbers of the next ask."""
        return np.random.default_rng((self.seed, len(self.trials)))

    def _check_num_archs(self, num_archs: int) -> None:
        """Raises ValueError if ``num_archs`` cannot be asked for."""
        if num_archs < 1:
            raise ValueError(f"num_archs must be at least 1, got {num_archs}.")
        if self.is_enumerable:
            num_left = sum(arch not in self._seen for arch in self.feasible_archs)
            if num_left < num_archs:
                raise ValueError(
                    f"Cannot ask for {num_archs} architectures: {num_left} of the "
                    f"{len(self.feasible_archs)} feasible ones of space {self.space.name!r} are "
                    "left; ask for fewer trials or loosen the constraint."
                )

    def _sample_unseen(self, num_archs: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws distinct, unseen, feasible architectures uniformly.

        Exact where the space is enumerable, otherwise by rejection, ``MAX_DRAWS_PER_ARCH`` draws
        for each.

        Raises:
            ValueError: As ``ask``; the message says what the draws ran into.
        """
        self._check_num_archs(num_archs)
        if self.is_enumerable:
            unseen = [arch for arch in self.feasible_archs if arch not in self._seen]
            return [unseen[i] for i in rng.choice(len(unseen), num_archs, replace=False)]
        found, num_infeasible = self._draw_feasible(
            lambda: self.space.sample(rng),
            num_archs,
            excluded=self._seen,
            max_draws=MAX_DRAWS_PER_ARCH * num_archs,
        )
        if len(found) < num_archs:
            num_draws = MAX_DRAWS_PER_ARCH * num_archs
            raise ValueError(
                f"Found {len(found)} of {num_archs} architectures in {num_draws} random draws from "
                f"space {self.space.name!r}: {num_infeasible} draws broke the constraint and "
                f"{num_draws - num_infeasible - len(found)} were seen before; loosen the "
                "constraint or ask for fewer trials."
            )
        return found

    def _draw_feasible(
        self,
        draw: Callable[[], Architecture],
        num_archs: int,
        *,
        excluded: AbstractSet[Architecture],
        max_draws: int,
    ) -> tuple[list[Architecture], int]:
        """Collects distinct feasible architectures outside ``excluded`` from random draws.

        Returns:
            At most ``num_archs`` architectures, and how many draws were infeasible.
        """
        found: dict[Architecture, None] = {}
        num_infeasible = 0
        for _ in range(max_draws):
            if len(found) == num_archs:
                break
            arch = draw()
            if arch in excluded or arch in found:
                continue
            if self.is_feasible(arch):
                found[arch] = None
            else:
                num_infeasible += 1
        return list(found), num_infeasible


def _all_feasible(arch: Architecture) -> bool:
    return True
